"""Lungs on real chest films: boxes around masks that a U-Net draws, and boxes from heat maps.

Radiologists drew boxes, no outlines: a mask is a box that is filled, so that what is asked is
whether a mask leads to the same box. Finders learn from the first half of the patients (seed 0,
as in `lungs`), where the passes and the rate of learning were chosen, and are judged on the
second half. With outlines masks would learn more than here.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from _anatomy._shares import by_patient
from _anatomy.lungs import CHOSEN, EDGES, SIDES, calibration, half_of, long_table, overlap

import asfusion as af
from asfusion.imaging.original import read_original

EPOCHS = {"masks": 60, "heat": CHOSEN["epochs"]}


def run(args: argparse.Namespace) -> None:
    table = pd.read_csv(args.data / "lungs" / "boxes.csv")
    groups = pd.read_csv(args.data / "cxr" / "cohort.csv").set_index("image")["group"]
    patients = groups.loc[table["image"]].to_numpy()
    films = [str(args.data / "cxr" / image) for image in table["image"]]
    true = np.stack([table[[f"{s}_{e}" for e in EDGES]].to_numpy() for s in SIDES], axis=1)
    annotations = with_masks(films, true)
    first = half_of(patients, 0)
    learn, judged = ([f for f, i in zip(films, own, strict=True) if i] for own in (first, ~first))
    for method, epochs in EPOCHS.items():
        begun = time.process_time()
        finder = af.anatomy.RegionFinder(
            annotations, method=method, size=CHOSEN["size"], epochs=args.epochs or epochs,
            verbose=0, random_state=0,
        )  # fmt: skip
        found = finder.fit(learn, groups=patients[first]).find(judged)
        shared = overlap(found.boxes, true[~first])
        told = by_patient(shared, patients[~first]), by_patient(shared > 0.7, patients[~first])
        print(f"{method}: {len(learn)} films to learn from, {len(judged)} judged, "
              f"{time.process_time() - begun:.0f} s of processor time")  # fmt: skip
        print(f"  mean overlap {told[0]}   above .7: {told[1]}", flush=True)
        calibration(found.confidence, shared > 0.5)
        if args.plot:
            order = np.argsort(shared.mean(axis=1))
            chosen = order[np.linspace(0, len(order) - 1, 8).astype(int)]
            found.plot(chosen).savefig(args.plot.with_stem(f"{args.plot.stem}-{method}"), dpi=110)


def with_masks(films: list[str], true: np.ndarray) -> pd.DataFrame:
    """Return annotations with a mask of its own for each lung: boxes may overlap."""
    table = long_table(films, true)
    shapes = {film: read_original(film).pixels.shape[1:] for film in films}
    masks = []
    for row in table.itertuples():
        mask = np.zeros(shapes[row.film], np.uint8)
        x0, y0, x1, y1 = (max(0, round(edge)) for edge in (row.x0, row.y0, row.x1, row.y1))
        mask[y0:y1, x0:x1] = 1
        masks.append(mask)
    return table.assign(mask=masks, code=1)
