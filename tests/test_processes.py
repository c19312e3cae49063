"""Work side by side: the same with any backend, and it goes on when a process is replaced."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.linear_model import Ridge

import asfusion as af
from asfusion import _processes
from asfusion._processes import side_by_side
from asfusion.crossvalidation.validator import cross_validate
from tests.growing import Growing
from tests.processes import answers_in_lists

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


def test_there_is_one_door_to_joblib() -> None:
    doors = [path for path in PACKAGE.rglob("*.py") if "Parallel(" in path.read_text("utf-8")]
    assert [path.name for path in doors] == ["_processes.py"]
    assert "with steady_workers():" in doors[0].read_text("utf-8")
