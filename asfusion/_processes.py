"""Work side by side: the one door to joblib.

Workers are started where the work left is worth it, which is known from jobs that were done
here. Answers do not depend on who worked them out: jobs that fit models have one thread each,
here and there, and come back by their number.
"""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from asfusion._job import Job, Shared, no_jobs_within
from asfusion._progress import progress_shown, told_once
from asfusion._warn import warn_user
from asfusion.exceptions import WorkerError

T = TypeVar("T")

_AT_ONCE = 64  # items handed over where answers come back in lists
_START_S = 3.0  # seconds of the processor until a worker has imported what fits models
_LIGHT = 0.3  # of that, where it has no models to fit
_WAKE_S = 0.2  # the same, of one that has worked before
_SHARE = 0.12  # of the work left, which the start of workers may cost
_IDLE_S = 240.0  # joblib lets workers go that had nothing to do for 300 s
_LOOK_S = 0.2
# Errors of loky, Dask and Ray by which they tell that a process or a machine is gone.
_LOSSES = {
    "TerminatedWorkerError",
    "KilledWorker",
    "FutureCancelledError",  # what all jobs read was there
    "RayActorError",
    "WorkerCrashedError",
    "NodeDiedError",
}
_RETRIED = {"KilledWorker"}  # by Dask itself


def side_by_side(
    function: Callable[..., Any],
    items: Iterable[T],
    n_jobs: int | None,
    *,
    shared: Any = None,
    as_ready: bool = False,
    fits_models: bool = False,
    kind: Callable[[T], Hashable] | None = None,
    name: Callable[[T], str] | None = None,
) -> Generator[Any, None, None]:
    """Yield the answer to each item, worked out by joblib as its context says.

    On this machine jobs are done here, one after the other, until those that are left would take
    so long that the start of workers is worth it; then by as many workers as that is true of. On
    a cluster, and in threads, all are handed over at once. A job whose worker was lost is done
    again, once.

    Parameters
    ----------
    function : callable
        Of one item, and of `shared` where that is given. Processes share nothing else.
    items : iterable
        What is asked, little for each: the rest is `shared`.
    n_jobs : int or None
        Processes at most, as joblib understands it. None is none, save where a
        ``joblib.parallel_config`` around the call says more.
    shared : object, optional
        What all jobs read, sent once to a process where that can be.
    as_ready : bool
        Whether what is ready first comes first, rather than answers in the order of items.
    fits_models : bool
        Whether to take along the settings of scikit-learn and the filters of warnings, and to
        give each job one thread and a process for itself.
    kind : callable, optional
        Names the items that take about as long as each other; all do, if it is not given.
    name : callable, optional
        What an item is called where its worker is lost.

    Raises
    ------
    WorkerError
        If a worker is lost again.
    """
    backend, n_workers = _workers(n_jobs, fits_models)
    asked = list(items)
    handed = () if shared is None else (Shared(shared),)
    if n_jobs is None and n_workers == 1:  # nobody asked for one thread
        yield from (function(item, *(part.value for part in handed)) for item in asked)
        return
    job = Job(function, fits_models=fits_models)
    kinds = [None if kind is None else kind(item) for item in asked]
    work = _Work(job, asked, handed, kinds, n_workers, backend)
    work.name = name
    with steady_workers():
        done = work.as_done()
        try:
            yield from map(itemgetter(1), done if as_ready else _in_order(done))
        finally:
            done.close()


def may_spread(n_jobs: int | None) -> bool:
    """Return whether jobs that fit models may go to other processes."""
    return _workers(n_jobs, fits_models=True)[1] > 1


@contextmanager
def kept_here() -> Iterator[None]:
    """Keep parts of a model in this process, as in a job, where joblib's context spreads work.

    scikit-learn would hand over each tree of a forest.
    """
    with no_jobs_within() if may_spread(None) else nullcontext():
        yield


