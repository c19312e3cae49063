"""Work side by side: the one door to joblib."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 64  # items handed over where answers come back in lists


def side_by_side(
    function: Callable[[T], R],
    items: Iterable[T],
    n_jobs: int | None,
    *,
    as_ready: bool = False,
    fits_models: bool = False,
) -> Generator[R, None, None]:
    """Yield the answer to each item, worked out by joblib as its context says.

    Some backends, such as that of Ray, give answers in lists only. Then items are handed over
    a few at a time: not all answers are held at once, and what was done before an end is kept.

    Parameters
    ----------
    function : callable
        Of one item. Processes share nothing with this one.
    items : iterable
        Taken up as they are needed.
    n_jobs : int or None
        Processes, as joblib understands it.
    as_ready : bool
        Whether what is ready first comes first, rather than answers in the order of items.
    fits_models : bool
        Whether to take along the settings of scikit-learn and the filters of warnings.
    """
    if fits_models:
        from sklearn.utils.parallel import Parallel, delayed
    else:
        from joblib import Parallel, delayed

    calls = (delayed(function)(item) for item in items)
    with steady_workers():
        if not _streams():
            yield from _in_lists(Parallel(n_jobs=n_jobs), calls, n_jobs)
            return
        way = "generator_unordered" if as_ready else "generator"
        answers = Parallel(n_jobs=n_jobs, return_as=way)(calls)
        try:
            yield from answers
        finally:
            answers.close()


def _streams() -> bool:
    """Return whether answers can come one by one, as joblib's own backends give them."""
    from joblib.parallel import get_active_backend

    return bool(getattr(get_active_backend()[0], "supports_return_generator", False))


def _in_lists(
    pool: Callable[[Iterable[Any]], list[Any]], calls: Iterator[Any], n_jobs: int | None
) -> Iterator[Any]:
    from joblib import effective_n_jobs

    size = max(_AT_ONCE, 4 * effective_n_jobs(n_jobs))
    while some := list(islice(calls, size)):
        yield from pool(some)


@contextmanager
def steady_workers() -> Iterator[None]:
    """Let joblib replace a worker inside the block, also where warnings are errors.

    A worker that has grown, or that idled for long, leaves and another starts. The thread
    that sees to it warns; made an error, that warning ends the thread, and whoever waits for
    the pool waits for ever.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        # Whoever stops early knows that some of the work was for nothing.
        warnings.filterwarnings("ignore", r"\d+ tasks (have been|which were)", UserWarning)
        yield
