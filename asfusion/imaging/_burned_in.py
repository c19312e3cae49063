"""Letters in pixels: lines of small, sharp marks of nearly one height, as burned-in text is.

A suspicion, not a proof. Single markers such as L or R are no line and raise none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._resize import resize

LETTERS = 4  # marks in a row that count as text
_LONGEST = 1280  # pixels; larger images are looked at in this size
_CONTRAST = 40  # of 255: marks stand out of their surroundings by this much
_FAINT = 25  # of 255: the same for marks of the brightest grey there is
_SHARE = 0.6  # marks are at least this much as bright as the brightest one
_MOST_MARKS = 4000  # more are noise


def letters_in_a_row(image: NDArray[np.uint8]) -> int:
    """Return the number of marks in the longest thing that looks like a line of text.

    Parameters
    ----------
    image : ndarray of shape (H, W), uint8
        Grey levels, at full size: letters of less than about six rows are not seen.

    Returns
    -------
    int
        `LETTERS` or more is a suspicion of text, bright or dark.
    """
    longest = max(image.shape)
    if longest > _LONGEST:
        height, width = (max(1, round(side * _LONGEST / longest)) for side in image.shape)
        image = np.rint(resize(image, height, width)).astype(np.uint8)
    return max(_longest_line(image), _longest_line(np.uint8(255) - image))


def _longest_line(image: NDArray[np.uint8]) -> int:
    """Return the number of bright marks in the longest line."""
    from scipy import ndimage

    stroke = max(3, round(max(image.shape) * 0.012)) | 1
    raised = image.astype(np.int16) - ndimage.grey_opening(image, size=(stroke, stroke))
    top = int(raised.max())
    if top < _FAINT:
        return 0
    # Marks that stand out most; and marks as bright as nothing else, on whatever ground.
    masks = [raised >= max(_CONTRAST, _SHARE * top)]
    masks.append((image >= 0.97 * float(image.max())) & (raised >= _FAINT))
    return max(_longest_chain(mask) for mask in masks)


def _longest_chain(mask: NDArray[np.bool_]) -> int:
    """Return the number of marks in the longest line of a mask."""
    from scipy import ndimage

    labels, n_marks = ndimage.label(mask)
    if not LETTERS <= n_marks <= _MOST_MARKS:
        return 0
    return _chain(_letterlike(labels, ndimage.find_objects(labels), mask.shape))


def _letterlike(labels: NDArray[Any], boxes: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return top, bottom, left and right of the marks that are shaped as letters are."""
    found = []
    for number, (rows, columns) in enumerate(boxes, start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not 5 <= height <= 0.08 * shape[0] or not 0.08 <= width / height <= 2.0:
            continue
        fill = float((labels[rows, columns] == number).mean())
        if fill >= 0.15 and (fill <= 0.85 or width / height < 0.5):
            found.append((rows.start, rows.stop, columns.start, columns.stop))
    return np.asarray(found, dtype=np.int64).reshape(-1, 4)


def _chain(boxes: NDArray[Any]) -> int:
    """Return how many boxes the longest row of neighbours of nearly one height has."""
    if len(boxes) < LETTERS:
        return len(boxes)
    boxes = boxes[np.argsort(boxes[:, 2])]
    top, bottom, left, right = boxes.T
    heights = bottom - top
    length = np.ones(len(boxes), dtype=np.int64)
    for i in range(1, len(boxes)):
        near = np.flatnonzero(
            (left[i] - right[:i] < 1.3 * heights[i])
            & (left[i] - left[:i] > 0)
            & (left[i] - right[:i] > -0.3 * heights[i])
            & (np.abs(bottom[:i] - bottom[i]) <= 0.2 * heights[i] + 1)
            & (np.abs(heights[:i] - heights[i]) <= 0.35 * heights[i] + 1)
        )
        if near.size:
            length[i] += length[near].max()
    return int(length.max())
