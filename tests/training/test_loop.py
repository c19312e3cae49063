"""The training loop: learning, stopping, resuming, running out of memory."""

import math
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asfusion.exceptions import (
    CheckpointError,
    ConfigurationError,
    OutOfMemoryError,
    TrainingError,
)
from asfusion.training import loop
from asfusion.training.halves import predict_rows
from asfusion.training.loop import train
from asfusion.training.losses import cross_entropy, squared_error
from asfusion.training.rows import Rows, collate, drop_modalities, precision_of
from asfusion.training.schedule import rate_factor
from asfusion.training.settings import TrainingSettings

from .conftest import make_network, make_rows, make_run

QUICK = TrainingSettings(max_epochs=6, batch_size=16, learning_rate=1e-2, checkpoint_every_s=0.0)


def weights_of(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def run(settings=QUICK, network=None, rows=None, validation=None, **options):
    network = make_network() if network is None else network
    rows = make_rows() if rows is None else rows
    history = train(network, rows, validation, loss=cross_entropy, settings=settings, **options)
    return network, history


def test_learns_what_needs_both_modalities():
    settings = TrainingSettings(max_epochs=80, batch_size=32, learning_rate=1e-2, mixup=0.0)
    network, history = run(settings, rows=make_rows(300, missing=0.0))
    fresh = make_rows(300, seed=1, missing=0.0)
    predicted = predict_rows(network, fresh).argmax(dim=1)
    assert (predicted == fresh.targets).float().mean() > 0.9
    assert history[-1]["loss"] < history[0]["loss"]


def test_one_seed_gives_the_same_bits_and_another_does_not():
    first, _ = run()
    second, _ = run()
    other, _ = run(TrainingSettings(max_epochs=6, batch_size=16, learning_rate=1e-2, seed=1))
    assert same(weights_of(first), weights_of(second))
    assert not same(weights_of(first), weights_of(other))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run(network=None)
    torch.manual_seed(3)
    network = make_network(seed=3)
    torch.manual_seed(3)
    run(network=network)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_killed_and_resumed_run_equals_the_straight_one(
    tmp_path, monkeypatch, validated, stop_after
):
    validation = make_rows(20, seed=5) if validated else None
    straight, history = run(validation=validation)

    class Killed(Exception):
        pass

    original = loop._Run.run_epoch

    def dies(self, epoch):
        if epoch == stop_after:
            raise Killed
        return original(self, epoch)

    path = tmp_path / "run.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "run_epoch", dies)
        with pytest.raises(Killed):
            run(validation=validation, checkpoint=path)
    resumed, resumed_history = run(validation=validation, checkpoint=path, resume=True)
    assert same(weights_of(resumed), weights_of(straight))
    assert resumed_history == history
    again, _ = run(validation=validation, checkpoint=path, resume=True)  # nothing left to do
    assert same(weights_of(again), weights_of(straight))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    run(checkpoint=path)
    with pytest.raises(CheckpointError, match="other data, settings or networks"):
        run(rows=make_rows(seed=9), checkpoint=path, resume=True)
    longer = TrainingSettings(max_epochs=7, batch_size=16, checkpoint_every_s=0.0)
    with pytest.raises(CheckpointError, match="resume=False"):
        run(longer, checkpoint=path, resume=True)


def test_rows_are_hashed_once_a_run_however_often_it_is_written(tmp_path, monkeypatch):
    hashed = []
    original = Rows.fingerprint

    def counted(self):
        hashed.append(len(self))
        return original(self)

    monkeypatch.setattr(Rows, "fingerprint", counted)
    path = tmp_path / "run.ckpt"
    run(validation=make_rows(20, seed=1))
    assert hashed == [], "nobody asked for a checkpoint"
    run(validation=make_rows(20, seed=1), checkpoint=path)
    assert hashed == [40, 20]
    run(validation=make_rows(20, seed=1), checkpoint=path, resume=True)
    assert hashed == [40, 20] * 2


@pytest.mark.parametrize(("n_rows", "batch_size"), [(33, 16), (5, 1), (17, 16), (32, 16), (3, 16)])
def test_the_schedule_plans_the_steps_that_are_taken(n_rows, batch_size, monkeypatch):
    taken = []
    original = loop._Run._set_rate

    def noted(self, step):
        taken.append((step, self.n_batches))
        original(self, step)

    monkeypatch.setattr(loop._Run, "_set_rate", noted)
    monkeypatch.setattr(loop._Run, "_step", lambda self, batch, side: 0.0)
    settings = TrainingSettings(max_epochs=3, batch_size=batch_size)
    run(settings, rows=make_rows(n_rows))
    n_batches = taken[0][1]
    assert [step for step, _ in taken] == list(range(3 * n_batches))


def test_early_stopping_keeps_the_best_epoch():
    settings = TrainingSettings(max_epochs=200, batch_size=16, learning_rate=5e-2, patience=3)
    rows, validation = make_rows(30, seed=2), make_rows(60, seed=3)
    network, history = run(settings, rows=rows, validation=validation)
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 200
    assert len(history) - 1 - losses.index(min(losses)) == 3
    judged = make_run(network, rows, validation, **asdict(settings))
    assert judged.judge(validation) == pytest.approx(min(losses), rel=1e-12)


def test_weights_count_as_repeated_rows_in_one_batch():
    settings = TrainingSettings(max_epochs=20, batch_size=128, modality_dropout=0.0, mixup=0.0)
    rows = make_rows(12, missing=0.0)
    times = torch.tensor([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1, 4])
    weighted = Rows(rows.modalities, rows.targets, times / times.double().mean())
    repeated = rows.take(torch.repeat_interleave(torch.arange(12), times))

    def plain_network():
        network = make_network()
        for module in network.modules():  # row statistics and dropout count rows, not weights
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.Dropout):
                module.forward = lambda x: x
        return network

    left, _ = run(settings, network=plain_network(), rows=weighted)
    right, _ = run(settings, network=plain_network(), rows=repeated)
    fresh = make_rows(10, seed=4)
    torch.testing.assert_close(
        predict_rows(left, fresh), predict_rows(right, fresh), rtol=1e-9, atol=1e-9
    )


