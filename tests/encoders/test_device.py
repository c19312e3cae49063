"""Where frozen backbones compute: where they are told, and they come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import asfusion as af
from asfusion.encoders import _base
from asfusion.encoders._cache import EmbeddingCache
from asfusion.exceptions import ConfigurationError
from asfusion.nn import _device
from asfusion.nn._asked import asked_precision
from asfusion.nn.network import EncoderNetwork
from tests.nn.test_image import save_model

N_ROWS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def resnet(folder: Path) -> str:
    return save_model(folder / "model", "resnet")


@pytest.fixture(scope="module")
def X(folder: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    for i in range(N_ROWS):
        picture = rng.integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{i}.png")
    films = [str(folder / f"{i}.png") for i in range(N_ROWS)]
    return pd.DataFrame({"xray": films, "crp": rng.normal(size=N_ROWS)})


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return where networks and inputs are sent; a device called "gpu" is the CPU in truth."""
    sent: list[str] = []
    real_to, real_network_to = torch.Tensor.to, EncoderNetwork.to

    class Gpu:
        type = "gpu"

        def __str__(self) -> str:
            return self.type

    def resolve(name: str) -> Any:
        return Gpu() if name == "gpu" else torch.device("cpu" if name == "auto" else name)

    def tensor_to(self: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if args and isinstance(args[0], Gpu):
            sent.append("inputs to gpu")
            return self
        return real_to(self, *args, **options)

    def network_to(self: EncoderNetwork, *args: Any, **options: Any) -> EncoderNetwork:
        where = args[0] if args else options.get("device")
        sent.append(f"network to {getattr(where, 'type', where)}")
        return self if isinstance(where, Gpu) else real_network_to(self, *args, **options)

    monkeypatch.setattr(_device, "resolve_device", resolve)
    monkeypatch.setattr(_base, "EMBEDDINGS", EmbeddingCache())
    monkeypatch.setattr(torch.Tensor, "to", tensor_to)
    monkeypatch.setattr(EncoderNetwork, "to", network_to)
    yield sent


def test_inputs_and_a_copy_of_the_network_go_to_the_device(
    X: pd.DataFrame, resnet: str, moves: list[str]
) -> None:
    encoder = af.ImageEncoder("xray", backbone=resnet, size=32).fit(X)
    there = encoder.embed(X, device="gpu")
    assert moves == ["network to gpu", "inputs to gpu"]  # a copy, and all images in one pass
    moves.clear()
    again = encoder.embed(X, device="gpu")
    assert moves == []  # nothing is left to embed
    _base.EMBEDDINGS.clear()
    encoder.embed(X, device="gpu")
    assert moves == ["inputs to gpu"]  # the copy is there still
    moves.clear()
    here = encoder.embed(X)  # another kind of device rounds otherwise: nothing is shared
    assert "inputs to gpu" not in moves and "network to cpu" in moves
    for found in (again, here):
        assert torch.equal(found.tensors["values"], there.tensors["values"])


def test_network_trains_after_an_error_as_it_did(
    X: pd.DataFrame, resnet: str, moves: list[str]
) -> None:
    encoder = af.ImageEncoder("xray", backbone=resnet, size=32, mode="full").fit(X)
    network = encoder._network().train()

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    hook = network.backbone.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.embed(X)
    hook.remove()
    assert network.training


def test_transform_computes_on_the_cpu(X: pd.DataFrame, resnet: str, moves: list[str]) -> None:
    af.ImageEncoder("xray", backbone=resnet, size=32).fit(X).transform(X)
    assert "network to gpu" not in moves and "network to cpu" in moves


def test_a_device_that_is_not_there_is_named(X: pd.DataFrame, resnet: str) -> None:
    encoder = af.ImageEncoder("xray", backbone=resnet, size=32).fit(X)
    with pytest.raises(ConfigurationError, match="device: expected 'auto' or a torch device"):
        encoder.embed(X, device="abacus")


@pytest.mark.parametrize("family", ["early", "joint", "late", "late forest", "auto"])
def test_estimators_embed_on_their_device_and_in_their_precision(
    X: pd.DataFrame, resnet: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.ensemble import RandomForestClassifier

    told: list[str] = []
    real = _base.embed_prepared

    def embed(network: Any, prepared: Any, size: int = 8, device: str = "cpu") -> Any:
        told.extend([f"{device} {asked_precision()}"] * len(prepared))
        return real(network, prepared, size, device)

    monkeypatch.setattr(_base, "embed_prepared", embed)
    monkeypatch.setattr(_base, "EMBEDDINGS", EmbeddingCache())
    parts = {
        "film": af.ImageEncoder("xray", backbone=resnet, size=32),
        "labs": af.TabularEncoder("crp"),
    }
    training = af.TrainingOptions(precision="bfloat16")
    network = af.JointFusionClassifier(
        parts, max_epochs=1, device="cpu:0", training=training, verbose=0
    )
    options = {"network": network, "verbose": 0, "random_state": 0}
    model: Any = network
    if family == "early":
        model = af.EarlyFusionClassifier(parts, **options)
    elif family == "auto":
        model = af.AutoFusionClassifier(parts, ["early linear"], cv=2, **options)
    elif family != "joint":
        forest = RandomForestClassifier(5) if family == "late forest" else None
        model = af.LateFusionClassifier(parts, forest, **options)
    model.fit(X, np.arange(N_ROWS) % 2)
    _base.EMBEDDINGS.clear()
    model.predict_proba(X)
    assert told == ["cpu:0 bfloat16"] * 2 * N_ROWS  # each row once in fit, and anew


@pytest.mark.parametrize("n_jobs", [None, 1])
def test_a_comparison_embeds_once_and_on_the_device_of_its_networks(
    X: pd.DataFrame, resnet: str, monkeypatch: pytest.MonkeyPatch, n_jobs: int | None
) -> None:
    told: list[str] = []
    real = _base.embed_prepared

    def embed(network: Any, prepared: Any, size: int = 8, device: str = "cpu") -> Any:
        told.extend([device] * len(prepared))
        return real(network, prepared, size, device)

    monkeypatch.setattr(_base, "embed_prepared", embed)
    _base.EMBEDDINGS.clear()
    parts = {
        "film": af.ImageEncoder("xray", backbone=resnet, size=32),
        "labs": af.TabularEncoder("crp"),
    }
    network = af.JointFusionClassifier(max_epochs=1, device="cpu:0", verbose=0)
    af.compare(
        X, np.arange(N_ROWS) % 2, parts, network=network, families=["early", "joint"], cv=2,
        n_bootstrap=20, n_jobs=n_jobs, verbose=0,
    )  # fmt: skip
    _base.EMBEDDINGS.clear()
    assert told == ["cpu:0"] * N_ROWS
