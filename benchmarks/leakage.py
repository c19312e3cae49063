"""How much a row-wise split of visits flatters, and how near different patients' images come.

Run: ``python benchmarks/leakage.py``, and ``python benchmarks/leakage.py --duplicates``.

Visits: 200 patients with 4 visits each and 5 measurements, of which a patient has his or her
own level; labels are dealt to patients at random, so nothing can be known of a new one. The
same forest is cross-validated by row, as scikit-learn's ``cross_val_predict`` does it, and with
``asfusion.cross_validate`` and its defaults. An AUC of 0.5 is the truth.

Duplicates: phantom films of different patients, each also compressed more, at 0.7 of its size,
and brighter. In how many bits do perceptual hashes differ between patients, and between copies?
``--table FILE.csv`` takes images from a table instead, with columns ``image`` (path beside the
file) and ``group`` (patient).
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import asfusion as af
from asfusion.duplicates._twins import ALIKE_IMAGES
from asfusion.imaging.fingerprint import N_BITS, perceptual_hash
from asfusion.imaging.read import read_image

LIMIT = round((1 - ALIKE_IMAGES) * N_BITS)


def visits(seed: int, n_patients: int = 200, n_visits: int = 4) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), n_visits)
    X = rng.normal(size=(n_patients, 5))[patient] + 0.3 * rng.normal(size=(len(patient), 5))
    return X, rng.permutation(np.arange(n_patients) % 2)[patient], patient


def leakage(n_seeds: int) -> None:
    by_row, by_patient, canaries = [], [], []
    start = time.perf_counter()
    for seed in range(n_seeds):
        X, y, patient = visits(seed)
        forest = RandomForestClassifier(100, random_state=seed)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        guess = cross_val_predict(forest, X, y, cv=folds, method="predict_proba")[:, 1]
        by_row.append(roc_auc_score(y, guess))
        options = {"n_bootstrap": 200, "verbose": 0, "random_state": seed}
        found = af.cross_validate(forest, X, y, groups=patient, canary=True, **options)
        by_patient.append(found.report.scores["auc"].estimate)
        canaries.append(found.canary.score.estimate)
    print(f"AUC on labels that mean nothing, {n_seeds} seeds, {time.perf_counter() - start:.0f} s")
    for name, scores in (
        ("rows split (scikit-learn)", by_row),
        ("patients split (default)", by_patient),
        ("canary of the default", canaries),
    ):
        print(f"{name:28} mean {np.mean(scores):.3f}, {min(scores):.3f} to {max(scores):.3f}")


def changed(pixels: np.ndarray) -> dict[str, np.ndarray]:
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.convert("L").save(stream, "JPEG", quality=60)
    smaller = image.resize((int(0.7 * image.width), int(0.7 * image.height)))
    brighter = np.clip(1.15 * pixels.astype(float) + 8, 0, 255).astype(np.uint8)
    return {
        "JPEG, quality 60": np.asarray(Image.open(stream)),
        "0.7 of the size": np.asarray(smaller),
        "brighter": brighter,
    }


def nearness(films: list[np.ndarray], patients: np.ndarray) -> None:
    start = time.perf_counter()
    hashes = np.stack([perceptual_hash(film) for film in films])
    apart = (hashes[:, None, :] != hashes[None]).sum(axis=2)
    others = apart[patients[:, None] != patients[None]]
    print(
        f"{len(films)} images of {len(np.unique(patients))} patients; of {N_BITS} bits "
        f"those of two patients differ in at least {others.min()} ({others.min() / N_BITS:.3f}), "
        f"median {np.median(others):.0f}; {LIMIT} may differ in a near duplicate"
    )
    copies = [changed(film) for film in films]
    for kind in copies[0]:
        bits = [
            (perceptual_hash(c[kind]) != own).sum() for c, own in zip(copies, hashes, strict=True)
        ]
        found = np.mean(np.asarray(bits) <= LIMIT)
        print(f"copy, {kind:18} found {found:.1%}, at most {max(bits)} bits differ")
    print(f"{time.perf_counter() - start:.0f} s")


def read_films(table: Path | None, n_phantoms: int) -> tuple[list[np.ndarray], np.ndarray]:
    if table is not None:
        rows = pd.read_csv(table)
        return [read_image(table.parent / name)[0] for name in rows["image"]], rows[
            "group"
        ].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n_phantoms, random_state=1, path=folder, modalities=["xray"]
        )
        films = [read_image(path)[0] for path in cohort.X["pelvis_xray"].dropna()]
    return films, np.arange(len(films))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--duplicates", action="store_true")
    parser.add_argument("--phantoms", type=int, default=150)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.duplicates:
        nearness(*read_films(options.table, options.phantoms))
    else:
        leakage(options.seeds)


if __name__ == "__main__":
    main()
