"""What of an image lies outside the field that was scanned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging.dicom.header import Header


def is_padding(stored: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    """Return which pixels lie outside the scanned field; None where the header names no padding.

    Parameters
    ----------
    stored : ndarray of shape (H, W)
        Stored values, before any rescale.
    header : Header
        What the file says.
    """
    value = header.number("PixelPaddingValue")
    if value is None:
        return None
    limit = header.number("PixelPaddingRangeLimit")
    ends = [_as_stored(end, stored.dtype) for end in (value, value if limit is None else limit)]
    outside: NDArray[np.bool_] = (stored >= min(ends)) & (stored <= max(ends))
    return outside


def _as_stored(value: float, dtype: np.dtype[Any]) -> float:
    """Return a value in the range of a type: some write it with the sign bit as a number."""
    if dtype.kind not in "iu":
        return value
    span, lowest = 2.0 ** (8 * dtype.itemsize), float(np.iinfo(dtype).min)
    return value if not value.is_integer() else (value - lowest) % span + lowest
