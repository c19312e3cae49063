"""On a device that is waited for when it is asked, a step asks nothing.

A tensor on `meta` has a shape and no numbers: whoever asks for one, or for which of its places are
true, gets an error. So a step that passes there does not wait on a GPU, either.
"""

import pytest
import torch

from asfusion._tokens import Prepared
from asfusion.fusion._resolve import head_names, resolve_head
from asfusion.imaging.augment import RadiographAugment
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.nn.optimizer import AdamW
from asfusion.nn.regions import RegionBackbone
from asfusion.nn.tabular import MLPBackbone
from asfusion.nn.text import TransformerBackbone
from asfusion.nn.visits import GRUVisitBackbone, TransformerVisitBackbone
from asfusion.nn.volume import SliceBackbone, build_volume_backbone, describe_volume_backbone
from asfusion.training import loop
from asfusion.training.apart import losses_at
from asfusion.training.losses import cox_loss, cross_entropy
from asfusion.training.rows import Rows
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings

N = 12


def places(n_true):
    """Return a mask of which some places are false, and some rows have none."""
    mask = torch.zeros(N, n_true, dtype=torch.bool)
    mask[:8, :2] = True
    mask[:3] = True
    return mask


def table():
    return MLPBackbone(4, d_hidden=8), {"x": torch.randn(N, 4, dtype=torch.float64)}


def image():
    return small_images(), {"pixels": torch.zeros(N, 1, 32, 32, dtype=torch.uint8)}


def small_images():
    plan = describe_image_backbone("compact", size=32)
    return build_image_backbone(plan, augment=RadiographAugment(noise=0.1, flip=0.5))


def regions():
    pixels = torch.zeros(N, 3, 1, 32, 32, dtype=torch.uint8)
    return RegionBackbone(small_images()), {"pixels": pixels, "mask": places(3)}


def slices():
    voxels = torch.zeros(N, 1, 3, 32, 32, dtype=torch.uint8)
    return SliceBackbone(small_images()), {"voxels": voxels, "mask": places(3)[:, None]}


def volume():
    plan = describe_volume_backbone("compact_3d", n_sequences=3, shape=(8, 32, 32))
    voxels = torch.zeros(N, 3, 8, 32, 32, dtype=torch.uint8)
    return build_volume_backbone(plan), {"voxels": voxels, "mask": places(3)}


def words():
    ids = torch.ones(N, 6, dtype=torch.int64)
    return TransformerBackbone(20, d_model=8, n_heads=2), {"ids": ids, "mask": places(6)}


def windows():
    ids = torch.ones(N, 2, 6, dtype=torch.int64)
    mask = torch.stack([places(6), places(6).flip(0)], dim=1)
    return TransformerBackbone(20, d_model=8, n_heads=2), {"ids": ids, "mask": mask}


def visits(kind=GRUVisitBackbone):
    numbers = torch.zeros(N, 5, 3)
    tensors = {"x": numbers, "since": numbers, "known": numbers == 0}
    tensors["trend"] = torch.zeros(N, 5, 6)
    return kind(3, d_hidden=8), {**tensors, "days": numbers[:, :, 0], "mask": places(5)}


def visits_in_a_transformer():
    return visits(TransformerVisitBackbone)


def embedded():
    return table()[0], {"values": torch.randn(N, 2, table()[0].d_out), "mask": places(2)}


CONTENTS = (table, image, regions, slices, volume, words, windows, visits, visits_in_a_transformer)


def run_of(contents, monkeypatch, head="concat", loss=cross_entropy, **settings):
    """Return a run on a device that answers nothing."""
    made = {make.__name__: make() for make in contents}
    parts = {name: EncoderNetwork(backbone, d_out=8) for name, (backbone, _) in made.items()}
    fusion = resolve_head(head).build(dict.fromkeys(parts, 8), n_outputs=2)
    outputs = 1 if loss is cox_loss else 2
    network = FusionNetwork(parts, fusion, d_fused=fusion.d_out, n_outputs=outputs, hybrid=True)
    modalities = {}
    for number, (name, (_, tensors)) in enumerate(made.items()):
        present = torch.ones(N, dtype=torch.bool)
        if "mask" in tensors:  # a row that has nothing has no such modality, as encoders say
            present = tensors["mask"].flatten(1).any(dim=1)
        present[number] = False
        modalities[name] = Prepared(tensors, present)
    targets = torch.arange(N) % 2
    targets = torch.stack([targets, targets], dim=1).float() if loss is cox_loss else targets
    rows = Rows(modalities, targets, torch.ones(N))
    # torch has no fused optimiser for such tensors; the others ask nothing either.
    monkeypatch.setattr(loop, "AdamW", lambda groups, lr, fused: AdamW(groups, lr=lr))
    chosen = TrainingSettings(max_epochs=2, batch_size=5, device="meta", **settings)
    at = loop._Run(
        network, rows, None, loss=network.row_loss(loss), settings=chosen,
        runner=Runner("meta", torch.float32),
    )  # fmt: skip
    network.keeps_apart = bool(at.weights.unimodal)
    return at


def check(at, monkeypatch):
    steps, step = [], loop._Run._step
    monkeypatch.setattr(loop._Run, "_step", lambda *a, **k: steps.append(1) or step(*a, **k))
    with pytest.raises(RuntimeError, match=r"Tensor.item\(\) cannot be called on meta tensors"):
        at._learn(0)
    assert len(steps) == at.n_batches == 3, "the mean of the losses alone is asked for, at the end"


@pytest.mark.parametrize("content", CONTENTS, ids=lambda make: make.__name__)
def test_no_step_waits_for_what_a_modality_holds(content, monkeypatch):
    other = embedded if content is table else table
    check(run_of([content, other], monkeypatch), monkeypatch)


@pytest.mark.parametrize("head", head_names())
def test_no_step_waits_for_a_head(head, monkeypatch):
    check(run_of([table, embedded], monkeypatch, head), monkeypatch)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (cox_loss, {}),
        (cross_entropy, {"objective": "more_is_not_worse", "average_weights": "ema"}),
        (cross_entropy, {"mixup": 0.0, "unimodal_losses": 0.0, "modality_dropout": 0.0}),
    ],
)
def test_no_step_waits_for_a_recipe(loss, settings, monkeypatch):
    check(run_of([table, embedded], monkeypatch, loss=loss, **settings), monkeypatch)


@pytest.mark.parametrize("head", ["attention", "mixture"])
def test_no_prediction_waits(head, monkeypatch):
    at = run_of([table, image, words, embedded], monkeypatch, head)
    at.network.eval()
    batch = at.runner.collate(at.rows.modalities, torch.arange(N))
    assert at.network(batch.inputs, batch.present).device.type == "meta"


@pytest.mark.parametrize("loss", [cross_entropy, cox_loss])
def test_rows_that_say_nothing_cost_what_rows_that_were_left_out_cost(loss):
    torch.manual_seed(0)
    outputs, targets, weights = torch.randn(N, 2), torch.arange(N) % 2, torch.rand(N)
    if loss is cox_loss:
        targets = torch.stack([torch.rand(N), targets.float()], dim=1)
    some = torch.arange(N) % 3 > 0
    given, present = torch.arange(N), some | (loss is cox_loss)  # which compares rows
    masked = losses_at(given, present, loss, outputs, targets, weights)
    left = losses_at(torch.nonzero(present).flatten(), None, loss, outputs, targets, weights)
    assert torch.equal(masked[present], left) and masked.sum() == pytest.approx(float(left.sum()))
