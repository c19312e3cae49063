"""Work side by side: the same with any backend, and it goes on when a process is replaced."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import effective_n_jobs, parallel_config
from sklearn.linear_model import Ridge

import asfusion as af
from asfusion import _job, _processes
from asfusion._processes import kept_here, side_by_side
from asfusion.crossvalidation.validator import cross_validate
from asfusion.exceptions import AsfusionWarning, WorkerError
from tests import jobs
from tests.growing import Growing
from tests.processes import InLists, answers_in_lists

PACKAGE = Path(__file__).resolve().parents[1] / "asfusion"
needs_psutil = pytest.mark.skipif(
    importlib.util.find_spec("psutil") is None,
    reason="Without psutil joblib replaces no worker that grows.",
)


@pytest.mark.parametrize("as_ready", [False, True])
@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_answers_in_lists_are_the_same(
    n_jobs: int | None, as_ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_processes, "_AT_ONCE", 3)
    with answers_in_lists(n_jobs) as backend:
        answers = list(side_by_side(abs, range(-20, 0), n_jobs, as_ready=as_ready))
    assert answers == list(range(20, 0, -1))
    assert backend.n_handed_over == 20


def test_answers_in_lists_are_not_all_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "_AT_ONCE", 3)
    with answers_in_lists() as backend:
        answers = side_by_side(abs, range(100), None)
        assert [next(answers) for _ in range(4)] == [0, 1, 2, 3]
        answers.close()
    assert backend.n_handed_over == 8  # four for each of two workers


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_answers_come_in_order_or_as_they_are_ready(n_jobs: int) -> None:
    asked = list(range(-9, 0))
    with parallel_config(backend="threading"):
        assert list(side_by_side(abs, asked, n_jobs)) == [abs(i) for i in asked]
        some = side_by_side(abs, asked, n_jobs, as_ready=True)
        assert sorted(some) == sorted(abs(i) for i in asked)
        started = side_by_side(abs, iter(range(1000)), n_jobs)
        assert next(started) == 0
        started.close()


def test_cross_validation_of_a_backend_that_answers_in_lists() -> None:
    rng = np.random.default_rng(0)
    X, options = rng.normal(size=(60, 2)), {"cv": 3, "n_bootstrap": 20}
    one = cross_validate(Ridge(), X, X[:, 0], **options)
    with answers_in_lists(2) as backend:
        two = cross_validate(Ridge(), X, X[:, 0], n_jobs=2, **options)
    assert backend.n_handed_over == 3
    np.testing.assert_array_equal(one.predictions, two.predictions)


def test_comparison_of_a_backend_that_answers_in_lists() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["crp", "bmi"])
    parts = {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")}
    options = {"families": ["early"], "cv": 2, "n_bootstrap": 20, "verbose": 0}
    y = (X["crp"] > 0).to_numpy().astype(int)
    one = af.compare(X, y, parts, **options)
    with answers_in_lists() as backend:
        two = af.compare(X, y, parts, n_jobs=2, **options)
    assert backend.n_handed_over > 3
    timeless = [board.to_frame().drop(columns="seconds") for board in (one, two)]
    pd.testing.assert_frame_equal(*timeless)


@needs_psutil
@pytest.mark.usefixtures("eager_workers")
def test_cross_validation_outlives_a_worker(tmp_path: Path) -> None:
    """Joblib warns of it in a thread of its own, which a warning made an error would end."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    options = {"cv": 3, "repeats": 2, "n_bootstrap": 20, "groups": np.arange(60)}
    one = cross_validate(Ridge(), X, X[:, 0], **options)
    two = cross_validate(Growing(str(tmp_path)), X, X[:, 0], n_jobs=2, **options)
    np.testing.assert_array_equal(one.predictions, two.predictions)
    assert len(list(tmp_path.iterdir())) > 3  # this process, and of two workers one was replaced


# -- whether workers start ------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "n_left", "expected"), [
    (0.1, 9, 1), (1.0, 40, 1), (1.0, 60, 2), (1.0, 100, 4), (9.0, 400, 8), (9.0, 1, 1),
])  # fmt: skip
def test_as_many_workers_as_the_work_left_is_worth(
    seconds: float, n_left: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_processes, "_warm", (0, 0.0))
    work = work_of(range(n_left + 1), n_workers=8)
    work._note(0, seconds)
    assert work._crew() == expected


def test_work_of_kinds_that_nobody_has_done_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "_warm", (0, 0.0))
    work = work_of(range(100), kinds=["rare"] * 2 + ["frequent"] * 98)
    work._note(0, 50.0)
    assert work._crew() == 1 + (2 * _processes._START_S <= 0.12 * 50.0)
    work.here = 2
    assert work._crew(running=0.5) == 2  # the one that is under way tells of its kind


def test_the_job_here_may_end_while_a_thread_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(_processes._Work):
        """Work whose job here ends as soon as it was asked for."""

        @property
        def here(self) -> int | None:
            found, self._here = self._here, None
            return found

        @here.setter
        def here(self, number: int | None) -> None:
            self._here = number

    monkeypatch.setattr(_processes, "_Work", Ending)
    work = work_of(range(3))
    work.here = 1
    assert work._seconds_left(2.0) == 4.0  # two others of its kind


