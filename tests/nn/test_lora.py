"""Low-rank adaptation: starts as the network was, and nothing but its matrices learns."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.joint import JointFusionClassifier
from asfusion.exceptions import ConfigurationError
from asfusion.nn import _budget
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import Backbone, EncoderNetwork
from asfusion.nn.pretrained_text import PretrainedTextBackbone, build_text_model
from asfusion.persistence import load

from ..encoders.test_text import make_bert
from .test_weights_of_others import IMAGES, SIZE, TEXTS, grey, make

_IDS = torch.tensor([[2, 17, 9, 11, 3]])
_NOTE = {"ids": _IDS, "mask": _IDS > 0}


def _adapted(backbone: Backbone, **options: Any) -> EncoderNetwork:
    return EncoderNetwork(backbone, d_out=4, training_mode="lora", **options)


def _text(kind: str = "bert") -> PretrainedTextBackbone:
    torch.manual_seed(0)
    return PretrainedTextBackbone(build_text_model({"model_type": kind, **TEXTS[kind][1]}))


@pytest.mark.parametrize("kind", ["clip", "dinov2", "siglip", "swin", "vit_mae", "convnext"])
def test_image_networks(tmp_path: Path, kind: str) -> None:
    make(tmp_path, kind, *IMAGES[kind][:2])
    plan = describe_image_backbone(str(tmp_path), size=SIZE)
    _check(build_image_backbone(plan, source=str(tmp_path)), {"pixels": grey()})


@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "distilbert", "modernbert", "roberta"])
def test_text_networks(kind: str) -> None:
    _check(_text(kind), _NOTE)


def _check(backbone: Backbone, inputs: dict[str, torch.Tensor]) -> None:
    before = copy.deepcopy(backbone.eval().state_dict())
    with torch.no_grad():
        expected = backbone(inputs).values
    network = _adapted(backbone).eval()
    with torch.no_grad():
        torch.testing.assert_close(network.embed(inputs).values, expected)
    names = [n for n, p in backbone.named_parameters() if p.requires_grad]
    assert names and all(name.rpartition(".")[2] in ("lora_A", "lora_B") for name in names)
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):  # the first matrices move once the second are no longer zero
        optimiser.zero_grad()
        network.train()(inputs).values.square().sum().backward()
        assert {n for n, p in backbone.named_parameters() if p.grad is not None} == set(names)
        optimiser.step()
    after = backbone.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(after[name].abs().max() > 0 for name in names)


def test_the_matrices_are_a_change_of_the_weights() -> None:
    """What peft would merge into the layer gives the same."""
    backbone = _text()
    _adapted(backbone).eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter)
    found = backbone(_NOTE).values
    weights = backbone.state_dict()
    merged = {n: t for n, t in weights.items() if "lora_" not in n}
    for name in merged:
        stem, _, kind = name.rpartition(".")
        if kind == "weight" and f"{stem}.lora_A" in weights:
            merged[name] = merged[name] + weights[f"{stem}.lora_B"] @ weights[f"{stem}.lora_A"]
    plain = _text().eval()
    plain.load_state_dict(merged, strict=True)
    torch.testing.assert_close(plain(_NOTE).values, found)


def test_it_asks_for_no_second_copy_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be taken for a saved model that describes more than it brings."""
    monkeypatch.setattr(_budget, "_SLACK", 0)
    backbone = _text()
    stored = sum(p.numel() for p in backbone.parameters()) // 2
    with _budget.at_most_values(stored):
        network = _adapted(backbone)
    assert any(name.endswith("lora_A") for name, _ in network.named_parameters())


def test_networks_of_convolutions_are_refused() -> None:
    backbone = build_image_backbone(describe_image_backbone("compact"))
    with pytest.raises(ConfigurationError, match="without linear layers in its stages.*got 'lora'"):
        _adapted(backbone)


def test_it_waits_and_learns_at_the_full_rate(tmp_path: Path) -> None:
    from asfusion.training.schedule import can_wait

    X = pd.DataFrame({"note": ["heel pain", None]})
    network = TextEncoder("note", backbone=str(make_bert(tmp_path)), mode="lora").fit(X).build()
    assert network.learning_rate_scale == 1.0 and can_wait(network)
    network.waits = True
    assert not network.train().backbone.training


@pytest.mark.parametrize("encoder", [TextEncoder, ImageEncoder])
def test_without_pretrained_weights_it_is_refused(encoder: Any) -> None:
    with pytest.raises(ConfigurationError, match="no pretrained weights"):
        encoder("cells", mode="lora").fit(pd.DataFrame({"cells": ["heel pain"]}))


def test_a_fitted_model_is_saved_with_its_matrices(tmp_path: Path) -> None:
    X = pd.DataFrame({"note": ["heel pain", "no pain", "uveitis", "well"] * 3})
    y = [1, 0, 1, 0] * 3
    notes = TextEncoder("note", backbone=str(make_bert(tmp_path)), mode="lora")
    model = JointFusionClassifier({"notes": notes}, max_epochs=2, verbose=0, random_state=0)
    expected = model.fit(X, y).predict_proba(X)
    learned = [p for n, p in model.network_.named_parameters() if n.endswith("lora_B")]
    assert learned and all(p.abs().max() > 0 for p in learned)
    model.save(tmp_path / "model.asf")
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    np.testing.assert_array_equal(load(tmp_path / "model.asf").predict_proba(X), expected)
