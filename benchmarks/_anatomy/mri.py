"""MRI of the sacroiliac joints: whole slices, and slices cut around both joints.

Synthetic stacks (STIR and T1, 12 slices, with what mimics oedema). A finder learns on middle slices
of one cohort where the joints are; slices of another are read by EfficientNet-Lite0 (ImageNet
weights, frozen) and a linear model, five folds by patient, whole and cut to 1.25 times what
was found. Predicted is axSpA. The difference is paired, intervals by patient (DeLong).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

import asfusion as af
from asfusion.datasets import _axspa_images
from asfusion.datasets._phantoms.mri_canvas import MriLabel
from asfusion.evaluation.delong import delong_interval, delong_test

COLUMNS = ["mri_stir", "mri_t1"]
JOINTS = (MriLabel.JOINT_RIGHT, MriLabel.JOINT_LEFT)
SIZE = 128


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        judge(args, Path(folder))


def judge(args: argparse.Namespace, folder: Path) -> None:
    n = args.patients or 200
    teaching, boxes = draw(max(60, n // 3), 1, folder)
    cohort, _ = draw(n, 0, folder)
    begun = time.process_time()
    finder = af.anatomy.RegionFinder(boxes, size=64, verbose=0, random_state=0)
    learner = af.SliceEncoder(COLUMNS, region=finder, size=SIZE).fit(teaching.X)
    path = learner.finder_.save(folder / "finder.asf")
    print(f"finder: {len(boxes)} series, {time.process_time() - begun:.0f} s of processor time")
    X = cohort.X[cohort.X["mri_stir"].notna()]
    y, groups = cohort.y[X.index], cohort.groups[X.index]
    frozen = {"backbone": "efficientnet_lite0", "size": SIZE}
    looks = {
        "whole slices": af.SliceEncoder(COLUMNS, **frozen),
        "around the joints": af.SliceEncoder(COLUMNS, **frozen, region=path),
    }
    print(f"axSpA of {len(y)} patients with MRI", flush=True)
    said: dict[str, np.ndarray] = {}
    for name, encoder in looks.items():
        model = af.EarlyFusionClassifier({"mri": encoder}, random_state=0)
        result = af.cross_validate(
            model, X, y, groups=groups, duplicates="ignore", verbose=0, n_bootstrap=1
        )
        said[name] = result.predictions
        print(f"  {name:<20}{shown(delong_interval(y, said[name], groups=groups))}", flush=True)
    test = delong_test(y, said["around the joints"], said["whole slices"], groups=groups)
    print(f"  difference          {shown(test.difference)}")


def draw(n: int, seed: int, folder: Path) -> tuple[af.datasets.AxSpaCohort, pd.DataFrame]:
    """Return a cohort, and boxes around the joints on the middle slices of its series."""
    boxes: list[list[int]] = []
    render = _axspa_images.render_mri

    def watched(**given: object) -> object:
        study = render(**given)
        middle = study.labels[len(study.labels) // 2]
        y, x = np.nonzero(np.isin(middle, JOINTS))
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        return study

    with mock.patch.object(_axspa_images, "render_mri", watched):
        cohort = af.datasets.make_axspa_cohort(
            n, random_state=seed, modalities=["mri"], film_mm=1.0, missing=0.0,
            path=folder / str(seed),
        )  # fmt: skip
    there = cohort.X["mri_stir"].notna()
    edges = ["x0", "y0", "x1", "y1"]
    tables = []
    for column in COLUMNS:
        table = pd.DataFrame(boxes, columns=edges)
        tables.append(table.assign(film=cohort.X[column][there].to_numpy(), region="joints"))
    return cohort, pd.concat(tables, ignore_index=True)


def shown(score: object) -> str:
    """Return an estimate and its interval."""
    return f"{score.estimate:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
