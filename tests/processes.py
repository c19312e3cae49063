"""A backend of joblib that gives answers in lists only, as that of Ray does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase


class Answer:
    """What is worked out at once."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.answer = call()

    def get(self, timeout: float | None = None) -> Any:
        return self.answer


class InLists(ParallelBackendBase):
    """Says that it has two workers, and works in this process."""

    supports_retrieve_callback = False
    n_handed_over = 0

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        return 2

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any]) -> Answer:
        type(self).n_handed_over += len(func)  # type: ignore[arg-type]
        answer = Answer(func)
        callback(answer)
        return answer

    apply_async = submit


@contextmanager
def answers_in_lists(n_jobs: int | None = None) -> Iterator[type[InLists]]:
    """Let such a backend work inside the block."""
    joblib.register_parallel_backend("in lists", InLists)
    InLists.n_handed_over = 0
    with joblib.parallel_config(backend="in lists", n_jobs=n_jobs):
        yield InLists
