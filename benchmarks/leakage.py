"""How much a row-wise split of visits flatters, and how near different patients' images come.

Run: ``python benchmarks/leakage.py``, and ``python benchmarks/leakage.py --duplicates``.

Visits: 200 patients with 4 visits each and 5 measurements, of which a patient has his or her
own level; labels are dealt to patients at random, so nothing can be known of a new one. The
same forest is cross-validated by row, as scikit-learn's ``cross_val_predict`` does it, and with
``asfusion.cross_validate`` and its defaults. An AUC of 0.5 is the truth.

Duplicates: phantom films of different patients. In how many bits do their perceptual hashes
differ? Then each film is copied under another patient, changed in one of many ways, and
``asfusion.find_duplicates`` looks at all films and copies together: how many copies meet their
patient, and how many links join patients that have nothing in common?
``--table FILE.csv`` takes images from a table instead, with columns ``image`` (path beside the
file) and ``group`` (patient); patients who share a film already count as one. ``--boxes FILE.csv``
also cuts each film to the two boxes that the table has for it, which is deeper than is looked for.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import asfusion as af
from asfusion.clinical.coherence import wilson_ci
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


def compressed(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.convert("L").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def cut(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Cut a share off the height and off the width, split at random between both ends."""
    width, height = image.size
    left, top = (round(share * side * rng.random()) for side in image.size)
    return image.crop(
        (left, top, left + round((1 - share) * width), top + round((1 - share) * height))
    )


