"""A frozen backbone is built, read and hashed once, and what learns from it sees the same bits."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import asfusion as af
from asfusion.encoders import _cache, image
from asfusion.encoders._cache import EMBEDDINGS, network_digest
from asfusion.nn import _kept
from asfusion.nn._kept import KEPT, KeptBackbones, weights_known
from asfusion.nn._passes import version_of
from asfusion.nn.network import Backbone
from tests.nn.test_image import save_model

N = 16


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("resnet"), "resnet")


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    films = [rng.integers(0, 255, (32, 32), dtype=np.uint8) for _ in range(N)]
    return pd.DataFrame({"film": pd.Series(films, dtype=object), "crp": rng.normal(size=N)})


Y = np.arange(N) % 2


def encoders(folder: str, **params: Any) -> dict[str, af.Encoder]:
    film = af.ImageEncoder("film", backbone=folder, size=32, **params)
    return {"film": film, "labs": af.TabularEncoder(["crp"])}


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    KEPT.clear()
    EMBEDDINGS.clear()
    _cache._copies.clear()
    yield
    KEPT.clear()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count backbones that are built, and those whose weights are hashed."""
    found: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(image, "build_image_backbone", counted("built", image.build_image_backbone))
    monkeypatch.setattr(_cache, "_hashed", counted("hashed", _cache._hashed))
    return found


def board(folder: str, X: pd.DataFrame) -> Any:
    joint = af.JointFusionClassifier(max_epochs=1, early_stopping=False)
    return af.compare(
        X, Y, encoders(folder), fusions=["concat", "gated"], network=joint, cv=2, verbose=0,
        n_bootstrap=100,
    )  # fmt: skip


def test_a_comparison_builds_and_hashes_once(
    resnet: str, X: pd.DataFrame, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = board(resnet, X)
    assert counts == {"built": 1, "hashed": 1}
    counts.clear()
    EMBEDDINGS.clear()
    # As if each clone built its own, from the same seeds: not a bit is another one.
    monkeypatch.setattr(KEPT, "max_bytes", 0)
    KEPT.clear()
    each = board(resnet, X)
    assert counts["built"] > 10
    shown, again = (found.to_frame().drop(columns="seconds") for found in (kept, each))
    pd.testing.assert_frame_equal(shown, again, check_exact=True)


@pytest.mark.parametrize("seed", [0, 5])
def test_a_joint_network_is_the_same_to_the_bit(
    resnet: str, X: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    model = af.JointFusionClassifier(
        encoders(resnet), max_epochs=1, verbose=0, random_state=seed, early_stopping=False
    )
    kept = [clone(model).fit(X, Y).predict_proba(X) for _ in range(2)]
    monkeypatch.setattr(KEPT, "max_bytes", 0)
    KEPT.clear()
    each = clone(model).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(kept[0], each)


def test_copies_share_nothing(resnet: str, X: pd.DataFrame) -> None:
    first, second = (encoders(resnet)["film"].fit(X) for _ in range(2))
    expected = second.transform(X)
    first.transform(X)
    with torch.no_grad():
        for tensor in first.network_.backbone.state_dict().values():
            tensor.fill_(7)
    assert network_digest(first.network_.backbone) != network_digest(second.network_.backbone)
    EMBEDDINGS.clear()
    third = clone(second).fit(X)
    np.testing.assert_array_equal(third.transform(X), expected)
    np.testing.assert_array_equal(second.transform(X), expected)
    assert not np.array_equal(first.transform(X), expected)


def test_what_learns_is_built_anew(resnet: str, X: pd.DataFrame, counts: Counter[str]) -> None:
    for mode in ("full", "last_block"):
        encoder = encoders(resnet, mode=mode)["film"].fit(X)
        encoder.build()
        encoder.build()
    assert counts["built"] == 4
    assert len(KEPT) == 0


def test_other_settings_and_other_weights_are_others(
    tmp_path: Path, X: pd.DataFrame, counts: Counter[str]
) -> None:
    folder = save_model(tmp_path, "resnet")
    for params in ({}, {"pool": False}, {"norm": "frozen"}, {}):
        encoders(folder, **params)["film"].fit(X).build()
    n_built = counts["built"]
    assert n_built == len(KEPT) <= 3
    before = encoders(folder)["film"].fit(X).transform(X)
    (weights,) = tmp_path.glob("*.safetensors")
    from safetensors.torch import load_file, save_file

    save_file({k: v + 1 for k, v in load_file(weights).items()}, weights, {"format": "pt"})
    os.utime(weights, ns=(1, 1))
    assert not np.array_equal(encoders(folder)["film"].fit(X).transform(X), before)
    assert counts["built"] == n_built + 1


def test_the_seed_of_what_comes_behind_is_the_same(resnet: str, X: pd.DataFrame) -> None:
    encoder = encoders(resnet)["film"].fit(X)
    adapters = []
    for _ in range(2):
        torch.manual_seed(3)
        adapters.append(encoder.build().adapter[2].weight)
    assert torch.equal(*adapters)


class Small(Backbone):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(n))


def test_memory_is_bounded_and_given_back() -> None:
    store = KeptBackbones(max_bytes=100)
    made: list[weakref.ref[Backbone]] = []

    def make(n: int) -> Callable[[], Backbone]:
        def build() -> Backbone:
            network = Small(n)
            made.append(weakref.ref(network))
            return network

        return build

    for name, n in (("a", 10), ("b", 10), ("a", 10), ("c", 10), ("large", 1000)):
        assert store.copy_of(name, make(n)).weight.shape == (n,)
    gc.collect()
    # "b" was the longest unused, and what is larger than all of it is not kept.
    assert [ref() is not None for ref in made] == [True, False, True, False]
    assert (len(store), store.n_bytes) == (2, 80)
    store.clear()
    gc.collect()
    assert (len(store), store.n_bytes) == (0, 0)
    assert all(ref() is None for ref in made)


def test_threads_build_one() -> None:
    store, built, found = KeptBackbones(), [], []

    def make() -> Backbone:
        built.append(1)
        return Small(5)

    def ask() -> None:
        found.append(store.copy_of("one", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]
    assert len({id(network) for network in found}) == 8
    assert len({version_of(network) for network in found}) == 8
    assert all(torch.equal(network.weight, found[0].weight) for network in found)
    assert not any(network.training for network in found)


def test_weights_are_known_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept, "find_file", lambda *args, **kwargs: None)
    assert weights_known("no/such", download=False) is None
    assert weights_known(str(tmp_path), download=False) is None
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"1")
    known = weights_known(str(tmp_path), download=False)
    assert known == weights_known(str(file), download=False) is not None
    file.write_bytes(b"22")
    assert weights_known(str(file), download=False) != known
    monkeypatch.setattr(_kept, "find_file", lambda *args, **kwargs: str(file))
    assert weights_known("org/name", download=False) == weights_known(str(file), download=False)
