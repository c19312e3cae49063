"""Sacroiliac joints of synthetic patients, found on photographs of severity 3.

Finders learn from the films of one cohort, one of them from photographs by
`asfusion.imaging.photographs.degrade`, too. They are judged on photographs of another seed's films,
by `_other_photographs`, which shares no code and no ranges with it: how far on the film, in mm, the
place that was found is from the middle of the joint. A joint that is not on the photograph is not
counted; one that is lost counts as not found.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _anatomy._other_photographs import photograph_with_places
from _anatomy._shares import by_patient, share
from _anatomy.joints import NEAR_MM, centres_of, cohort

import asfusion as af
from asfusion.imaging import read_image

SEVERITY = 3


def run(args: argparse.Namespace) -> None:
    """Print the share of joints that are found within 10 mm, without and with photographs."""
    with tempfile.TemporaryDirectory() as folder:
        n = args.patients or 220
        films, boxes, _ = cohort(n, 0, Path(folder) / "a")
        others, true, spacing = cohort(n, 1, Path(folder) / "b")
        shots = [
            photograph_with_places(read_image(film), SEVERITY, row)
            for row, film in enumerate(others)
        ]
        middles = centres_of(others, true)
        print(f"{len(films)} films to learn from, {len(others)} photographs of others")
        options = {} if args.epochs is None else {"epochs": args.epochs}
        for augment in (True, "photograph"):
            begun = time.process_time()
            finder = af.anatomy.RegionFinder(
                boxes, augment=augment, verbose=0, random_state=0, **options
            ).fit(films)
            found = finder.find([photo for photo, _ in shots]).centres
            apart = np.stack(
                [
                    _apart(centres, middle, places) * mm
                    for centres, middle, (_, places), mm in zip(
                        found, middles, shots, spacing, strict=True
                    )
                ]
            )
            near = np.where(np.isnan(apart), np.nan, apart <= NEAR_MM)
            told = by_patient(near, np.arange(len(near)), share)
            print(
                f"augment={augment!r}: within {NEAR_MM:g} mm {told}, median "
                f"{np.nanmedian(apart):.1f} mm, {time.process_time() - begun:.0f} s",
                flush=True,
            )


def _apart(found: np.ndarray, true: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how far on the film (pixels) centres are from the middles of joints (2, 2)."""
    apart = np.full(len(true), np.nan)
    for number, (centre, middle) in enumerate(zip(found, true, strict=True)):
        nearest = np.hypot(*(places - middle[:, None, None])).min()
        if not np.isfinite(middle).all() or nearest > 3.0:  # not on the photograph
            continue
        apart[number] = np.inf
        if np.isfinite(centre).all():
            column, row = (
                int(np.clip(c, 0, n - 1)) for c, n in zip(centre, places.shape[:0:-1], strict=True)
            )
            apart[number] = np.hypot(*(places[:, row, column] - middle))
    return apart