def _workers(n_jobs: int | None, fits_models: bool) -> tuple[Any, int]:
    """Return joblib's backend here, and how many workers it has for us."""
    from joblib.parallel import get_active_backend

    backend, usual = get_active_backend()
    has_threads = getattr(backend, "uses_threads", False)
    if fits_models and has_threads:
        return backend, 1
    wanted = next((n for n in (n_jobs, usual) if n is not None), backend.default_n_jobs)
    with _answering_cluster():
        n_workers = int(backend.effective_n_jobs(wanted))
    if wanted != 1 and not has_threads and not _is_local(backend):
        n_workers = max(2, n_workers)  # of a cluster that has one left, work does not come here
    return backend, n_workers


@contextmanager
def _answering_cluster() -> Iterator[None]:
    """Say in our words that a cluster has no worker: by its type it looks like a file's error."""
    try:
        yield
    except TimeoutError:
        raise WorkerError(
            "joblib: expected a cluster with workers, got none that answered in time. Start some, "
            "and wait until they are there, such as by Client.wait_for_workers of Dask."
        ) from None


def _is_local(backend: Any) -> bool:
    return type(backend).__name__ in ("LokyBackend", "MultiprocessingBackend")


def _in_order(answers: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield numbers and answers in the order of the numbers."""
    waiting: dict[int, Any] = {}
    n_given = 0
    for number, answer in answers:
        waiting[number] = answer
        while n_given in waiting:
            yield n_given, waiting.pop(n_given)
            n_given += 1


class _Work:
    """Jobs that are to be done, and who does them.

    Parameters
    ----------
    job : Job
        What is done with each item.
    items : sequence
        One for each job.
    shared : tuple of Shared
        What all jobs read.
    kinds : sequence
        For each item: those of one kind take about as long as each other.
    n_workers : int
        Workers at most.
    backend : joblib backend
        Where workers are.
    """

    def __init__(
        self,
        job: Job,
        items: Sequence[Any],
        shared: tuple[Shared, ...],
        kinds: Sequence[Hashable],
        n_workers: int,
        backend: Any,
    ) -> None:
        self.job, self.items, self.shared, self.n_workers = job, items, shared, n_workers
        self.kinds, self.n_left = kinds, Counter(kinds)
        self.left = dict.fromkeys(range(len(items)))
        self.name: Callable[[Any], str] | None = None
        self.took: dict[Hashable, tuple[float, int]] = {}
        self.here: int | None = None  # the job that this process is doing itself
        self.given: set[int] = set()
        self.lost: set[int] | None = None
        self.is_local = _is_local(backend)
        self.is_loky = type(backend).__name__ == "LokyBackend"
        self.streams = bool(getattr(backend, "supports_return_generator", False))
        self.backend = backend
        if n_workers > 1:
            self._open_pool()

    def as_done(self) -> Generator[tuple[int, Any], None, None]:
        """Yield number and answer of each job when it is done."""
        with ExitStack() as stack:
            if self.n_workers > 1 and self.is_local:
                folder = tempfile.TemporaryDirectory(prefix="asfusion-", ignore_cleanup_errors=True)
                self.job.marks = stack.enter_context(folder)
            while self.left:
                n = self._crew()
                yield from self._done_here() if n == 1 else self._drained(self._begun(n))

    # -- who works ---------------------------------------------------------------------

    def _crew(self, running: float = 0.0) -> int:
        """Return how many workers the work left is worth, 1 where this process does it.

        `running` are the seconds that the job in this process has taken until now.
        """
        if self.n_workers == 1 or not self.is_local:
            return self.n_workers
        if self.lost is not None:  # whatever ended a worker must not end this process
            return max(2, min(self.n_workers, len(self.left)))
        seconds, warm = self._seconds_left(running), _n_warm() if self.is_loky else 0
        start = _START_S if self.job.fits_models else _LIGHT * _START_S
        for n in range(min(self.n_workers, len(self.left)), 1, -1):
            cost = start * max(0, n - warm) + _WAKE_S * min(n, warm)
            if cost <= _SHARE * seconds:
                return n
        return 1

    def _seconds_left(self, running: float) -> float:
        """Return what jobs take that are left, of kinds that were done or have begun."""
        known, own, here = self._means(), 0.0, self.here
        if here is not None:  # asked once: the job here may end while a thread of joblib asks
            kind = self.kinds[here]
            own = known[kind] = max(running, known.get(kind, 0.0))
        return sum(seconds * self.n_left[kind] for kind, seconds in known.items()) - own

    def _means(self) -> dict[Hashable, float]:
        """Return what a job of each kind took that was done."""
        return {kind: total / n for kind, (total, n) in self.took.copy().items()}

    def _note(self, number: int, seconds: float) -> None:
        total, n = self.took.get(self.kinds[number], (0.0, 0))
        self.took[self.kinds[number]] = (total + seconds, n + 1)
        self.n_left[self.kinds[number]] -= 1
        del self.left[number]

    # -- in this process ---------------------------------------------------------------

    def _done_here(self) -> Iterator[tuple[int, Any]]:
        """Do one job; where it takes long, workers begin with the others meanwhile."""
        number = next(iter(self.left))
        took = self.job.clock()
        with self._watched(number) as opened:
            answer = self.job.do(self.items[number], *self.shared)
        self._note(number, took())
        try:
            yield number, answer
            for stream in opened:
                yield from self._drained(stream)
        finally:
            for stream in opened:
                stream.close()

    @contextmanager
    def _watched(self, number: int) -> Iterator[list[Any]]:
        """Give what holds the answers of workers, if those were started within the block."""
        opened: list[Any] = []
        if self.n_workers == 1 or len(self.left) < 3:
            yield opened
            return
        over = threading.Event()
        settings, taken = self._settings(), self.job.clock()

        def watch() -> None:
            while not over.wait(_LOOK_S):
                n = self._crew(taken())
                if n > 1:
                    # What goes wrong here does so again where it has a caller.
                    with settings(), suppress(Exception):
                        opened.append(self._begun(n))
                    return

        self.here = number
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield opened
        except BaseException:
            over.set()
            watcher.join()
            if opened:
                opened[0].close()
            raise
        finally:
            over.set()
            watcher.join()
            self.here = None

    def _settings(self) -> Callable[[], Any]:
        """Return what sets scikit-learn as it is here in another thread."""
        if not self.job.fits_models:
            return ExitStack
        from sklearn import config_context, get_config

        config = get_config()
        return lambda: config_context(**config)

    # -- in workers --------------------------------------------------------------------

    def _open_pool(self) -> None:
        """Make joblib's pool, which starts nothing yet: joblib's context belongs to a thread."""
        from joblib import parallel_config

        if self.job.fits_models:
            from sklearn.utils.parallel import Parallel, delayed
        else:
            from joblib import Parallel, delayed
        options: dict[str, Any] = {"batch_size": 1} if self.job.fits_models else {}
        way = "generator_unordered" if self.streams else "list"
        with ExitStack() as stack:
            # The same number of threads for any number of workers, so that they can stay.
            if self.is_loky and not _is_set_up(self.backend):
                stack.enter_context(parallel_config(backend="loky", inner_max_num_threads=1))
            self.pool = Parallel(n_jobs=self.n_workers, return_as=way, **options)
        self.call = delayed

    def _begun(self, n: int) -> Generator[Any, None, None]:
        """Hand jobs over to `n` workers, and return what will hold their answers."""
        self.given = set()
        if self.is_local:
            self.pool.n_jobs = n
        for part in self.shared:
            part.pack()  # here, where an error has a caller
        calls = self._calls(n)
        if self.streams:
            with _answering_cluster():
                stream: Generator[Any, None, None] = self.pool(calls)
            return stream
        return self._in_lists(calls, n)

    def _in_lists(self, calls: Iterator[Any], n: int) -> Generator[Any, None, None]:
        size = 4 * n if self.job.fits_models else max(_AT_ONCE, 4 * n)
        with self.pool as pool:
            while some := list(islice(calls, size)):
                yield from pool(some)

    def _calls(self, n: int) -> Iterator[Any]:
        """Yield a call for each job, those that take longest first, as far as that is known.

        They end early where more workers would be worth it.
        """
        for number in self._longest_first():
            if self.is_local and self._crew() >= 2 * n:
                return
            self.given.add(number)
            yield self.call(_do_there)(self.job, number, self.items[number], *self.shared)

    def _longest_first(self) -> list[int]:
        numbers = [number for number in self.left if number != self.here]
        if len(set(self.kinds)) == 1:
            return numbers
        means = self._means()
        return sorted(numbers, key=lambda i: -means.get(self.kinds[i], float("inf")))

    def _drained(self, stream: Generator[Any, None, None]) -> Iterator[tuple[int, Any]]:
        """Yield the answers of workers; where one was lost, say so and leave the rest."""
        global _warm
        _warm = (0, 0.0)
        try:
            for number, seconds, answer in stream:
                self._note(number, seconds)
                yield number, answer
            if self.is_loky:
                _warm = (int(self.pool.n_jobs), time.monotonic())
        except Exception as error:
            if not any(base.__name__ in _LOSSES for base in type(error).__mro__):
                raise
            self._see_loss(type(error).__name__)
        finally:
            stream.close()
            self._open_pool()  # one that was stopped keeps calls that it has not handed over

    def _see_loss(self, how: str) -> None:
        """Warn that a worker was lost; raise where it is not the first time."""
        running = self.given & set(self.left)
        if self.job.marks is not None:
            marks = list(Path(self.job.marks).iterdir())
            running &= {int(mark.name) for mark in marks}
            for mark in marks:
                mark.unlink(missing_ok=True)  # of a worker that ended its job before it was ended
        if self.lost is None and how not in _RETRIED:
            self.lost = running
            warn_user(
                f"n_jobs: a worker was lost, with {len(running)} of {len(self.items)} jobs under "
                "way. They are done again, once; what was ready is kept."
            )
            return
        again = sorted(running if self.lost is None else (running & self.lost or running))
        raise WorkerError(
            "n_jobs: expected workers that live until their work is done, got some that were "
            f"ended again and again while they did {self._names(again)}. The system ends what "
            "takes too much memory: give fewer n_jobs. If one job alone ends its worker, a "
            "library crashes on it."
        ) from None

    def _names(self, numbers: Sequence[int]) -> str:
        if not numbers:
            return "a job"
        shown = [
            f"{'job' if self.name is None else self.name(self.items[i])} "
            f"(number {i + 1} of {len(self.items)})"
            for i in numbers[:3]
        ]
        more = f" or one of {len(numbers) - 3} more" if len(numbers) > 3 else ""
        return " or ".join(shown) + more


def _do_there(job: Job, number: int, item: Any, *shared: Shared) -> tuple[int, float, Any]:
    """Do a job in a worker, in silence: a function, as scikit-learn wraps nothing else."""
    with progress_shown(False), told_once(False):
        return job(number, item, *shared)


_warm: tuple[int, float] = (0, 0.0)  # workers that wait for more, and since when


def _n_warm() -> int:
    n, since = _warm
    return n if time.monotonic() - since < _IDLE_S else 0


def _is_set_up(backend: Any) -> bool:
    """Return whether the user has set more of a backend than its name."""
    return bool(
        getattr(backend, "inner_max_num_threads", None) or getattr(backend, "backend_kwargs", None)
    )


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
        warnings.filterwarnings("ignore", "A generator produced by joblib", UserWarning)
        yield
