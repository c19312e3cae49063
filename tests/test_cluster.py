"""Work on a cluster: two local workers of Dask or Ray give what one process gives, to the bit."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from PIL import Image
from sklearn.linear_model import LogisticRegression

import asfusion as af
from asfusion.imaging import ImageStore
from tests.nn.test_image import save_model


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes of this machine talk, and nobody else."""
    connect = socket.socket.connect

    def here_only(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            return pytest.fail("A test tried to open a network connection.")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", here_only)


@contextmanager
def on_dask() -> Iterator[None]:
    distributed = pytest.importorskip("distributed", reason="Dask is an extra: cluster.")
    options = {"dashboard_address": None, "host": "127.0.0.1", "silence_logs": logging.ERROR}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster),
        parallel_config("dask"),
    ):
        yield


@contextmanager
def on_ray() -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray", reason="Ray is an extra: cluster.")
    from ray.util.joblib import register_ray

    ray.init(
        num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
        logging_level="error",
    )  # fmt: skip
    register_ray()
    with ExitStack() as stack:
        stack.callback(ray.shutdown)
        stack.enter_context(parallel_config("ray", n_jobs=2))
        yield


def answers(X: pd.DataFrame, y: np.ndarray, network: str, store: Path) -> tuple[Any, ...]:
    """Return a board, out-of-fold predictions, probabilities and records of images."""
    film = af.ImageEncoder("film", backbone=network, size=32)  # frozen: embedded once, handed over
    parts = {"film": film, "labs": af.TabularEncoder("crp")}
    quick = {"cv": 2, "n_bootstrap": 20, "verbose": 0}
    board = af.compare(X, y, parts, families=["early"], **quick).to_frame()
    folds = af.cross_validate(LogisticRegression(), X[["crp", "bmi"]], y, **quick).predictions
    auto = af.AutoFusionClassifier(
        {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")},
        ["early linear"], cv=2, verbose=0, random_state=0,
    ).fit(X, y)  # fmt: skip
    records = ImageStore(store, size=16)
    rows = records.ingest(X["film"])
    return board.drop(columns="seconds"), folds, auto.predict_proba(X), records.read(rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opened", [on_dask, on_ray])
def test_a_cluster_gives_the_same_to_the_bit(opened: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 16
    network = save_model(tmp_path / "model", "resnet")
    X = pd.DataFrame({"crp": rng.normal(size=n), "bmi": rng.normal(size=n)})
    X["film"] = [str(tmp_path / f"{i}.png") for i in range(n)]
    for path in X["film"]:
        Image.fromarray(rng.integers(0, 255, (24, 24), dtype=np.uint8)).save(path)
    y = (X["crp"] > 0).to_numpy().astype(int)
    one = answers(X, y, network, tmp_path / "one")
    with opened():
        two = answers(X, y, network, tmp_path / "two")
    pd.testing.assert_frame_equal(one[0], two[0], check_exact=True)
    for here, there in zip(one[1:], two[1:], strict=True):
        np.testing.assert_array_equal(here, there)
