"""Every architecture for one epoch on drawn images, what the largest needs, and what MRI adds.

Run: ``python benchmarks/architectures.py [--device auto] [--patients 32] [--part all]``

- ``epoch``: each 2-D network on pelvic radiographs, each 3-D network and each way over slices
  on MRI (STIR and T1) of the synthetic cohort: seconds of one epoch, and whether the model,
  saved and loaded, predicts the same bits and a network exported by torch.export the same.
- ``memory``: forward and backward of the 3-D ResNet-101 on 2 x 20 x 224 x 224 voxels.
- ``fusion``: MRI, radiograph and labs, alone and together, on the same five folds by patient
  (at least 300 patients, frozen EfficientNet-Lite0).
- ``ensemble``: three networks trained on radiographs to tell those that meet the radiological
  criterion of New York, each alone, averaged, weighted and stacked (at least 400 patients, half
  of them unseen).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import asfusion as af
from asfusion.nn.volume import build_volume_backbone, describe_volume_backbone
from asfusion.training.settings import resolve_device

LABS = ["age", "sex", "bmi", "crp", "esr"]
FLAT = (
    "compact", "resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "mobilenet_v2",
    "efficientnet_b0", "efficientnet_lite0", "convnext_tiny", "vit_tiny",
)  # fmt: skip
PARTS = ("all", "epoch", "memory", "fusion", "ensemble")
DEEP = ("compact_3d", "resnet18_3d", "resnet50_3d", "resnet101_3d", "densenet121_3d")


def described(size: int) -> dict[str, Any]:
    mri, shape = ["mri_stir", "mri_t1"], (12, size, size)
    found: dict[str, Any] = {}
    for name in FLAT:
        mode = "full" if name == "efficientnet_lite0" else "auto"
        found[name] = af.ImageEncoder("pelvis_xray", backbone=name, size=size, mode=mode)
    for name in DEEP:
        found[name] = af.VolumeEncoder(mri, backbone=name, shape=shape)
    found["slices, compact"] = af.SliceEncoder(mri, size=size)
    found["slices, lite0 frozen"] = af.SliceEncoder(mri, backbone="efficientnet_lite0", size=size)
    return found


def encoder_columns(encoder: Any, X: Any) -> Any:
    params = encoder.get_params()
    return X[["pelvis_xray"] if "column" in params else list(params["columns"])]


def one_epoch(encoder: Any, X: Any, y: Any, device: str) -> tuple[float, float, bool, float]:
    """Return million weights, seconds, whether loading gives the same, and the export's gap."""
    model = af.JointFusionClassifier(
        {"image": encoder}, max_epochs=1, batch_size=8, early_stopping=False, device=device,
        training=af.TrainingOptions(precision="float32"), verbose=0, random_state=0,
    )  # fmt: skip
    begun = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begun
    some = X[encoder_columns(encoder, X).notna().all(axis=1)].head(2)
    with tempfile.TemporaryDirectory() as folder:
        again = af.load(model.save(Path(folder) / "model.asf"))
    expected, got = (m.set_params(device="cpu").predict_proba(some) for m in (model, again))
    network = model.network_.encoders["image"].to("cpu").eval()
    inputs = dict(model.encoders_["image"].prepare(some).tensors)
    with torch.no_grad():
        eager = network(inputs).clean_values()
        exported = torch.export.export(network, (inputs,), strict=False).module()(inputs)
    gap = float((af.extend.Tokens(*exported).clean_values() - eager).abs().max())
    weights = sum(p.numel() for p in network.parameters()) / 1e6
    return weights, seconds, bool((expected == got).all()), gap


def run_epochs(n: int, size: int, device: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=0, path=folder, modalities=["xray", "mri"]
        )
        print(f"{n} patients, {size} pixels, {resolve_device(device)}; 12 slices x 2 sequences")
        print(f"{'network':<22}{'M weights':>10}{'epoch (s)':>11}{'loads same':>12}{'export':>10}")
        for name, encoder in described(size).items():
            weights, seconds, same, gap = one_epoch(encoder, cohort.X, cohort.y, device)
            print(f"{name:<22}{weights:>10.1f}{seconds:>11.2f}{same!s:>12}{gap:>10.1e}", flush=True)


def run_memory(device: str) -> None:
    where = resolve_device(device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    backbone = build_volume_backbone(describe_volume_backbone("resnet101_3d")).train().to(where)
    voxels = torch.randint(0, 256, (2, 1, 20, 224, 224), dtype=torch.uint8, device=where)
    mask = torch.ones(2, 1, dtype=torch.bool, device=where)
    begun = time.perf_counter()
    backbone({"voxels": voxels, "mask": mask}).values.square().mean().backward()
    if where.type == "cuda":
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    seconds = time.perf_counter() - begun
    print(
        f"3-D ResNet-101, 2 x 20 x 224 x 224, float32, forward and backward on {where}: "
        f"{peak:.2f} GiB at the most, {seconds:.1f} s"
    )


def run_fusion(n: int, given: argparse.Namespace) -> None:
    lite = {"backbone": "efficientnet_lite0", "size": 128}
    parts = {
        "labs": af.TabularEncoder(LABS),
        "xray": af.ImageEncoder("pelvis_xray", **lite),
        "mri": af.SliceEncoder(["mri_stir", "mri_t1"], **lite),
    }
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=0, path=folder, modalities=["labs", "xray", "mri"]
        )
        board = af.compare(
            cohort.X, cohort.y, parts, groups=cohort.groups, cv=5,
            network=af.JointFusionClassifier(device=given.device),
            fusions=("concat", "attention"), combines=("mean", "product"),
            checkpoint=given.checkpoint,
        )  # fmt: skip
    print(board)
    if given.plot:
        board.plot().figure.savefig(given.plot, dpi=150, bbox_inches="tight")


def run_ensemble(n: int, given: argparse.Namespace) -> None:
    parts = {
        name: af.ImageEncoder("pelvis_xray", backbone=name, size=given.size, mode=mode)
        for name, mode in (
            ("efficientnet_lite0", "full"), ("mobilenet_v2", "auto"), ("resnet18", "auto")
        )
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=2, path=folder, modalities=["xray"], missing=0.0
        )
        grades = cohort.targets[["mny_right", "mny_left"]].to_numpy()
        y = ((grades >= 2).all(axis=1) | (grades >= 3).any(axis=1)).astype(int)
        rows = np.arange(n)
        network = af.JointFusionClassifier(
            max_epochs=10, early_stopping=False, class_weight="balanced", device=given.device
        )
        board = af.compare(
            cohort.X, y, parts, groups=cohort.groups, cv=[(rows[: n // 2], rows[n // 2 :])],
            network=network, families=["late"], combines=("mean", "weighted", "stacking"),
            checkpoint=given.checkpoint,
        )  # fmt: skip
    print(f"{y.mean():.2f} of {n} films meet the criterion")
    print(board)
    if given.plot:
        board.plot().figure.savefig(given.plot, dpi=150, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--patients", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--part", choices=PARTS, default="all")
    parser.add_argument("--checkpoint", type=Path, help="folder of finished answers of fusion")
    parser.add_argument("--plot", type=Path, help="file for the picture of fusion")
    given = parser.parse_args()
    if given.part in ("all", "memory"):
        run_memory(given.device)
    if given.part in ("all", "epoch"):
        run_epochs(given.patients, given.size, given.device)
    if given.part == "fusion":
        run_fusion(max(300, given.patients), given)
    if given.part == "ensemble":
        run_ensemble(max(400, given.patients), given)


if __name__ == "__main__":
    main()
