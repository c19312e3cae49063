"""Planes seen at an angle: homographies, and pictures warped by them.

Places are (x, y) in pixels from the left upper corner of a picture: the centre of its first
pixel lies at (0.5, 0.5), and a film of H by W pixels reaches from (0, 0) to (W, H).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._door import public
from asfusion.exceptions import ShapeError

Floats = NDArray[np.float64]


@public
def apply_homography(homography: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Return where points of one plane are seen in another.

    Parameters
    ----------
    homography : array of shape (3, 3)
        From places (x, y, 1) to places of the other plane, up to a factor.
    points : array of shape (..., 2)
        Places (x, y) in pixels.

    Returns
    -------
    ndarray of shape (..., 2)
        Places in pixels of the other plane.

    Raises
    ------
    ShapeError
        If the shapes are others.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging.photographs import apply_homography
    >>> apply_homography(np.diag([2.0, 2.0, 1.0]), [[3.0, 5.0]])
    array([[ 6., 10.]])
    """
    matrix, places = np.asarray(homography, np.float64), np.asarray(points, np.float64)
    if matrix.shape != (3, 3) or places.shape[-1:] != (2,):
        msg = (
            "apply_homography: expected a matrix of shape (3, 3) and points of shape (..., 2), "
            f"got {matrix.shape} and {places.shape}."
        )
        raise ShapeError(msg)
    seen = places @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(seen[..., :2] / seen[..., 2:])


def corners_of(height: float, width: float) -> Floats:
    """Return the corners of a picture: left and right above, right and left below."""
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])


def homography_of(source: Floats, target: Floats) -> Floats:
    """Return the homography that brings four points (4, 2) to four others.

    Eight equations with eight unknowns; the last entry is 1.

    Raises
    ------
    numpy.linalg.LinAlgError
        If three of the points lie on a line.
    """
    equations, values = np.zeros((8, 8)), np.asarray(target, np.float64).reshape(8)
    x, y = np.asarray(source, np.float64).T
    one, none = np.ones(4), np.zeros((4, 3))
    u, v = values[::2], values[1::2]
    equations[::2] = np.column_stack([x, y, one, none, -u * x, -u * y])
    equations[1::2] = np.column_stack([none, x, y, one, -v * x, -v * y])
    return np.append(np.linalg.solve(equations, values), 1.0).reshape(3, 3)


def warp(
    pixels: NDArray[np.uint8], homography: Floats, height: int, width: int
) -> NDArray[np.uint8]:
    """Return a picture (C, H, W) as it is seen in another plane; black where it ends.

    Straight lines between pixels: shrink before, where the other plane has fewer of them.
    """
    from PIL import Image

    back = np.linalg.inv(homography)
    given = tuple((back / back[2, 2]).ravel()[:8].tolist())
    planes = [
        Image.fromarray(plane).transform(
            (width, height), Image.Transform.PERSPECTIVE, given, Image.Resampling.BILINEAR
        )
        for plane in np.ascontiguousarray(pixels)
    ]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def seen_from(homography: Floats, height: int, width: int) -> tuple[Floats, Floats]:
    """Return x and y (height, width) in the first plane of each pixel of the second."""
    back = np.linalg.inv(homography)
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
    return (
        (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth,
        (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth,
    )