def test_little_work_stays_here_and_workers_that_wait_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(side_by_side(jobs.napped, [0.0] * 20, 2)) == {os.getpid()}
    monkeypatch.setattr(_processes, "_warm", (2, time.monotonic()))
    work = work_of(range(30))
    work._note(0, 1.0)
    assert work._crew() == 2
    monkeypatch.setattr(_processes, "_warm", (2, time.monotonic() - 300))
    assert work._crew() == 1  # joblib has let them go


# -- in workers: one pool for all of these tests ----------------------------------------------


@pytest.mark.usefixtures("eager_workers")
def test_workers_map_what_is_large_read_only_and_unpack_it_once() -> None:
    large = np.arange(400_000.0)
    found = list(side_by_side(jobs.where, range(7), 2, shared=(large, "small")))
    assert [one[0] for one in found] == list(range(7))
    assert {one[1:3] for one in found} == {(True, False)}
    assert len({one[3] for one in found}) <= 2  # one for each of two workers


def test_a_long_job_here_lets_workers_begin_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in [("_START_S", 0.01), ("_WAKE_S", 0.01), ("_LOOK_S", 0.02)]:
        monkeypatch.setattr(_processes, name, seconds)
    first, *others = side_by_side(jobs.napped, [1.0] + [0.01] * 8, 2)
    assert first == os.getpid() and first not in others


@pytest.mark.skipif(sys.platform == "win32", reason="No process can be killed so.")
@pytest.mark.usefixtures("eager_workers")
def test_work_of_a_lost_worker_is_done_again_once(tmp_path: Path) -> None:
    def ask(folder: Path) -> Generator[int, None, None]:
        folder.mkdir()
        shared, name = (folder, os.getpid()), "item {}".format
        return side_by_side(jobs.dying, range(12), 2, shared=shared, as_ready=True, name=name)

    with pytest.warns(AsfusionWarning, match="a worker was lost, with . of 12 jobs under way"):
        assert sorted(ask(tmp_path / "once")) == list(range(12))
    named = r"ended again and again while they did .*item 5 \(number 6 of 12\)"
    with (
        pytest.warns(AsfusionWarning, match="They are done again, once; what was ready is kept"),
        pytest.raises(WorkerError, match=named),
    ):
        list(ask(tmp_path / "always"))


def test_a_cluster_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: Any, n_jobs: int | None) -> int:
        raise TimeoutError

    monkeypatch.setattr(InLists, "effective_n_jobs", nobody)
    with answers_in_lists(2), pytest.raises(WorkerError, match="expected a cluster with workers"):
        next(side_by_side(abs, [-1], None))


# -- jobs -------------------------------------------------------------------------------------


def test_no_job_starts_jobs_of_its_own() -> None:
    def ask(n_jobs: int) -> tuple[Any, ...]:
        inner = side_by_side(jobs.napped, [0.0] * 3, n_jobs)
        return effective_n_jobs(None), effective_n_jobs(4), set(inner)

    with parallel_config(n_jobs=2):
        assert list(side_by_side(ask, [4], 1, fits_models=True)) == [(1, 1, {os.getpid()})]
        with kept_here():
            assert effective_n_jobs(None) == 1
        assert effective_n_jobs(None) == 2


def test_a_library_that_comes_in_during_a_job_has_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = [4]
    (tmp_path / "threaded.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    waiting = _job._Import("threaded", lambda module: threads.append(module.value))
    monkeypatch.setattr(sys, "meta_path", [waiting, *sys.meta_path])
    finders = sys.meta_path  # another thread may be going through them
    module = importlib.import_module("threaded")
    assert module.value == 1 and waiting in finders
    assert threads == [4, 1] and waiting not in sys.meta_path
    importlib.reload(module)
    assert threads == [4, 1]
    monkeypatch.delitem(sys.modules, "threaded")


def test_a_library_that_fails_to_come_in_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text("raise ValueError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    waiting = _job._Import("failing", lambda module: pytest.fail("it never came in"))
    monkeypatch.setattr(sys, "meta_path", sys.meta_path)
    waiting.begin()
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("failing")
    waiting.end()
    assert sys.meta_path == before


def test_threads_of_torch_are_as_before_after_a_job() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(side_by_side(lambda _: torch.get_num_threads(), [0], 1, fits_models=True)) == [
            1
        ]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def work_of(items: Any, *, n_workers: int = 2, kinds: Any = None) -> _processes._Work:
    from joblib.parallel import get_active_backend

    items = list(items)
    kinds = [None] * len(items) if kinds is None else kinds
    job = _job.Job(abs, fits_models=True)
    return _processes._Work(job, items, (), kinds, n_workers, get_active_backend()[0])


def test_there_is_one_door_to_joblib() -> None:
    doors = [path for path in PACKAGE.rglob("*.py") if "Parallel(" in path.read_text("utf-8")]
    assert [path.name for path in doors] == ["_processes.py"]
    assert "with steady_workers():" in doors[0].read_text("utf-8")
