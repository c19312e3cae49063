"""Work on several processes goes on when one of them is replaced."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.linear_model import Ridge

from asfusion._processes import steady_workers
from asfusion.crossvalidation.validator import cross_validate

pytest.importorskip("psutil")  # without it joblib replaces no worker that grows
PACKAGE = Path(__file__).resolve().parents[1] / "asfusion"


def grow() -> int:
    """Keep 160 MB more in this process: joblib replaces a worker that has grown by 300 MB."""
    kept = sys.__dict__.setdefault("_kept_by_a_test", [])
    kept.append(np.ones(20_000_000))
    time.sleep(0.6)
    return os.getpid()


class Growing(Ridge):
    """Keeps memory in the process that fits it."""

    def fit(self, X, y, sample_weight=None):
        grow()
        return super().fit(X, y, sample_weight)


def test_worker_that_is_replaced_does_not_stop_the_others():
    """Joblib warns of it in a thread of its own, which a warning made an error would end."""
    with steady_workers():
        pids = Parallel(n_jobs=2)(delayed(grow)() for _ in range(14))
    assert len(set(pids)) > 2


def test_cross_validation_outlives_a_worker():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    options = {"cv": 7, "repeats": 2, "n_bootstrap": 20, "groups": np.arange(60)}
    one = cross_validate(Ridge(), X, X[:, 0], **options)
    two = cross_validate(Growing(), X, X[:, 0], n_jobs=2, **options)
    np.testing.assert_array_equal(one.predictions, two.predictions)


def test_every_pool_is_guarded():
    pools = [path for path in PACKAGE.rglob("*.py") if " Parallel(" in path.read_text("utf-8")]
    assert len(pools) == 4
    assert all("with steady_workers():" in path.read_text("utf-8") for path in pools)