def levels(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.clip(255 * change(pixels / 255.0), 0, 255).round().astype(np.uint8)


def turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def changed(pixels: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return copies of a film by what was done to it."""
    image = Image.fromarray(pixels)
    sides = image.size
    return {
        "as it is": pixels.copy(),
        "JPEG, quality 60": compressed(image, 60),
        "JPEG, quality 30": compressed(image, 30),
        "0.7 of the size": image.resize((int(0.7 * sides[0]), int(0.7 * sides[1]))),
        "0.4 of the size": image.resize((int(0.4 * sides[0]), int(0.4 * sides[1]))),
        "brighter": levels(pixels, lambda grey: 1.15 * grey + 0.03),
        "darker, gamma 1.5": levels(pixels, lambda grey: grey**1.5),
        "cut by a tenth": cut(image, 1 / 10, rng),
        "cut by a tenth, resized, JPEG 60": compressed(cut(image, 1 / 10, rng).resize(sides), 60),
        "cut by a seventh": cut(image, 1 / 7, rng),
        "cut by a fifth": cut(image, 1 / 5, rng),
        "turned by 2 degrees": turned(image, 2.0),
        "turned by 5 degrees": turned(image, 5.0),
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }


def nearness(films: list[np.ndarray], patients: np.ndarray) -> None:
    hashes = np.stack([perceptual_hash(film) for film in films])
    apart = (hashes[:, None, :] != hashes[None]).sum(axis=2)
    others = apart[patients[:, None] != patients[None]]
    print(
        f"{len(films)} images of {len(np.unique(patients))} patients; of {N_BITS} bits "
        f"those of two patients differ in at least {others.min()} ({others.min() / N_BITS:.3f}), "
        f"median {np.median(others):.0f}; {LIMIT} may differ in a near duplicate"
    )


def found_among(films: list[Any], patients: np.ndarray) -> Any:
    table = pd.DataFrame({"film": pd.Series(films, dtype=object)})
    return af.find_duplicates(table, patients, verbose=0)


def share(k: int, n: int) -> str:
    low, high = wilson_ci(k, n)
    return f"{k} of {n} ({100 * k / n:.1f} %, {100 * low:.1f} to {100 * high:.1f})"


def unrelated(people: np.ndarray) -> int:
    """Return how many pairs of rows are of two people."""
    _, counts = np.unique(people, return_counts=True)
    return int(len(people) ** 2 - (counts**2).sum()) // 2


def copies_found(
    films: list[np.ndarray], patients: np.ndarray, boxes: list[tuple[int, ...] | None]
) -> None:
    """Print what `find_duplicates` finds of the copies, with 95 % intervals of Wilson.

    Pairs have films in common, so that the interval of false links is a rough one.
    """
    before = found_among(films, patients)
    people = before.joined_groups
    print(
        f"{len(before.links)} link(s) among {unrelated(patients)} pairs of films of two patients; "
        "who is linked counts as one below"
    )
    rng = np.random.default_rng(0)
    copies = [changed(film, rng) for film in films]
    for of_film, film, box in zip(copies, films, boxes, strict=True):
        if box is not None:
            of_film["cut to the lungs"] = Image.fromarray(film).crop(box)
    n_false = n_pairs = 0
    for kind in dict.fromkeys(kind for of_film in copies for kind in of_film):
        start = time.perf_counter()
        rows = [i for i, of_film in enumerate(copies) if kind in of_film]
        # Each copy is a patient of its own, numbered after all others.
        numbers = people.max() + 1 + np.arange(len(rows))
        truth = np.concatenate([people, people[rows]])
        found = found_among(
            [*films, *(copies[i][kind] for i in rows)], np.concatenate([people, numbers])
        )
        joined = found.joined_groups
        meets = joined[len(films) :] == joined[rows]
        wrong = sum(truth[link.first] != truth[link.second] for link in found.links)
        # Pairs of a copy and anything else; those of two films are the same every time.
        pairs = unrelated(truth) - unrelated(people)
        n_false, n_pairs = n_false + wrong, n_pairs + pairs
        print(
            f"copy, {kind:33} found {share(int(meets.sum()), len(rows))}; false links {wrong}"
            f" among {pairs} pairs; {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    low, high = (1e6 * limit for limit in wilson_ci(n_false, n_pairs))
    print(f"false links in all: {n_false} of {n_pairs} pairs, {low:.1f} to {high:.1f} in a million")


def read_boxes(table: Path, names: list[str]) -> list[tuple[int, ...] | None]:
    """Return the box around both lungs (left, top, right, bottom) of each film that has two."""
    sides = (
        ("right_x0", "left_x0"),
        ("right_y0", "left_y0"),
        ("right_x1", "left_x1"),
        ("right_y1", "left_y1"),
    )
    known = pd.read_csv(table).dropna().set_index("image")
    ends = [known[list(pair)] for pair in sides]
    around = pd.concat(
        [*(e.min(axis=1) for e in ends[:2]), *(e.max(axis=1) for e in ends[2:])], axis=1
    )
    return [tuple(around.loc[n].round().astype(int)) if n in known.index else None for n in names]


def read_films(
    table: Path | None, boxes: Path | None, n_phantoms: int
) -> tuple[list[np.ndarray], np.ndarray, list[tuple[int, ...] | None]]:
    if table is not None:
        rows = pd.read_csv(table)
        films = [read_image(table.parent / name)[0] for name in rows["image"]]
        around = [None] * len(rows) if boxes is None else read_boxes(boxes, rows["image"].tolist())
        return films, rows["group"].to_numpy(), around
    with tempfile.TemporaryDirectory() as folder:
        cohort = af.datasets.make_axspa_cohort(
            n_phantoms, random_state=1, path=folder, modalities=["xray"]
        )
        films = [read_image(path)[0] for path in cohort.X["pelvis_xray"].dropna()]
    return films, np.arange(len(films)), [None] * len(films)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--duplicates", action="store_true")
    parser.add_argument("--phantoms", type=int, default=150)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--boxes", type=Path)
    options = parser.parse_args()
    if options.duplicates:
        films, patients, boxes = read_films(options.table, options.boxes, options.phantoms)
        nearness(films, patients)
        copies_found(films, patients, boxes)
    else:
        leakage(options.seeds)


if __name__ == "__main__":
    main()
