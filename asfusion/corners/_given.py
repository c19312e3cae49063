"""What a corner scorer is given: grades of corners, and films of both views.

Dimensions: N rows, 24 corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_row_labels, quoted
from asfusion._frames import Frame
from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.corners._network import N_GRADES
from asfusion.corners._sums import CORNERS
from asfusion.exceptions import ColumnError, InputError

Floats = NDArray[np.float64]

OF_VIEW: Mapping[str, tuple[str, ...]] = {"cervical": CERVICAL_CORNERS, "lumbar": LUMBAR_CORNERS}
PLACES: Mapping[str, slice] = {"cervical": slice(0, 12), "lumbar": slice(12, 24)}
_PREFIX = "corner_"  # as in the targets of a cohort


def read_grades(targets: Any, X: Any, n_rows: int) -> Floats:
    """Return the grades of corners (N, 24), NaN where there is none.

    Raises
    ------
    ColumnError
        If no column is a corner's.
    InputError
        If rows do not match, or a grade is none.
    """
    frame = Frame.read(targets)
    check_row_labels(X, targets=targets)
    if len(frame) != n_rows:
        raise InputError(f"targets: expected {n_rows} rows, as X has, got {len(frame)}.")
    named = {name.removeprefix(_PREFIX): name for name in frame.columns}
    known = [corner for corner in CORNERS if corner in named]
    if not known:
        msg = (
            f"targets: expected a column for each corner, such as {quoted(CORNERS[:3])} or "
            f"'{_PREFIX}{CORNERS[0]}', got none among {len(frame.columns)} column(s)."
        )
        raise ColumnError(msg)
    grades = np.full((n_rows, len(CORNERS)), np.nan)
    for corner in known:
        grades[:, CORNERS.index(corner)] = _checked(frame.numbers(named[corner]), corner)
    return grades


def _checked(numbers: Floats, corner: str) -> Floats:
    strange = np.isfinite(numbers) & ~np.isin(numbers, np.arange(N_GRADES))
    strange |= np.isinf(numbers)
    if strange.any():
        msg = (
            f"targets, corner {corner!r}: expected grades 0, 1, 2 or 3, or none, got others in "
            f"{int(strange.sum())} row(s), the first at position {np.flatnonzero(strange)[0]}."
        )
        raise InputError(msg)
    return numbers
