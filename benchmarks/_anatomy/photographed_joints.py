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
from pathlib import Path

import numpy as np
from _anatomy._other_photographs import photograph_with_places
from _anatomy._shares import by_patient, share
from _anatomy.joints import NEAR_MM, centres_of, cohort

import asfusion as af
from asfusion.imaging import read_image
from asfusion.imaging.photographs import apply_homography, corner_annotations, rectify
from asfusion.imaging.photographs.geometry import corners_of, homography_of
from asfusion.imaging.photographs.rectify import find_corners

SEVERITY = 3


def run(args: argparse.Namespace) -> None:
    """Print the share of joints that are found within 10 mm, by what learned and what was asked."""
    with tempfile.TemporaryDirectory() as folder:
        n = args.patients or 220
        films, boxes, _ = cohort(n, 0, Path(folder) / "a")
        others, true, spacing = cohort(n, 1, Path(folder) / "b")
        shots = [
            photograph_with_places(read_image(film), SEVERITY, row)
            for row, film in enumerate(others)
        ]
        middles = centres_of(others, true)
        photos = [photo for photo, _ in shots]
        flat, ways_back = flattened_by(corner_finder(films, args.epochs), photos)
        print(f"{len(films)} films to learn from, {len(others)} photographs of others")
        for augment in (True, "photograph"):
            finder = joint_finder(films, boxes, augment, args.epochs)
            on_flat = finder.find(flat).centres
            found = {
                "as photographed": finder.find(photos).centres,
                "rectified": np.stack(
                    [apply_homography(m, c) for m, c in zip(ways_back, on_flat, strict=True)]
                ),
            }
            for name, centres in found.items():
                tell(f"augment={augment!r}, {name}", centres, middles, shots, spacing)


def joint_finder(films, boxes, augment, epochs):
    """Return a finder of joints."""
    options = {} if epochs is None else {"epochs": epochs}
    finder = af.anatomy.RegionFinder(boxes, augment=augment, verbose=0, random_state=0, **options)
    return finder.fit(films)


def corner_finder(films, epochs):
    """Return a finder of the corners of films on photographs."""
    shown, corners = corner_annotations(films, copies=5, random_state=0)
    finder = af.anatomy.LandmarkFinder(
        corners, epochs=epochs or 12, mirrored=(), verbose=0, random_state=0
    )
    return finder.fit(shown, groups=np.repeat(np.arange(len(films)), 6))


def flattened_by(finder, photos: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return films as rectangles, and the homographies from these to photographs."""
    flat, ways_back = [], []
    for photo, corners in zip(photos, find_corners(photos, finder), strict=True):
        film = photo if corners is None else rectify(photo, corners, channels=3)
        flat.append(film)
        around = corners_of(*film.shape[1:])
        ways_back.append(homography_of(around, around if corners is None else corners))
    return flat, ways_back


def tell(name: str, found, middles, shots, spacing) -> None:
    """Print how near places on photographs are to the middles of joints."""
    rows = zip(found, middles, shots, spacing, strict=True)
    apart = np.stack([_apart(c, middle, shot[1]) * mm for c, middle, shot, mm in rows])
    near = np.where(np.isnan(apart), np.nan, apart <= NEAR_MM)
    told = by_patient(near, np.arange(len(near)), share)
    print(f"{name:<44}{told}, median {np.nanmedian(apart):.1f} mm", flush=True)


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
