"""Where a run computes: networks come back from it, and another runner takes its place."""

from dataclasses import replace

import pytest
import torch

from asfusion._tokens import Tokens
from asfusion.exceptions import CheckpointError, ConfigurationError
from asfusion.training.halves import decide_rows, encode_rows, predict_rows
from asfusion.training.loop import train
from asfusion.training.losses import cross_entropy
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings
from asfusion.training.weights import weights_of

from .conftest import make_network, make_rows

QUICK = TrainingSettings(max_epochs=2, batch_size=16, device="cpu", checkpoint_every_s=0.0)
TOKENS = {name: Tokens(torch.zeros(3, 1, 8), torch.ones(3, 1).bool()) for name in ("labs", "genes")}


def fit(network, **options):
    return train(network, make_rows(), None, loss=cross_entropy, settings=QUICK, **options)


def fails(*_, **__):
    raise RuntimeError("the device is gone")


def watched(network):
    """Return the network, in training mode, and the list of places that it is moved to."""
    places, move = [], network.to

    def to(*args, **options):
        places.append(options.get("device", args[0] if args else None))
        return move(*args, **options)

    network.to = to
    return network.train(), places


@pytest.mark.parametrize("action", ["predict", "encode", "decide", "train"])
def test_a_network_comes_back_from_an_error(action, monkeypatch):
    whole = make_network()
    encoder = whole.encoders["labs"]
    network, places = watched(encoder if action == "encode" else whole)
    broken = {"encode": encoder.backbone, "decide": whole.fusion}.get(action, whole)
    monkeypatch.setattr(broken, "forward", fails)
    rows = make_rows()
    with pytest.raises(RuntimeError, match="the device is gone"):
        {
            "predict": lambda: predict_rows(network, rows, device="cpu"),
            "encode": lambda: encode_rows(network, rows.modalities["labs"], device="cpu"),
            "decide": lambda: decide_rows(network, TOKENS, device="cpu"),
            "train": lambda: fit(network),
        }[action]()
    assert len(places) == 2 and places[-1] == "cpu", "moved there and back"
    assert not network.training


def test_a_network_comes_back_from_a_checkpoint_that_is_damaged(tmp_path):
    path = tmp_path / "run.ckpt"
    path.write_bytes(b"half")
    network, places = watched(make_network())
    with pytest.raises(CheckpointError, match="damaged"):
        fit(network, checkpoint=path, resume=True)
    assert places[-1] == "cpu" and not network.training


class Silent(Runner):
    """One of several processes, none of which is the first."""

    writes = False

    def __init__(self):
        super().__init__("cpu", torch.float64)
        self.asked = []

    def outputs(self, network, inputs, present, mix=None):
        self.asked.append("outputs")
        return super().outputs(network, inputs, present, mix)

    def backward(self, objective):
        self.asked.append("backward")
        super().backward(objective)


def test_the_loop_asks_whatever_runner_it_is_given(tmp_path):
    path, runner = tmp_path / "run.ckpt", Silent()
    mine, usual = make_network(), make_network()
    assert fit(mine, runner=runner, checkpoint=path) == fit(usual)
    assert runner.asked == ["outputs", "backward"] * 6, "two epochs of three batches"
    assert not path.exists()
    left, right = weights_of(mine), weights_of(usual)
    assert all((left[name] == right[name]).all() for name in right)


@pytest.mark.parametrize(("precision", "mixed"), [("bfloat16", True), ("auto", False)])
def test_a_cpu_computes_in_bfloat16_only_where_it_is_told_to(precision, mixed, monkeypatch):
    runner, network, seen = Runner("cpu", torch.float32, precision), make_network(), []

    def forward(inputs, present, mix):
        seen.append(torch.is_autocast_enabled("cpu"))
        return torch.zeros(2, 2, dtype=torch.bfloat16)

    monkeypatch.setattr(network, "forward", forward)
    assert runner.outputs(network, {}, {}).dtype == torch.float32
    assert seen == [mixed]


def test_what_is_compiled_is_so_while_it_learns(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, **_: compiled.append(part))
    network, settings = make_network(), replace(QUICK, compile=True)
    train(network, make_rows(), None, loss=cross_entropy, settings=settings)
    assert compiled == [part.backbone for part in network.encoders.values()]
    assert all(module._compiled_call_impl is None for module in network.modules())


def test_compile_is_true_or_false():
    with pytest.raises(ConfigurationError, match="compile: expected True or False, got str"):
        TrainingSettings(compile="yes")


def test_predictions_pass_in_halves_where_memory_runs_out(monkeypatch):
    network, rows = make_network().double(), make_rows()
    usual, forward = predict_rows(network, rows, device="cpu"), network.forward

    def short(inputs, present, mix=None):
        if len(next(iter(present.values()))) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(inputs, present, mix)

    monkeypatch.setattr(network, "forward", short)
    assert torch.allclose(predict_rows(network, rows, device="cpu"), usual, atol=1e-12)


def test_all_compute_in_float64_where_that_is_asked_for():
    network, settings = make_network(), replace(QUICK, precision="float64")
    rows = make_rows(dtype=torch.float32)
    train(network, rows, None, loss=cross_entropy, settings=settings)
    assert network.head.bias.dtype == torch.float64
    kept = predict_rows(network, rows, device="cpu", precision="float64")
    assert network.head.bias.dtype == torch.float64
    assert not torch.equal(kept, predict_rows(network, rows, device="cpu"))
