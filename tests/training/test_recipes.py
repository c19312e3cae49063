"""Recipes of training: each does what its paper says, and none breaks a resumed run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from asfusion._tokens import Prepared
from asfusion.exceptions import ConfigurationError
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.nn.volume import build_volume_backbone, describe_volume_backbone
from asfusion.training import loop
from asfusion.training.averaging import WeightAverage
from asfusion.training.halves import predict_rows
from asfusion.training.loop import draw_mix, train
from asfusion.training.losses import class_loss, cross_entropy, focal_loss
from asfusion.training.rows import Rows, rows_per_pass
from asfusion.training.schedule import Schedule, depths, one_cycle, parameter_groups
from asfusion.training.settings import TrainingSettings
from asfusion.training.weights import learned_state

from .conftest import make_network, make_rows, make_run

QUICK = {"max_epochs": 8, "batch_size": 16, "learning_rate": 1e-2, "checkpoint_every_s": 0.0}
RECIPES = {
    "focal": {"loss": "focal"},
    "smoothed": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "one cycle": {"schedule": "one_cycle"},
    "head first": {"head_first": 3},
    "layers": {"layer_decay": 0.5},
    "more is not worse": {"objective": "more_is_not_worse", "mixup": 0.2},
    "ema": {"average_weights": "ema"},
    "swa": {"average_weights": "swa"},
    "all": {
        "loss": "focal", "label_smoothing": 0.05, "mixup": 0.2, "schedule": "one_cycle",
        "head_first": 2, "layer_decay": 0.5, "average_weights": "ema",
        "progressive_resizing": True,
    },
}  # fmt: skip


def run(recipe, *, network=None, rows=None, validation=None, **options):
    settings = TrainingSettings(**QUICK, **recipe)
    network = make_network(learning_rate_scale=0.1) if network is None else network
    rows = make_rows() if rows is None else rows
    loss = class_loss(settings)
    history = train(network, rows, validation, loss=loss, settings=settings, **options)
    return network, history


def weights_of(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_killed_and_resumed_run_equals_the_straight_one(recipe, validated, tmp_path, monkeypatch):
    validation = make_rows(20, seed=1) if validated else None
    straight, history = run(recipe, validation=validation)
    saves = []
    original = loop._Run.save

    def kill(self, path):
        original(self, path)
        saves.append(path)
        if len(saves) == kills_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "save", kill)
    for kills_at in (2, 5, 7):
        saves.clear()
        path = tmp_path / f"{kills_at}.ckpt"
        with pytest.raises(KeyboardInterrupt):
            run(recipe, validation=validation, checkpoint=path)
        saves.clear()
        kills_at = -1
        resumed, again = run(recipe, validation=validation, checkpoint=path, resume=True)
        left, right = weights_of(resumed), weights_of(straight)
        assert all(torch.equal(left[k], right[k]) for k in right)
        assert again == history


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_learns(recipe):
    settings = {**QUICK, "max_epochs": 30}
    network, rows = make_network(), make_rows(150, missing=0.0)
    chosen = TrainingSettings(**{**settings, **recipe})
    train(network, rows, None, loss=class_loss(chosen), settings=chosen)
    fresh = make_rows(200, seed=1, missing=0.0)
    predicted = predict_rows(network, fresh).argmax(dim=1)
    assert (predicted == fresh.targets).float().mean() > 0.75


# -- losses ----------------------------------------------------------------------------


def test_focal_loss_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([0, 0, 1])
    p = torch.softmax(logits, dim=1)[torch.arange(3), targets]
    torch.testing.assert_close(focal_loss(logits, targets), -((1 - p) ** 2) * torch.log(p))
    right, wrong = focal_loss(logits, targets)[:2] / cross_entropy(logits, targets)[:2]
    assert right < 0.02 < 0.7 < wrong, "what is right already counts for little"


def test_smoothed_targets_are_best_met_by_smoothed_probabilities():
    targets = torch.zeros(1, dtype=torch.int64)
    grid = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    logits = torch.stack([torch.log(grid), torch.log(1 - grid)], dim=1)
    best = grid[cross_entropy(logits, targets.expand(99), smoothing=0.2).argmin()]
    assert float(best) == pytest.approx(0.9, abs=0.006)
    plain = focal_loss(logits, targets.expand(99), smoothing=0.2)
    assert torch.isfinite(plain).all() and float(grid[plain.argmin()]) < 0.95


def test_a_blend_has_the_loss_of_both_its_rows():
    rows = make_rows(missing=0.0)
    weighted = Rows(rows.modalities, rows.targets, torch.linspace(0, 2, 40, dtype=torch.float64))
    at = make_run(make_network().eval(), weighted, **QUICK)
    at.network.eval()
    part, mix = torch.arange(8), loop.Mix(0.7, torch.arange(8).flip(0))
    got = at._loss_of(weighted, part, mix=mix)
    batch = at.runner.collate(weighted.modalities, part)
    with torch.no_grad():
        fused = at.network.fusion(at.network.encode(batch.inputs, batch.present))
        outputs = at.network.head(0.7 * fused + 0.3 * fused.flip(0))
        losses = [
            share * weighted.weights[rows] * cross_entropy(outputs, weighted.targets[rows])
            for share, rows in ((0.7, part), (0.3, part.flip(0)))
        ]
    torch.testing.assert_close(got, sum(losses).mean())


def test_blends_are_drawn_from_the_distribution_asked_for():
    torch.manual_seed(0)
    assert draw_mix(4, 0.0, torch.device("cpu")) is None
    shares = [draw_mix(4, 0.2, torch.device("cpu")).share for _ in range(400)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.07)
    assert np.std(shares) == pytest.approx(math.sqrt(0.25 / 1.4), abs=0.04)


# -- rates -----------------------------------------------------------------------------


def test_one_cycle_rises_falls_and_turns_momentum_the_other_way():
    rates, momenta = zip(*[one_cycle(i / 100) for i in range(101)], strict=True)
    assert np.argmax(rates) == np.argmin(momenta) == 30
    assert rates[0] == pytest.approx(1 / 25) and rates[-1] < 1e-5 and max(rates) == 1.0
    assert momenta[0] == momenta[-1] == pytest.approx(0.95) and min(momenta) == 0.85


def test_the_schedule_begins_anew_behind_the_head():
    settings = TrainingSettings(max_epochs=10, head_first=4)
    rates = [Schedule(settings, 5, 4).rate(step) for step in range(50)]
    assert max(rates[:20]) == max(rates[20:]) == 1.0
    assert rates[19] < 0.1 and rates[20] < 0.5 and rates[49] < 0.1
    assert [Schedule(settings, 5, 0).rate(s) for s in range(50)] != rates


def test_rates_stay_while_weights_are_averaged():
    settings = TrainingSettings(max_epochs=20, average_weights="swa")
    schedule = Schedule(settings, 3, 0)
    assert schedule.averages_from == 15
    assert len({schedule.rate(step) for step in range(45, 60)}) == 1
    assert schedule.rate(44) > schedule.rate(45) > 0.1


@pytest.mark.parametrize(
    ("build", "n_stages"),
    [
        (lambda: build_image_backbone(describe_image_backbone("compact")), 3),
        (lambda: build_image_backbone(describe_image_backbone("resnet18", size=32)), 4),
        (lambda: build_image_backbone(describe_image_backbone("vit_tiny", size=32)), 12),
        (lambda: build_volume_backbone(describe_volume_backbone("compact_3d")), 3),
    ],
    ids=["compact", "resnet18", "vit_tiny", "compact_3d"],
)
def test_every_weight_has_a_depth_and_the_last_block_none(build, n_stages):
    backbone = build()
    found = depths(backbone)
    assert set(found) == set(backbone.parameters())
    assert {found[p] for p in backbone.last_block().parameters()} == {0}
    assert set(found.values()) == set(range(n_stages + 1))
    stem = next(p for n, p in backbone.named_parameters() if "body" in n)
    assert found[stem] == n_stages


def test_earlier_layers_learn_more_slowly():
    backbone = build_image_backbone(describe_image_backbone("compact"))
    encoder = EncoderNetwork(backbone, d_out=4, learning_rate_scale=0.1)
    network = FusionNetwork({"xray": encoder}, nn.Identity(), d_fused=4, n_outputs=2)
    groups = parameter_groups(network, TrainingSettings(layer_decay=0.5))
    scales = {id(p): g["scale"] for g in groups for p in g["params"]}
    body = backbone.body
    stem, last = next(body.stem.parameters()), next(body.stages[-1].parameters())
    assert scales[id(last)] == 0.1 and scales[id(stem)] == pytest.approx(0.0125)
    assert scales[id(network.head.weight)] == scales[id(encoder.adapter[2].weight)] == 1.0
    assert len(scales) == len(list(network.parameters()))


def watch(monkeypatch):
    """Return the weights of the network after each epoch, as training goes on."""
    seen = []
    original = loop._Run.run_epoch

    def spy(self, epoch):
        record = original(self, epoch)
        seen.append({k: v.detach().clone() for k, v in learned_state(self.network).items()})
        return record

    monkeypatch.setattr(loop._Run, "run_epoch", spy)
    return seen


def test_backbones_wait_while_the_head_learns(monkeypatch):
    seen = watch(monkeypatch)
    network = make_network(learning_rate_scale=0.1)  # labs are pretrained, genes are not
    start = weights_of(network)
    run({"head_first": 3}, network=network)
    waits = [name for name in seen[0] if name.startswith("encoders.labs.backbone")]
    assert len(waits) >= 4, "batch statistics among them"
    for epoch in range(3):
        assert all(torch.equal(seen[epoch][name], start[name].double()) for name in waits)
    assert not torch.equal(seen[0]["encoders.genes.backbone.layers.0.weight"],
                           start["encoders.genes.backbone.layers.0.weight"].double())  # fmt: skip
    assert not torch.equal(seen[0]["encoders.labs.adapter.2.weight"],
                           start["encoders.labs.adapter.2.weight"].double())  # fmt: skip
    assert not torch.equal(seen[4][waits[0]], seen[2][waits[0]])


# -- averages --------------------------------------------------------------------------


def test_swa_is_the_mean_of_the_last_quarter_with_statistics_of_its_own(monkeypatch):
    seen = watch(monkeypatch)
    rows = make_rows(32, missing=0.0)
    network, history = run({"average_weights": "swa"}, rows=rows, validation=make_rows(20, seed=1))
    assert len(history) == 8, "the last epochs are waited for"
    for name, parameter in network.named_parameters():
        mean = torch.stack([epoch[name] for epoch in seen[6:]]).mean(dim=0)
        torch.testing.assert_close(parameter.detach(), mean)
    statistics = [n for n in seen[0] if "running_mean" in n]
    assert not any(torch.equal(network.state_dict()[n], seen[-1][n]) for n in statistics)
    layer = network.encoders["genes"].backbone.layers
    expected = layer[0](rows.modalities["genes"].tensors["x"]).mean(dim=0)
    torch.testing.assert_close(layer[1].running_mean, expected.detach())
    assert layer[1].momentum == 0.1


def test_ema_forgets_the_start_and_is_what_is_judged(monkeypatch):
    weight = torch.zeros(1)
    average = WeightAverage("ema", lambda: {"w": weight})
    for step in range(1000):
        weight.fill_(float(step >= 100))
        average.add()
    assert 0.98 < float(average.tensors["w"]) <= 1.0
    seen = watch(monkeypatch)
    validation = make_rows(30, seed=1)
    network, history = run({"average_weights": "ema"}, validation=validation)
    best = int(np.argmin([record["validation_loss"] for record in history]))
    name = "head.weight"
    assert not torch.equal(network.state_dict()[name], seen[best][name])
    judged = make_run(network, make_rows(), **QUICK)
    assert judged.judge(validation) == pytest.approx(history[best]["validation_loss"], rel=1e-9)


# -- sizes -----------------------------------------------------------------------------


def test_images_grow_over_the_epochs_and_are_judged_whole():
    schedule = Schedule(TrainingSettings(max_epochs=9, progressive_resizing=True), 1, 0)
    assert [schedule.side(e) for e in range(9)] == [0.5] * 3 + [0.75] * 3 + [1.0] * 3
    images = torch.randint(0, 256, (2, 1, 96, 96), dtype=torch.uint8)
    cnn = build_image_backbone(describe_image_backbone("compact"))
    small = cnn.shrink({"pixels": images}, 0.5)["pixels"]
    assert small.shape == (2, 1, 48, 48)
    torch.testing.assert_close(small.mean(), images.float().mean() / 255, rtol=0.02, atol=0)
    assert cnn.shrink({"pixels": images}, 0.1)["pixels"].shape[-1] == 32
    vit = build_image_backbone(describe_image_backbone("vit_tiny", size=96))
    assert vit.shrink({"pixels": images}, 0.5)["pixels"].shape[-1] == 96
    volume = build_volume_backbone(describe_volume_backbone("compact_3d"))
    stacks = {"voxels": torch.zeros(1, 2, 8, 96, 64), "mask": torch.ones(1, 2, dtype=torch.bool)}
    assert volume.shrink(stacks, 0.5)["voxels"].shape == (1, 2, 8, 48, 32)
    assert volume.shrink(stacks, 0.5)["mask"].all()


# -- what cannot be --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "loss: expected one of"),
        ({"schedule": "step"}, "schedule: expected one of"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected"),
        ({"mixup": -1.0}, "mixup: expected"),
        ({"layer_decay": 0.0}, "layer_decay: expected"),
        ({"head_first": 8}, "head_first: expected fewer epochs than max_epochs=8"),
        ({"progressive_resizing": 1}, "progressive_resizing: expected True or False, got int"),
        ({"average_weights": "mean"}, "average_weights: expected one of"),
    ],
)
def test_unusable_recipes(change, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingSettings(**QUICK, **change)


def test_large_rows_pass_a_few_at_a_time():
    assert rows_per_pass(make_rows().modalities, 128) == 128
    voxels = torch.zeros(1, dtype=torch.uint8).expand(3, 2, 20, 224, 224)
    large = {"mri": Prepared({"voxels": voxels}, torch.ones(3, dtype=torch.bool))}
    assert rows_per_pass(large, 128) == 9
    larger = {"mri": Prepared({"voxels": voxels[..., None].expand(-1, -1, -1, -1, -1, 99)},
                              torch.ones(3, dtype=torch.bool))}  # fmt: skip
    assert rows_per_pass(larger, 128) == 1
