"""Every architecture for one epoch on drawn images, what the largest needs, and what MRI adds.

Run: ``python benchmarks/architectures.py [--device auto] [--patients 32] [--part all]``

- ``epoch``: each 2-D network on pelvic radiographs, each 3-D network and each way over slices
  on MRI (STIR and T1) of the synthetic cohort: seconds of one epoch, and whether the model,
  saved and loaded, predicts the same bits and a network exported by torch.export the same.
- ``memory``: forward and backward of the 3-D ResNet-101 on 2 x 20 x 224 x 224 voxels.
- ``fusion``: folds by patient; MRI, radiograph and labs alone and together, against the plain
  mean of the three (at least 200 patients).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af
from asfusion.nn.volume import build_volume_backbone, describe_volume_backbone
from asfusion.training.settings import resolve_device

LABS = ["age", "sex", "bmi", "crp", "esr"]
FLAT = (
    "compact", "resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "mobilenet_v2",
    "efficientnet_b0", "efficientnet_lite0", "convnext_tiny", "vit_tiny",
)  # fmt: skip
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
        precision="float32", verbose=0, random_state=0,
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
    gap = float((af.Tokens(*exported).clean_values() - eager).abs().max())
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


def run_fusion(n: int, device: str) -> None:
    lite = {"backbone": "efficientnet_lite0", "size": 128}
    parts = {
        "labs": af.TabularEncoder(LABS),
        "xray": af.ImageEncoder("pelvis_xray", **lite),
        "mri": af.SliceEncoder(["mri_stir", "mri_t1"], **lite),
    }
    settings = {"max_epochs": 30, "batch_size": 16, "early_stopping": False, "device": device}
    logistic = LogisticRegression(C=0.1, max_iter=5000)
    models: dict[str, Any] = {
        "logistic": af.LateFusionClassifier(parts, logistic),
        "network": af.LateFusionClassifier(parts, network=af.JointFusionClassifier(**settings)),
        "early, logistic": af.EarlyFusionClassifier(parts, logistic),
        "joint, concat": af.JointFusionClassifier(parts, **settings),
        "joint, attention": af.JointFusionClassifier(parts, fusion="attention", **settings),
    }
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=0, path=folder, modalities=["labs", "xray", "mri"]
        )
        X, y, groups = cohort.X, cohort.y, cohort.groups
        told: dict[str, Any] = {}
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(X, y, groups)
        for learn, judge in folds:
            for name, model in models.items():
                model.set_params(verbose=0, random_state=0)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", af.exceptions.AsfusionWarning)
                    model.fit(X.iloc[learn], y[learn], groups=groups[learn])
                    for key, p in answers(name, model, X.iloc[judge]).items():
                        told.setdefault(key, np.full(len(X), np.nan))[judge] = p
    print(f"{n} patients, five folds by patient, axSpA against back pain")
    for key, p in sorted(told.items(), key=lambda item: -roc_auc_score(y, item[1])):
        print(f"{key:<26} AUC {roc_auc_score(y, p):.3f}", flush=True)


def answers(name: str, model: Any, X: Any) -> dict[str, Any]:
    """Return probabilities of a model, and of each of its modalities alone."""
    if not isinstance(model, af.LateFusionClassifier):
        return {name: model.predict_proba(X)[:, 1]}
    found = {}
    for way in ("mean", "product"):
        found[f"late, {way}, {name}"] = model.set_params(combine=way).predict_proba(X)[:, 1]
    model.set_params(combine="mean")
    for part, alone in model.models_.items():  # rows without it get the prior
        one = af.LateFusionClassifier.__new__(af.LateFusionClassifier)
        vars(one).update(vars(model), models_={part: alone}, weights_={part: 1.0})
        found[f"{part} alone, {name}"] = one.predict_proba(X)[:, 1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--patients", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--part", choices=["all", "epoch", "memory", "fusion"], default="all")
    given = parser.parse_args()
    if given.part in ("all", "memory"):
        run_memory(given.device)
    if given.part in ("all", "epoch"):
        run_epochs(given.patients, given.size, given.device)
    if given.part == "fusion":
        run_fusion(max(200, given.patients), given.device)


if __name__ == "__main__":
    main()
