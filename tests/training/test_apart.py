"""Losses of single modalities: what learns by them, and how they are weighed."""

from __future__ import annotations

import pytest
import torch

from asfusion.exceptions import ConfigurationError
from asfusion.training import blending
from asfusion.training.apart import LossWeights, losses_apart
from asfusion.training.blending import blended, gradient_blend
from asfusion.training.loop import train
from asfusion.training.losses import cross_entropy
from asfusion.training.rows import collate
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings

from .conftest import make_network, make_rows

SETTINGS = TrainingSettings(max_epochs=4, batch_size=16, learning_rate=1e-2)


def learned(weights, network=None, settings=SETTINGS, validation=None):
    network = make_network() if network is None else network
    history = train(
        network, make_rows(), validation, loss=cross_entropy, settings=settings, weights=weights
    )
    return network, history


def changed(one, other):
    own, theirs = one.state_dict(), other.state_dict()
    return {name for name in own if not torch.equal(own[name].double(), theirs[name].double())}


def test_each_alone_teaches_encoders_and_leaves_what_fuses_them():
    network, history = learned(LossWeights.each_alone(["labs", "genes"]), validation=make_rows(9))
    moved = changed(network, make_network())
    assert {name.split(".")[0] for name in moved} == {"encoders", "unimodal", "head"}
    assert {n for n in moved if n.startswith("head")} == {"head.bias"}, "the prior is shared"
    assert history[-1]["validation_loss"] < 2 * torch.log(torch.tensor(2.0))
    assert not network.apart and not network.keeps_apart, "nothing of a batch is left behind"


def test_an_absent_modality_costs_nothing_by_itself():
    rows = make_rows()
    rows.modalities["genes"].present[:] = False
    network = make_network()
    train(
        network, rows, None, loss=cross_entropy, settings=SETTINGS,
        weights=LossWeights(1.0, {"labs": 1.0, "genes": 1.0}),
    )  # fmt: skip
    assert not network.unimodal["genes"].weight.any()
    assert network.unimodal["labs"].weight.any()


def test_in_mixed_precision_losses_are_computed_as_that_of_what_is_fused():
    network, rows = make_network(), make_rows(20, dtype=torch.float32)
    network.keeps_apart = True
    runner = Runner("cpu", torch.float32, "bfloat16")
    runner.place(network)
    part = torch.arange(len(rows))
    batch = collate(rows.modalities, part, device=runner.device, dtype=runner.dtype)
    seen = [runner.outputs(network, batch.inputs, batch.present).dtype]

    def loss(outputs, targets):
        seen.append(outputs.dtype)
        return cross_entropy(outputs, targets)

    losses_apart(network, loss, rows.targets, rows.weights.float())
    assert seen == [torch.float32] * 3


def test_settings_say_how_much_modalities_count():
    assert LossWeights.of(TrainingSettings(unimodal_losses=0.5), ["a", "b"]).unimodal == {
        "a": 0.5, "b": 0.5,
    }  # fmt: skip
    assert not LossWeights.of(TrainingSettings(unimodal_losses=0.0), ["a", "b"]).unimodal
    assert not LossWeights.of(TrainingSettings(), []).unimodal
    message = "unimodal_losses: expected"
    for wrong in (-1.0, "some", None):
        with pytest.raises(ConfigurationError, match=message):
            TrainingSettings(unimodal_losses=wrong)
    with pytest.raises(ConfigurationError, match="initialise: expected"):
        TrainingSettings(initialise="random")


def test_weights_are_gain_over_overfitting_squared():
    before = torch.tensor([[0.7, 0.7, 0.7], [0.7, 0.7, 0.7]])
    after = torch.tensor([[0.3, 0.5, 0.1], [0.5, 0.6, 0.8]])  # on learned rows, on others
    weights = blended(before, after)
    # Gains .2, .1 and none; overfitting .2 and .1.
    assert torch.allclose(weights, 3 * torch.tensor([5.0, 10.0, 0.0]) / 15)
    assert blended(before, before + 0.1).tolist() == [1.0, 1.0, 1.0]


def test_a_trial_finds_weights_and_leaves_the_network_as_it_was():
    network, rows = make_network(), make_rows(60)
    settings = TrainingSettings(max_epochs=3, learning_rate=1e-2)
    found = [
        gradient_blend(network, rows, make_rows(40, seed=1), loss=cross_entropy, settings=settings)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0].fused + sum(found[0].unimodal.values()) == pytest.approx(3.0)
    assert not changed(network, make_network())


def test_a_trial_computes_in_the_precision_asked_for():
    rows, others = (make_rows(30, seed, dtype=torch.float32) for seed in range(2))
    settings, seen = TrainingSettings(max_epochs=1, precision="float64"), set()

    def loss(outputs, targets):
        seen.add(outputs.dtype)
        return cross_entropy(outputs, targets)

    gradient_blend(make_network(), rows, others, loss=loss, settings=settings)
    assert seen == {torch.float64}


def test_what_is_fused_is_weighed_by_itself_and_always_learns(monkeypatch):
    plain, hybrid = make_network(), make_network()
    hybrid.hybrid = True  # it predicts by the mean with what modalities say by themselves
    rows, others = make_rows(60), make_rows(40, seed=1)
    found = [
        gradient_blend(network, rows, others, loss=cross_entropy, settings=SETTINGS)
        for network in (plain, hybrid)
    ]
    assert found[0] == found[1] and hybrid.hybrid
    monkeypatch.setattr(blending, "blended", lambda *_: torch.tensor([0.0, 1.0, 2.0]))
    found = gradient_blend(hybrid, rows, others, loss=cross_entropy, settings=SETTINGS)
    assert found.unimodal == {"labs": 1.0, "genes": 2.0}
    before = hybrid.head.weight.detach().clone()
    learned(found, hybrid)
    assert not torch.equal(hybrid.head.weight.detach().double(), before.double())