def test_memory_that_runs_out_halves_the_batch(monkeypatch):
    sizes = []
    original = loop._Run._loss_of

    def limited(self, rows, part, **options):
        sizes.append(len(part))
        if len(part) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, rows, part, **options)

    monkeypatch.setattr(loop._Run, "_loss_of", limited)
    _, history = run()
    assert max(sizes) == 16 and sizes[:3] == [16, 8, 4]
    assert sizes.count(16) == 1, "the smaller batch is remembered"
    assert len(history) == 6


def test_nothing_of_a_pass_that_ran_out_of_memory_is_held_during_the_next(monkeypatch):
    held, failed = [], []
    loss_of, backward = loop._Run._loss_of, loop.Runner.backward

    def watched(self, rows, part, **options):
        held.append(bool(self.network.apart))
        return loss_of(self, rows, part, **options)

    def limited(self, objective):
        if not failed:
            failed.append(objective.dim())
            raise torch.OutOfMemoryError("CUDA out of memory")
        backward(self, objective)

    monkeypatch.setattr(loop._Run, "_loss_of", watched)
    monkeypatch.setattr(loop.Runner, "backward", limited)
    run()
    assert failed and held[:2] == [False, False]


def test_memory_that_runs_out_at_one_row_is_an_error(monkeypatch):
    def never(self, rows, part, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(loop._Run, "_loss_of", never)
    with pytest.raises(OutOfMemoryError, match="one row per pass"):
        run()


def test_other_errors_are_not_taken_for_memory(monkeypatch):
    def broken(self, rows, part, **options):
        raise RuntimeError("something else")

    monkeypatch.setattr(loop._Run, "_loss_of", broken)
    with pytest.raises(RuntimeError, match="something else"):
        run()


def test_a_loss_that_is_not_finite_is_an_error():
    rows = make_rows(20)
    broken = Rows(rows.modalities, torch.full((20, 1), math.inf), rows.weights)
    with pytest.raises(TrainingError, match="diverged in epoch 0.*Lower learning_rate"):
        train(make_network(n_outputs=1), broken, None, loss=squared_error, settings=QUICK)


def test_auxiliary_losses_are_trained_on():
    plain, _ = run()
    penalised, _ = run(network=make_network(penalty=10.0))
    norm = {
        name: net.encoders["labs"].backbone.layers[0].weight.norm()
        for name, net in (("plain", plain), ("penalised", penalised))
    }
    assert norm["penalised"] < norm["plain"]


def test_frozen_backbones_keep_every_bit_and_slow_ones_move_less():
    network = make_network(training_mode="frozen")
    before = weights_of(network.encoders["labs"].backbone)
    run(network=network)
    assert same(before, weights_of(network.encoders["labs"].backbone))

    def moved(scale):
        network = make_network(learning_rate_scale=scale)
        before = network.encoders["labs"].backbone.layers[0].weight.detach().clone()
        run(network=network)
        after = network.encoders["labs"].backbone.layers[0].weight.detach()
        return float((after - before).norm())

    assert moved(0.1) < 0.5 * moved(1.0)


def test_a_batch_with_one_present_row_trains():
    rows = make_rows(16, missing=0.0)
    present = torch.zeros(16, dtype=torch.bool)
    present[3] = True
    labs = rows.modalities["labs"]
    modalities = {**rows.modalities, "labs": type(labs)(labs.tensors, present)}
    _, history = run(rows=Rows(modalities, rows.targets, rows.weights))
    assert all(math.isfinite(record["loss"]) for record in history)


def test_absent_rows_reach_the_network_as_zeros():
    rows = make_rows(10, missing=0.5)
    labs = rows.modalities["labs"]
    labs.tensors["x"][~labs.present] = math.nan
    batch = collate(
        rows.modalities, torch.arange(10), device=torch.device("cpu"), dtype=torch.float32
    )
    assert (batch.inputs["labs"]["x"][~labs.present] == 0).all()
    _, history = run(rows=rows)
    assert all(math.isfinite(record["loss"]) for record in history)


def test_precision_follows_the_inputs():
    assert precision_of(make_rows().modalities) == torch.float64
    assert precision_of(make_rows(dtype=torch.float32).modalities) == torch.float32


@given(st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_modality_dropout_leaves_every_row_something(probability, seed):
    torch.manual_seed(seed)
    present = {name: torch.rand(20) < 0.6 for name in ("labs", "genes", "notes")}
    kept = drop_modalities(present, probability)
    before, after = torch.stack([*present.values()]), torch.stack([*kept.values()])
    assert not (after & ~before).any()
    assert torch.equal(after.any(dim=0), before.any(dim=0))


def test_the_learning_rate_rises_and_falls():
    rates = [rate_factor(step, 100, warmup=0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(rates) == 1.0 and rates[-1] < 0.001
    assert rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_epochs", 0, "max_epochs: expected an integer of at least 1, got 0"),
        ("batch_size", 2.5, "batch_size: expected an integer"),
        ("patience", True, "patience: expected an integer"),
        ("learning_rate", 0.0, r"learning_rate: expected a number in \(0, inf\)"),
        ("learning_rate", math.nan, "learning_rate: expected a number"),
        ("modality_dropout", 1.5, r"modality_dropout: expected a number in \[0, 1\]"),
        ("precision", "float16", "precision: expected one of"),
        ("device", "gpu", "device: expected 'auto' or a torch device"),
    ],
)
def test_settings_say_what_is_wrong(name, value, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingSettings(**{name: value})


def test_some_rows_are_no_copy():
    rows = make_rows()
    some = rows.take(torch.tensor([3, 5, 8])).take(torch.tensor([2, 0]))
    assert some.modalities is rows.modalities and some.at(torch.tensor([0])).tolist() == [8]
    assert len(some) == 2 and some.fingerprint() != rows.fingerprint()
