"""Intensive care from real chest films: whole, at the lungs, both, and with the lungs black.

Frontal films of a public collection with a known admission to intensive care, read by
EfficientNet-Lite0 (ImageNet weights, frozen) and a linear model. The finder of the lungs is fitted
inside each fold, on the films of the training patients that radiologists drew boxes on. Patients
stay in one fold; areas under the curve are those of all out-of-fold predictions, differences are
paired, intervals by patient (DeLong for clusters). Films are files of 224 x 224 pixels, so that a
crop has no more detail than the whole.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd

import asfusion as af
from asfusion.evaluation.delong import delong_interval, delong_test

LUNGS = ("right_lung", "left_lung")


def run(args: argparse.Namespace) -> None:
    X, y, groups = read_cohort(args.data / "cxr")
    boxes = read_boxes(args.data / "lungs" / "boxes.csv", args.data / "cxr")
    drawn = X["image"].isin(boxes["film"]).sum()
    n_patients = groups.nunique()
    print(
        f"{len(X)} films of {n_patients} patients, {y.sum()} in intensive care, {drawn} with boxes"
    )
    options = {} if args.epochs is None else {"epochs": args.epochs}
    finder = af.anatomy.RegionFinder(boxes, verbose=0, random_state=0, **options)
    said = {}
    for name, encoders in looks(finder).items():
        begun = time.process_time()
        model = af.EarlyFusionClassifier(encoders, random_state=0)
        result = af.cross_validate(
            model, X, y, groups=groups, cv=5, repeats=args.seeds, duplicates="ignore", verbose=0,
            n_bootstrap=1,
        )  # fmt: skip
        said[name] = result.predictions
        area = delong_interval(y, said[name], groups=groups)
        told = f"{name:<24}{shown(area)}"
        if len(said) > 1:
            told += (
                f"  {shown(delong_test(y, said[name], said['whole'], groups=groups).difference)}"
            )
        print(f"{told}  {time.process_time() - begun:.0f} s", flush=True)


def looks(finder: af.anatomy.RegionFinder) -> dict[str, dict[str, af.Encoder]]:
    """Return the encoders of each way to look at a film."""
    frozen = {"column": "image", "backbone": "efficientnet_lite0"}
    whole = af.ImageEncoder(**frozen)
    crop = af.ImageEncoder(**frozen, region=finder)
    each = af.RegionEncoder(**frozen, region=finder)
    return {
        "whole": {"whole": whole},
        "at the lungs": {"crop": crop},
        "whole + at the lungs": {"whole": whole, "crop": crop},
        "each lung": {"lungs": each},
        "whole + each lung": {"whole": whole, "lungs": each},
        "lungs black": {"black": af.RegionEncoder(**frozen, region=finder, blackout=True)},
    }


def read_cohort(folder: Path) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Return frontal films with a known outcome, the outcome and the patient."""
    cohort = pd.read_csv(folder / "cohort.csv")
    cohort = cohort[cohort["is_frontal"] & cohort["label_icu"].notna()].reset_index(drop=True)
    X = pd.DataFrame({"image": [str(folder / name) for name in cohort["image"]]})
    return X, cohort["label_icu"].astype(int), cohort["group"]


def read_boxes(path: Path, folder: Path) -> pd.DataFrame:
    """Return radiologists' boxes as annotations."""
    table = pd.read_csv(path)
    parts = []
    for name in LUNGS:
        side = name.removesuffix("_lung")
        part = table[[f"{side}_{edge}" for edge in ("x0", "y0", "x1", "y1")]]
        part = part.set_axis(["x0", "y0", "x1", "y1"], axis=1)
        films = [str(folder / image) for image in table["image"]]
        parts.append(part.assign(film=films, region=name))
    return pd.concat(parts, ignore_index=True).dropna()


def shown(score: object) -> str:
    """Return an estimate and its interval."""
    return f"{score.estimate:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
