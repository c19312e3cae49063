"""Columns of the rows that an encoder is given, whatever table they came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._door import public
from asfusion._frames import Frame


@public
def read_strings(X: Any, column: str) -> list[str | None]:
    """Return the cells of a column as text.

    Parameters
    ----------
    X : pandas or polars DataFrame, or the rows that an estimator hands to an encoder
        The rows.
    column : str
        Name of the column.

    Returns
    -------
    list of str or None
        None where a cell is missing or blank.

    Raises
    ------
    ColumnError
        If X has no such column.

    Examples
    --------
    >>> import pandas as pd
    >>> read_strings(pd.DataFrame({"hla": ["B27;B07", None]}), "hla")
    ['B27;B07', None]
    """
    return _of(X, [column]).strings(column)


@public
def read_numbers(X: Any, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of numbers as a matrix.

    Parameters
    ----------
    X : pandas or polars DataFrame, array, or the rows that an estimator hands to an encoder
        The rows.
    columns : sequence of str
        Names of F columns.

    Returns
    -------
    ndarray of shape (N, F)
        NaN where a cell is missing.

    Raises
    ------
    ColumnError
        If X lacks one of the columns, or one holds no numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> read_numbers(pd.DataFrame({"crp": [5.0, None]}), ["crp"])
    array([[ 5.],
           [nan]])
    """
    names = [columns] if isinstance(columns, str) else list(columns)
    return _of(X, names).numbers_of(names)


def _of(X: Any, columns: Sequence[str]) -> Frame:
    frame = Frame.read(X)
    frame.check_columns(columns, "X")
    return frame
