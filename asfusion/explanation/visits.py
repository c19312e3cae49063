"""What each visit of a patient, and each value in it, adds to a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ShapeError
from asfusion.explanation.views.visits import VisitView

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class VisitAttribution(VisitView):
    """What the visits of N rows add to a model's output: V visits in all, of K values.

    The value of a visit is what the output gains, on average, by its having happened; the
    values of a row's visits add up to that of the modality, and those within a visit to its own.

    Parameters
    ----------
    rows : ndarray of shape (V,), int
        Position of the row that each visit belongs to, rising.
    days : ndarray of shape (V,)
        Days from the index date, at most 0.
    values : ndarray of shape (V,)
        What each visit adds, in units of the output.
    cells : ndarray of shape (V, K)
        What each value of a visit adds; 0 where it was not measured.
    data : ndarray of shape (V, K)
        What was measured; NaN where nothing was.
    variables : sequence of str
        Names of the K values.
    n_rows : int
        N; rows without the modality have no visits.
    output_name : str
        What was explained.
    units : mapping of str to str, optional
        Unit of a value, such as ``{"crp": "mg/L"}``.
    errors : ndarray of shape (V,), optional
        Standard errors of `values`, zeros where they are exact.

    Raises
    ------
    ShapeError
        If the arrays do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> found = VisitAttribution(
    ...     rows=np.array([0, 0]), days=np.array([-90.0, 0.0]), values=np.array([0.1, 0.3]),
    ...     cells=np.array([[0.1, 0.0], [0.4, -0.1]]), data=np.array([[9.0, np.nan], [41.0, 12.0]]),
    ...     variables=["crp", "esr"], n_rows=1,
    ... )
    >>> found
    VisitAttribution(2 visits of 1 rows, crp, esr)
    >>> found.totals.round(2).tolist()
    [0.4]
    >>> print(found.to_frame()[["row", "day", "variable", "value", "attribution"]].to_string())
       row   day variable  value  attribution
    0    0 -90.0      crp    9.0          0.1
    1    0   0.0      crp   41.0          0.4
    2    0   0.0      esr   12.0         -0.1
    """

    rows: NDArray[np.int64]
    days: Floats
    values: Floats
    cells: Floats
    data: Floats
    variables: Sequence[str]
    n_rows: int
    output_name: str = "output"
    units: Mapping[str, str] = field(default_factory=dict)
    errors: Floats | None = None

    def __post_init__(self) -> None:
        """Check that arrays fit together."""
        n_visits, shape = len(self.rows), (len(self.rows), len(self.variables))
        expected = {"days": (n_visits,), "values": (n_visits,), "cells": shape, "data": shape}
        if self.errors is not None:
            expected["errors"] = (n_visits,)
        for name, wanted in expected.items():
            if np.shape(getattr(self, name)) != wanted:
                msg = (
                    f"{name}: expected shape {wanted} for {n_visits} visits of "
                    f"{len(self.variables)} values, got {np.shape(getattr(self, name))}."
                )
                raise ShapeError(msg)

    def to_frame(self) -> pd.DataFrame:
        """Return one line for each value that was measured.

        Returns
        -------
        DataFrame
            ``row``, ``day``, ``variable``, ``value`` (as measured), ``unit`` and
            ``attribution`` in units of the output.
        """
        import pandas as pd

        visit, variable = np.nonzero(~np.isnan(self.data))
        names = [self.variables[k] for k in variable.tolist()]
        return pd.DataFrame(
            {
                "row": self.rows[visit],
                "day": self.days[visit],
                "variable": names,
                "value": self.data[visit, variable],
                "unit": [self.units.get(name) for name in names],
                "attribution": self.cells[visit, variable],
            }
        )

    def by_visit(self) -> pd.DataFrame:
        """Return one line for each visit.

        Returns
        -------
        DataFrame
            ``row``, ``day``, ``attribution`` in units of the output, and ``error``, its standard
            error, where values were sampled.
        """
        import pandas as pd

        table = {"row": self.rows, "day": self.days, "attribution": self.values}
        if self.errors is not None and self.errors.any():
            table["error"] = self.errors
        return pd.DataFrame(table)

    def __repr__(self) -> str:
        """Return sizes and names, and nothing of the patients."""
        names = ", ".join(self.variables)
        return f"VisitAttribution({len(self.rows)} visits of {self.n_rows} rows, {names})"
