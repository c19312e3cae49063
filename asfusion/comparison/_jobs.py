"""The work of a comparison: which fits there are, and doing those that are not done yet.

Dimensions: S seeds, N rows, n rows of a fold's test part, E entries of a run, K classes or
targets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import quoted
from asfusion._processes import may_spread, side_by_side
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._splits import Split, put_together
from asfusion.comparison._runs import ComparedRows, Run
from asfusion.comparison._store import AnswerStore
from asfusion.encoders._cache import EMBEDDINGS, PackedEmbeddings
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
        many threads as it has, unless joblib's context says otherwise.

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
    done = _answers(jobs, todo, data, n_jobs) if todo else ()
    for i, answer in progress(done, "Comparing", total=len(todo), unit="fit"):
        known[i] = answer
        if store is not None:
            store.write(files[i], *answer)
    return [known[i] for i in range(len(jobs))]


def _answers(
    jobs: Sequence[Job], todo: Sequence[int], data: ComparedRows, n_jobs: int | None
) -> Iterator[tuple[int, Answer]]:
    """Yield position and answer of each job that is to do, whichever is ready first."""
    keys: set[str] = set()
    if n_jobs is not None or may_spread(n_jobs):
        with EMBEDDINGS.noted() as keys:
            _embed_frozen(data)
    return side_by_side(
        _do_one,
        todo,
        n_jobs,
        shared=_Common(jobs, data, keys),
        as_ready=True,
        fits_models=True,
        kind=lambda i: id(jobs[i].run),
        name=lambda i: f"a fit of {quoted([entry.name for entry in jobs[i].run.entries])}",
    )


def _embed_frozen(data: ComparedRows) -> None:
    """Fill this process's cache with the embeddings of all rows, on all its threads."""
    for described in data.encoders.values():
        encoder = clone(described).fit(data.frame)
        if encoder.is_frozen and encoder._cell_keys(data.frame) is not None:
            encoder.embed(data.frame, data.device)


class _Common:
    """What all jobs read: jobs, rows, and what frozen encoders say of them.

    Parameters
    ----------
    jobs : sequence of Job
        The jobs.
    data : ComparedRows
        The rows.
    keys : set of str
        Names of the embeddings that another process gets: they are asked for once, here.
    """

    def __init__(self, jobs: Sequence[Job], data: ComparedRows, keys: set[str]) -> None:
        self.jobs, self.data, self.keys = jobs, data, keys

    def __getstate__(self) -> tuple[Sequence[Job], ComparedRows, PackedEmbeddings]:
        return self.jobs, self.data, EMBEDDINGS.packed(self.keys)

    def __setstate__(self, state: tuple[Sequence[Job], ComparedRows, PackedEmbeddings]) -> None:
        self.jobs, self.data, packed = state
        self.keys = set(packed.keys)
        EMBEDDINGS.adopt(packed)


def _do_one(i: int, common: _Common) -> tuple[int, Answer]:
    return i, common.jobs[i].do(common.data)
