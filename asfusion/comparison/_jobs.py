"""The work of a comparison: which fits there are, and doing those that are not done yet.

Dimensions: S seeds, N rows, n rows of a fold's test part, E entries of a run, K classes or
targets.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from asfusion._checks import quoted
from asfusion._later import torch
from asfusion._processes import side_by_side
from asfusion._progress import progress, progress_shown
from asfusion._random import derive_seed
from asfusion._splits import Split, put_together
from asfusion.comparison._runs import ComparedRows, Run
from asfusion.comparison._store import AnswerStore
from asfusion.encoders._cache import EMBEDDINGS
from asfusion.exceptions import ConfigurationError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Answer = tuple[Floats, float]


@dataclass(frozen=True, eq=False)
class Job:
    """One fit.

    Parameters
    ----------
    run : Run
        What is fitted.
    repeat : int
        Position of the seed.
    fold : tuple of (train, test)
        Positions of rows.
    seed : int
        Seeds the model.
    """

    run: Run
    repeat: int
    fold: Split
    seed: int

    def shape(self, data: ComparedRows) -> tuple[int, int, int]:
        """Return the shape (E, n, K) of the answers."""
        return len(self.run.entries), len(self.fold[1]), data.n_outputs

    def do(self, data: ComparedRows) -> Answer:
        """Return the answers (E, n, K) and the seconds that they took."""
        begun = time.perf_counter()
        found = self.run.answer(data, self.fold, self.seed)
        answers = np.stack([found[entry.name] for entry in self.run.entries])
        return answers, time.perf_counter() - begun


def answer_all(
    runs: Sequence[Run],
    data: ComparedRows,
    folds: Mapping[int, list[Split]],
    seed: int,
    *,
    store: AnswerStore | None = None,
    verbose: int = 0,
    n_jobs: int | None = None,
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return out-of-fold predictions (S, N, K) of each entry, NaN if untested, and times.

    Parameters
    ----------
    runs : sequence of Run
        What is compared.
    data : ComparedRows
        The rows.
    folds : mapping of int to list of (train, test)
        Folds of each seed.
    seed : int
        Seeds the models, together with the seeds of `folds`.
    store : AnswerStore, optional
        Where answers are kept, and taken from if they are there.
    verbose : int
        1 says how many answers are there already.
    n_jobs : int, optional
        Processes that fit side by side, each on one thread; None fits in this process, on as
        many threads as it has.

    Raises
    ------
    ConfigurationError
        If two entries have one name.
    """
    names = [entry.name for run in runs for entry in run.entries]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"Models on the board: expected each name once, got {quoted(repeated)} twice."
        raise ConfigurationError(msg)
    jobs = [
        Job(run, i, fold, derive_seed(seed, "models", repeat))
        for i, repeat in enumerate(folds)
        for fold in folds[repeat]
        for run in runs
    ]
    found = _do_all(jobs, data, store, verbose, n_jobs)
    parts: dict[str, list[list[tuple[Rows, Floats]]]]
    parts = {name: [[] for _ in folds] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    # In the order of the jobs, whoever was ready first: sums depend on their order.
    for job, (answers, took) in zip(jobs, found, strict=True):
        for entry, answer in zip(job.run.entries, answers, strict=True):
            parts[entry.name][job.repeat].append((job.fold[1], answer))
            seconds[entry.name] += took
    shape = (len(data.frame), data.n_outputs)
    return {
        name: np.stack([put_together(repeat, shape) for repeat in repeats])
        for name, repeats in parts.items()
    }, seconds


def _do_all(
    jobs: Sequence[Job],
    data: ComparedRows,
    store: AnswerStore | None,
    verbose: int,
    n_jobs: int | None,
) -> list[Answer]:
    """Return the answers of all jobs, in their order."""
    files: list[str] = []
    known: dict[int, Answer] = {}
    if store is not None:
        models = {job.run: store.model_name(job.run) for job in jobs}
        files = [store.file_name(models[job.run], job.fold, job.seed) for job in jobs]
        kept = [store.read(f, job.shape(data)) for f, job in zip(files, jobs, strict=True)]
        known = {i: answer for i, answer in enumerate(kept) if answer is not None}
        if verbose and known:
            told = f"checkpoint: {len(known)} of {len(jobs)} fits are there already."
            print(told)  # noqa: T201 (what is not done again is said)
    todo = [i for i in range(len(jobs)) if i not in known]
    if n_jobs is None:
        done: Any = ((i, jobs[i].do(data)) for i in todo)
    else:
        done = _side_by_side(jobs, todo, data, n_jobs)
    for i, answer in progress(done, "Comparing", total=len(todo), unit="fit"):
        known[i] = answer
        if store is not None:
            store.write(files[i], *answer)
    return [known[i] for i in range(len(jobs))]


def _side_by_side(
    jobs: Sequence[Job], todo: Sequence[int], data: ComparedRows, n_jobs: int
) -> Iterator[tuple[int, Answer]]:
    """Yield position and answer of each job, whichever is ready first.

    What frozen encoders say is asked once, here, and handed over as a file: processes share
    nothing else. Threads would not do: the seeds of torch belong to a whole process.
    """
    if not todo:
        return
    _embed_frozen(data)
    with tempfile.TemporaryDirectory(prefix="asfusion-") as folder:
        path = Path(folder) / "embeddings.safetensors"
        EMBEDDINGS.save(path)
        do = partial(_do_one, data=data, path=str(path))
        numbered = ((i, jobs[i]) for i in todo)
        yield from side_by_side(do, numbered, n_jobs, as_ready=True, fits_models=True)


def _embed_frozen(data: ComparedRows) -> None:
    """Fill this process's cache with the embeddings of all rows."""
    for described in data.encoders.values():
        encoder = clone(described).fit(data.frame)
        if encoder.is_frozen and encoder._cell_keys(data.frame) is not None:
            encoder.embed(data.frame, data.device)


_adopted: set[str] = set()


def _do_one(numbered: tuple[int, Job], data: ComparedRows, path: str) -> tuple[int, Answer]:
    """Do a job on one thread, with the embeddings of the process that asks for it."""
    number, job = numbered
    if path not in _adopted:
        EMBEDDINGS.adopt(Path(path))
        _adopted.add(path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), progress_shown(False):
            return number, job.do(data)
    finally:
        torch.set_num_threads(before)
