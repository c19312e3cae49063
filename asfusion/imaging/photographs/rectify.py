"""From a photograph back to the film: its quadrilateral as a rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion._door import public
from asfusion.exceptions import ImageReadError, InputError, ShapeError
from asfusion.imaging._in_memory import Content
from asfusion.imaging._resize import resize
from asfusion.imaging.original import read_original
from asfusion.imaging.photographs._snap import snapped
from asfusion.imaging.photographs.geometry import Floats, corners_of, homography_of, warp

CORNERS = ("top_left", "top_right", "bottom_right", "bottom_left")
_TO_FIND, _MARGIN = 400, 0.15  # longer side in pixels; the margin as a share of it
_FILLS = 0.045  # of the margin's outer side: how near to its corners a film fills its picture
_MOST = 2  # times the photograph's longer side: corners may be anywhere, a film may not


class CornerFinder(Protocol):
    """What finds the four corners of films, such as a fitted `asfusion.anatomy.LandmarkFinder`."""

    def find(self, films: Sequence[Any]) -> Any:
        """Return ``names``, and ``points`` (N, P, 2) in pixels of each picture."""
        ...


@public
def rectify(
    picture: str | Content, finder: CornerFinder | NDArray[Any], *, channels: int = 1
) -> NDArray[np.uint8]:
    """Return the film on a photograph as a rectangle.

    Parameters
    ----------
    picture : str, bytes, ndarray or PIL.Image.Image
        The photograph: what `asfusion.ImageEncoder` takes as a cell.
    finder : CornerFinder or array of shape (4, 2)
        What finds the corners ``"top_left"``, ``"top_right"``, ``"bottom_right"`` and
        ``"bottom_left"``, learned from `asfusion.imaging.photographs.corner_annotations`; or
        where they are, in this order, as (x, y) in pixels.
    channels : {1, 3}
        1 for grey, 3 for RGB.

    Returns
    -------
    ndarray of shape (channels, H, W), uint8
        The film, each side as long as the mean of its two edges on the photograph. The picture
        as it is, where the finder sees no film, or one that fills the picture.

    Raises
    ------
    ImageReadError
        If the photograph cannot be read.
    ShapeError
        If corners are not of shape (4, 2).
    InputError
        If the finder finds other points, or corners that are given are those of no
        quadrilateral.

    Notes
    -----
    A finder looks at few pixels: its corners are moved to where straight edges are seen, by up to
    6 % of the film's side. Eight equations give the homography. What it does to proportions
    cannot be known from four corners alone, unless the film's own are known: those of the result
    are estimates.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging.photographs import apply_homography, degrade, rectify
    >>> film = np.zeros((96, 80), dtype=np.uint8)
    >>> film[30:50, 20:40] = 200
    >>> photograph, homography = degrade(film, severity=1, seed=0)
    >>> corners = apply_homography(homography, [[0, 0], [80, 0], [80, 96], [0, 96]])
    >>> rectify(photograph, corners).shape
    (1, 161, 134)
    """
    pixels = read_original(picture, channels).pixels
    if hasattr(finder, "find"):
        found = find_corners([picture], finder)[0]
        return pixels if found is None else flattened(pixels, found)
    corners = np.asarray(finder, np.float64)
    if corners.shape != (4, 2):
        msg = (
            "rectify: expected a finder with a method `find`, or four corners of shape (4, 2), got "
            f"{corners.shape}."
        )
        raise ShapeError(msg)
    if not is_quadrilateral(corners):
        msg = (
            "rectify: expected the corners of a film, left and right above, then right and left "
            "below, got points that go round no area in this order."
        )
        raise InputError(msg)
    return flattened(pixels, corners)


def find_corners(films: Sequence[Any], finder: Any) -> list[Floats | None]:
    """Return the corners (4, 2) of the film on each photograph.

    None where no film is seen, and where it fills its picture: such a film stays as it is.
    """
    shown = [_framed_or_none(film) for film in films]
    found = finder.find([None if frame is None else frame.pixels for frame in shown])
    names = [str(name) for name in found.names]
    if sorted(names) != sorted(CORNERS) or not hasattr(found, "points"):
        msg = (
            f"finder: expected one that finds the points {', '.join(CORNERS)}, got {len(names)} "
            "other point(s) or region(s). Fit it on asfusion.imaging.photographs."
            "corner_annotations."
        )
        raise InputError(msg)
    order = [names.index(name) for name in CORNERS]
    points = np.asarray(found.points, np.float64)[:, order]
    return [
        _on_edges(frame, own) if frame is not None and is_quadrilateral(own) else None
        for frame, own in zip(shown, points, strict=True)
    ]


def _on_edges(frame: Framed, found: Floats) -> Floats | None:
    """Return corners of the photograph: a finder's, moved to edges that are nearby."""
    moved = snapped(frame.pixels, found)
    corners = moved if is_quadrilateral(moved) else found
    whole = corners_of(*(n - 2 * frame.margin for n in frame.pixels.shape)) + frame.margin
    apart = np.abs(corners - whole).max()
    return None if apart < _FILLS * max(frame.pixels.shape) else frame.out_of(corners)


class Framed(NamedTuple):
    """A photograph as finders are shown it: small, grey, and with a margin of grey around.

    So the corners of a film that fills its picture, or is a little too large for it, are inside,
    too.
    """

    pixels: NDArray[np.uint8]
    scale: Floats  # across and down
    margin: int

    def into(self, corners: Floats) -> Floats:
        """Return places of the photograph as places here."""
        return np.asarray(corners * self.scale + self.margin)

    def out_of(self, corners: Floats) -> Floats:
        """Return places here as places of the photograph."""
        return np.asarray((corners - self.margin) / self.scale)


def framed(pixels: NDArray[np.uint8]) -> Framed:
    """Return a photograph (1, H, W) in its margin."""
    height, width = pixels.shape[1:]
    share = min(1.0, _TO_FIND / max(height, width))
    tall, wide = max(1, round(share * height)), max(1, round(share * width))
    small = np.rint(resize(pixels[0], tall, wide)).astype(np.uint8)
    margin = round(_MARGIN * max(tall, wide))
    scale = np.array([wide / width, tall / height])
    return Framed(np.pad(small, margin, constant_values=128), scale, margin)


def _framed_or_none(film: Any) -> Framed | None:
    try:
        return None if film is None else framed(read_original(film).pixels)
    except ImageReadError:
        return None


def is_quadrilateral(corners: Floats) -> bool:
    """Return whether corners go round one convex area, clockwise as seen."""
    if not np.isfinite(corners).all():
        return False
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool((turns > 1e-6).all())


def flattened(pixels: NDArray[np.uint8], corners: Floats) -> NDArray[np.uint8]:
    """Return what lies between corners (4, 2) of a picture (C, H, W), as a rectangle."""
    top, right, bottom, left = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    most = _MOST * max(pixels.shape[1:])
    width, height = (
        min(most, max(8, round((a + b) / 2.0))) for a, b in ((top, bottom), (left, right))
    )
    return warp(pixels, homography_of(corners, corners_of(height, width)), height, width)
