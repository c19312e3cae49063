"""What every test shares: one thread, no network, and small tables with a planted signal."""

from __future__ import annotations

import os

# Before torch and numpy are imported anywhere: their thread pools read this once.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gc
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Repeatable, and silent about slow machines: a test's time is not what is tested.
settings.register_profile(
    "asfusion",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("asfusion")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the tests themselves: there is none, and they are millions."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection; sockets between processes stay possible."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        # Not an Exception: a library that falls back to "offline" must not hide it.
        return pytest.fail("A test tried to open a network connection.")

    def refuse_lookup(*_: Any, **__: Any) -> None:
        pytest.fail("A test tried to look up a host name.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_lookup)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Hold torch to one thread also where the environment came too late."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(params=["pandas", "polars"])
def df_module(request: pytest.FixtureRequest) -> ModuleType:
    """Return pandas, then polars: ``df_module.DataFrame({"crp": [...]})`` works in both."""
    return pytest.importorskip(request.param)


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of real data beside the repository, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data are not on this machine")
    return folder


@pytest.fixture
def xor_columns() -> Callable[..., tuple[dict[str, list[float]], np.ndarray]]:
    """Return a maker of two table blocks of which neither alone says anything.

    ``columns, y = xor_columns(n=200, seed=0)``: the sign of ``blood_0`` and the sign of
    ``gait_0`` are independent, and y is 1 where they differ. ``blood_1`` and ``gait_1``
    are noise. Only a model that lets the two blocks interact can beat chance.
    """
    return make_xor_columns


def make_xor_columns(n: int = 200, *, seed: int = 0) -> tuple[dict[str, list[float]], np.ndarray]:
    """Return the columns and the target of `xor_columns`."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(2, n))
    blood, gait = signs + 0.2 * rng.standard_normal((2, n))
    noise = rng.standard_normal((2, n))
    columns = {"blood_0": blood, "blood_1": noise[0], "gait_0": gait, "gait_1": noise[1]}
    y = (signs[0] != signs[1]).astype(int)
    return {name: values.tolist() for name, values in columns.items()}, y


@pytest.fixture
def patients(df_module: ModuleType) -> tuple[Any, np.ndarray]:
    """Return 24 rows of a table with every kind of column and missing cells, and a target."""
    rng = np.random.default_rng(0)
    n = 24
    crp = rng.lognormal(1.5, 1.0, n).round(1).tolist()
    crp[3] = None
    smoker: list[bool | None] = (rng.random(n) < 0.3).tolist()
    smoker[5] = None
    columns = {
        "crp": crp,
        "age": rng.integers(18, 70, n).tolist(),
        "sex": rng.choice(["female", "male"], n).tolist(),
        "smoker": smoker,
        "note": [f"Morning stiffness for {m} minutes." for m in rng.integers(0, 120, n)],
    }
    columns["note"][7] = None
    return df_module.DataFrame(columns), (np.arange(n) % 2).astype(int)


@pytest.fixture
def eager_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work go to workers as soon as one job is done, however little is left."""
    from asfusion import _processes

    monkeypatch.setattr(_processes, "_START_S", 0.0)
    monkeypatch.setattr(_processes, "_WAKE_S", 0.0)
