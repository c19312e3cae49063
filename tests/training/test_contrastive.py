"""Encoders that learn which contents belong together."""

from __future__ import annotations

import math

import pytest
import torch

from asfusion._tokens import Prepared
from asfusion.exceptions import TrainingError
from asfusion.nn.network import Backbone
from asfusion.training.contrastive import contrast, pretrain
from asfusion.training.settings import TrainingSettings

from .conftest import make_network, make_rows

SETTINGS = TrainingSettings(max_epochs=6, batch_size=16, learning_rate=1e-2)


def paired(n=60, seed=0):
    """Rows whose two modalities share what they hold."""
    generator = torch.Generator().manual_seed(seed)
    labs = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    genes = torch.cat([labs, labs[:, :2]], dim=1)
    here = torch.ones(n, dtype=torch.bool)
    here[::7] = False
    return {"labs": Prepared({"x": labs}, ~here | True), "genes": Prepared({"x": genes}, here)}


def test_by_hand():
    vectors = torch.eye(3, dtype=torch.float64)
    alone = torch.arange(3)
    right = contrast(vectors, vectors, alone)
    assert float(right) == pytest.approx(math.log(1 + 2 * math.exp(-10)))
    assert float(contrast(vectors, vectors.roll(1, 0), alone)) > 9


def test_rows_of_one_patient_are_not_pushed_apart():
    vectors = torch.ones(2, 4, dtype=torch.float64)
    assert float(contrast(vectors, vectors, torch.tensor([5, 5]))) == 0.0
    assert float(contrast(vectors, vectors, torch.tensor([5, 6]))) == pytest.approx(math.log(2))


def test_modalities_of_a_row_find_each_other_the_same_way_each_time():
    networks = [make_network() for _ in range(2)]
    histories = [
        pretrain(network, paired(), torch.arange(60), settings=SETTINGS) for network in networks
    ]
    assert histories[0] == histories[1]
    assert histories[0][-1]["loss"] < histories[0][0]["loss"]
    one, other = (network.state_dict() for network in networks)
    assert all(torch.equal(one[name], other[name]) for name in one)
    untouched = make_network().state_dict()
    still = {name for name in one if torch.equal(one[name], untouched[name].to(one[name].dtype))}
    assert {"head.weight", "head.bias"} <= still
    assert not any(name.startswith("encoders") and "weight" in name for name in still)


def test_features_of_other_rows_stand_in_and_absent_ones_never():
    torch.manual_seed(0)
    x = torch.arange(40.0).reshape(20, 2)
    present = torch.arange(20) < 10
    inputs = {"x": x, "mask": torch.ones(20, 2, dtype=torch.bool), "pixels": torch.ones(20, 1, 2)}
    found = Backbone.corrupt(None, inputs, present)
    assert found["mask"] is inputs["mask"] and found["pixels"] is inputs["pixels"]
    assert 0.3 < float((found["x"] != x).double().mean()) < 0.8
    moved = found["x"][found["x"] != x]
    assert float(moved.max()) < 20, "features come from rows that have the modality"
    assert all(set(found["x"][:, k].tolist()) <= set(x[:, k].tolist()) for k in range(2))


def test_it_computes_in_the_precision_asked_for():
    network, seen = make_network(), set()
    network.encoders["labs"].register_forward_hook(
        lambda module, args, tokens: seen.add(tokens.values.dtype)
    )
    modalities = make_rows(30, dtype=torch.float32).modalities
    settings = TrainingSettings(max_epochs=1, batch_size=16, precision="float64")
    pretrain(network, modalities, torch.arange(30), settings=settings)
    assert seen == {torch.float64}


def test_a_loss_that_is_not_finite_ends_it():
    rows = paired()
    rows["labs"].tensors["x"][:] = torch.inf
    with pytest.raises(TrainingError, match="Pretraining diverged in epoch 0"):
        pretrain(make_network(), rows, torch.arange(60), settings=SETTINGS)
