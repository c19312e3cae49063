"""Grades of sacroiliac joints on fine films: where a finder points, on whole films, at true places.

The finder learns from the films of one synthetic cohort; films and grades of another are judged in
five folds by patient. Each joint is a row, those on the left mirrored: what the finder cuts (90
mm), the true region cut in the same way, and the whole film at 224 pixels, of as many rows. The
grade is the one that was drawn. Frozen: EfficientNet-Lite0 and a linear model. Below that, axSpA of
patients from labs and films, whole or by regions. With ``--epochs``, the network is also trained
further, on the grades of joints of two thirds of the patients, and judged on the others, by the
mean over five views.
Differences are paired, intervals by patient (DeLong for clusters).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _anatomy._shares import by_patient
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af
from asfusion.evaluation.delong import delong_interval, delong_test
from asfusion.imaging import read_image
from asfusion.imaging.original import read_original

SIDES = ("right_sij", "left_sij")
SIDE_MM, SIZE = 90.0, 224
FROZEN = {"backbone": "efficientnet_lite0", "size": SIZE}
LABS = ["crp", "esr"]


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        judge(args, Path(folder))


def judge(args: argparse.Namespace, folder: Path) -> None:
    n = args.patients or 300
    teaching = draw(max(120, n // 2), 1, folder)
    cohort = draw(n, 0, folder)
    begun = time.process_time()
    films = teaching.X["pelvis_xray"].dropna()
    finder = af.anatomy.RegionFinder(teaching.regions, verbose=0, random_state=0).fit(films)
    finder.save(folder / "finder.asf")
    print(f"finder: {len(films)} films, {time.process_time() - begun:.0f} s of processor time")
    X = cohort.X[cohort.X["pelvis_xray"].notna()]
    grades = cohort.targets.loc[X.index, ["mny_right", "mny_left"]].to_numpy()
    patients = np.repeat(cohort.groups[X.index], 2)
    pictures = look(X["pelvis_xray"].tolist(), cohort.regions, folder / "finder.asf")
    judge_frozen(pictures, grades.ravel(), patients)
    judge_patients(X, cohort.y[X.index], cohort.groups[X.index], folder / "finder.asf")
    if args.epochs:
        judge_trained(pictures, grades.ravel(), patients, args.epochs)


def draw(n: int, seed: int, folder: Path) -> af.datasets.AxSpaCohort:
    """Return fine films of a cohort, drawn once."""
    return af.datasets.make_axspa_cohort(
        n, random_state=seed, modalities=["labs", "xray"], film_mm=0.5, path=folder / f"{seed}-{n}"
    )


def look(films: list[str], regions: pd.DataFrame, finder: Path) -> dict[str, np.ndarray]:
    """Return pictures (joints, size, size) of each way to look, right before left."""
    encoder = af.RegionEncoder(
        "film", region=finder, side_mm=SIDE_MM, size=SIZE, on_lost="whole"
    ).fit(pd.DataFrame({"film": films}))
    found = encoder.prepare(pd.DataFrame({"film": films})).tensors["pixels"].numpy()
    boxes = regions.set_index(["film", "region"])
    true, whole = [], []
    for film in films:
        original, picture = read_original(film), read_image(film, size=SIZE)[0]
        for side in SIDES:
            box = boxes.loc[(film, side)]
            middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
            cut = original.cut(middle, original.pixels_of(SIDE_MM), SIZE)[0]
            step = -1 if side == "left_sij" else 1
            true.append(cut[:, ::step])
            whole.append(picture[:, ::step])
    return {
        "where found": found.reshape(-1, SIZE, SIZE),
        "true region": np.stack(true),
        "whole film": np.stack(whole),
    }


def judge_frozen(pictures: dict[str, np.ndarray], grades: np.ndarray, patients: np.ndarray) -> None:
    """Print the area above grade 1 and the kappa of grades, by a frozen network."""
    print(f"{len(grades)} joints, {(grades >= 2).sum()} of grade 2 or more\nfrozen", flush=True)
    settings = {"groups": patients, "duplicates": "ignore", "verbose": 0, "n_bootstrap": 200}
    said: dict[str, np.ndarray] = {}
    for name, films in pictures.items():
        X = pd.DataFrame({"joint": list(films)})
        encoders = {"joint": af.ImageEncoder("joint", **FROZEN)}
        model = af.EarlyFusionClassifier(encoders, random_state=0)
        said[name] = af.cross_validate(model, X, (grades >= 2).astype(int), **settings).predictions
        ordered = model.set_params(target=af.targets.Grades())
        kappa = af.cross_validate(ordered, X, grades, **settings).report.scores["kappa_quadratic"]
        tell(name, grades >= 2, said, patients, f"kappa {shown(kappa)}")


def judge_trained(
    pictures: dict[str, np.ndarray], grades: np.ndarray, patients: np.ndarray, epochs: int
) -> None:
    """Print the area above grade 1 and the kappa, where the network is trained further."""
    split = GroupShuffleSplit(1, test_size=1 / 3, random_state=0).split(grades, groups=patients)
    learn, test = next(iter(split))
    print(f"trained further for {epochs} epochs, judged on {len(test)} joints", flush=True)
    said = {}
    for name, films in pictures.items():
        begun = time.process_time()
        X = pd.DataFrame({"joint": list(films)})
        encoder = af.ImageEncoder("joint", **{**FROZEN, "size": 128}, mode="full")
        model = af.JointFusionClassifier(
            {"joint": encoder}, target=af.targets.Grades(), max_epochs=epochs,
            early_stopping=False, test_time_views=5, random_state=0, verbose=0,
        )  # fmt: skip
        model.fit(X.iloc[learn], grades[learn], groups=patients[learn])
        asked = X.iloc[test]
        said[name] = model.predict_proba(asked)[:, model.classes_ >= 2].sum(axis=1)
        both = np.stack([grades[test], model.predict(asked)], axis=1)
        agreed = by_patient(both, patients[test], kappa)
        more = f"kappa {agreed}, {time.process_time() - begun:.0f} s"
        tell(name, grades[test] >= 2, said, patients[test], more)


def judge_patients(X: pd.DataFrame, y: np.ndarray, groups: np.ndarray, finder: Path) -> None:
    """Print the area of axSpA from labs, with films whole or by regions."""
    labs = af.TabularEncoder(LABS)
    frozen = {"column": "pelvis_xray", **FROZEN}
    regions = af.RegionEncoder(**frozen, region=finder, side_mm=SIDE_MM)
    ways = {
        "labs": {"labs": labs},
        "labs, regions": {"labs": labs, "film": regions},
        "labs, whole film": {"labs": labs, "film": af.ImageEncoder(**frozen)},
        "regions": {"film": regions},
        "whole film": {"film": af.ImageEncoder(**frozen)},
    }
    print(f"axSpA of {len(y)} patients", flush=True)
    said = {}
    for name, encoders in ways.items():
        model = af.EarlyFusionClassifier(encoders, random_state=0)
        result = af.cross_validate(
            model, X, y, groups=groups, duplicates="ignore", verbose=0, n_bootstrap=1
        )
        said[name] = result.predictions
        tell(name, y == 1, said, groups)
    for ours, other in (("labs, regions", "labs, whole film"), ("regions", "whole film")):
        test = delong_test(y, said[ours], said[other], groups=groups)
        print(f"  {ours} against {other}: {shown(test.difference)}")


def kappa(both: np.ndarray) -> float:
    return float(cohen_kappa_score(both[:, 0], both[:, 1], weights="quadratic"))


def tell(name: str, y: np.ndarray, said: dict, patients: np.ndarray, more: str = "") -> None:
    """Print an area, and how far it is from the first one's."""
    area = shown(delong_interval(y, said[name], groups=patients))
    first = next(iter(said))
    apart = ""
    if name != first:
        test = delong_test(y, said[name], said[first], groups=patients)
        apart = f"against the first {shown(test.difference)}"
    print(f"  {name:<18}{area}  {apart}  {more}", flush=True)


def shown(score: object) -> str:
    """Return an estimate and its interval."""
    return f"{score.estimate:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
