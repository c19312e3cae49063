"""What a corner scorer says of films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.corners._scores_page import ScoresPage
from asfusion.corners._sums import CORNERS
from asfusion.exceptions import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CornerScores(ScoresPage):
    """Grades of the 24 corners of each row, and the mSASSS that they add up to.

    Parameters
    ----------
    probabilities : ndarray of shape (N, 24, 4)
        Of grades 0 to 3; NaN for a corner that cannot be read.
    grades : ndarray of shape (N, 24)
        The middle grade by these, NaN for a corner that cannot be read. Corners stand in the
        order of `asfusion.clinical.CERVICAL_CORNERS` and `LUMBAR_CORNERS`.
    points : ndarray of shape (N, 24, 2)
        Column and row of each corner (pixels of its film), NaN where it was not found.
    confidence : ndarray of shape (N, 24)
        How sure the place is, from 0 to 1; 1 for places that were given, NaN where absent.
    status : ndarray of shape (N, 24), str
        ``"found"``, ``"unsure"`` (graded, and to be looked at), ``"lost"`` or ``"absent"`` (no
        film, or one that cannot be read).
    total, cervical, lumbar : ndarray of shape (N,)
        The mSASSS and its segments; NaN where too many corners cannot be read.
    expected : ndarray of shape (N,)
        The mean of the total by the probabilities.
    lower, upper : ndarray of shape (N,)
        Ends of the interval of the total.
    coverage : float
        Share of patients whose total is to be in their interval.
    is_calibrated : bool
        Whether intervals were calibrated on patients that nothing was learned from.
    films : dict of str to list
        The films of each view, for `plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.corners import CornerScores
    >>> told, places = np.tile([0.1, 0.2, 0.6, 0.1], (1, 24, 1)), np.full((1, 24, 2), 9.0)
    >>> sure, status, sum_ = np.ones((1, 24)), np.full((1, 24), "found"), np.array([48.0])
    >>> sums = sum_, sum_ / 2, sum_ / 2, sum_ - 7, sum_ - 12, sum_ + 1
    >>> scores = CornerScores(told, 2 * sure, places, sure, status, *sums, 0.9, True, {})
    >>> scores.sums()[["msasss", "lower", "upper"]].to_numpy().tolist()
    [[48.0, 36.0, 49.0]]
    """

    probabilities: Floats
    grades: Floats
    points: Floats
    confidence: Floats
    status: NDArray[np.str_]
    total: Floats
    cervical: Floats
    lumbar: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    coverage: float
    is_calibrated: bool
    films: Mapping[str, list[Any]]

    @property
    def n_unreadable(self) -> NDArray[np.int64]:
        """Number of corners of each row (N,) that cannot be read."""
        return np.asarray(np.isnan(self.grades).sum(axis=1), dtype=np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each row and corner.

        Returns
        -------
        DataFrame
            ``row``, ``corner``, ``x`` and ``y`` (pixels), ``status``, ``confidence``, ``grade``,
            and the probabilities ``p0`` to ``p3``.
        """
        import pandas as pd

        n_rows, n_corners = self.grades.shape
        flat = {
            "row": np.repeat(np.arange(n_rows), n_corners),
            "corner": np.tile(CORNERS, n_rows),
            "x": self.points[..., 0].ravel(),
            "y": self.points[..., 1].ravel(),
            "status": self.status.ravel(),
            "confidence": self.confidence.ravel(),
            "grade": self.grades.ravel(),
        }
        told = {f"p{g}": self.probabilities[..., g].ravel() for g in range(4)}
        return pd.DataFrame(flat | told)

    def sums(self) -> pd.DataFrame:
        """Return a row for each row, in their order.

        Returns
        -------
        DataFrame
            ``msasss``, ``cervical``, ``lumbar``, ``expected``, ``lower``, ``upper``,
            ``n_unreadable`` and ``n_unsure`` (corners).
        """
        import pandas as pd

        columns = {
            "msasss": self.total,
            "cervical": self.cervical,
            "lumbar": self.lumbar,
            "expected": self.expected,
            "lower": self.lower,
            "upper": self.upper,
            "n_unreadable": self.n_unreadable,
            "n_unsure": (self.status == "unsure").sum(axis=1),
        }
        return pd.DataFrame(columns)

    def plot(self, row: int = 0) -> Figure:
        """Draw the films of one row with the corners and their grades.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        matplotlib Figure
            A film beside the other; an empty ring is a sound corner, a number a grade of 1 to 3,
            a question mark one that nobody is sure to have found, a cross one that was found and
            cannot be read.

        Raises
        ------
        ConfigurationError
            If there is no such row, or it has no film.
        ImageReadError
            If a film cannot be read any more.
        """
        check_integer(row, "row", minimum=0)
        if row >= len(self.grades):
            msg = f"row: expected one of the {len(self.grades)} row(s), got {row}."
            raise ConfigurationError(msg)
        return self._drawn(row)
