"""What is learned leaves a network as arrays, and comes back into one that was built alike."""

import numpy as np
import pytest
import torch

from asfusion.exceptions import ShapeError
from asfusion.training.halves import predict_rows
from asfusion.training.weights import set_weights, weights_of

from .conftest import make_network, make_rows


def test_arrays_are_all_that_a_network_has_learned():
    network, rows = make_network().double(), make_rows()
    network.encoders["labs"].backbone.layers[1].running_mean += 0.3
    other = make_network(seed=1)
    set_weights(other, weights_of(network))
    assert {p.dtype for p in other.parameters()} == {torch.float64}
    assert torch.equal(predict_rows(other, rows), predict_rows(network, rows))


def test_frozen_weights_stay_where_they_are():
    network = make_network(training_mode="frozen")
    names = set(weights_of(network))
    assert "encoders.labs.adapter.2.weight" in names
    assert "encoders.labs.backbone.layers.0.weight" not in names


def test_arrays_are_copies():
    network = make_network()
    weights = weights_of(network)
    before = {name: array.copy() for name, array in weights.items()}
    with torch.no_grad():
        network.head.weight.add_(1.0)
    np.testing.assert_equal(weights, before)
    set_weights(network, weights)
    weights["head.weight"] += 1.0
    np.testing.assert_equal(weights_of(network), before)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_arrays_of_another_network_are_named(change):
    network = make_network()
    weights = weights_of(network)
    if change == "missing":
        del weights["head.bias"]
    elif change == "unknown":
        weights["head.gain"] = np.ones(2)
    else:
        weights["head.bias"] = np.ones(3)
    name = "head.gain" if change == "unknown" else "head.bias"
    with pytest.raises(ShapeError, match=f"built alike, got others for '{name}'"):
        set_weights(network, weights)
