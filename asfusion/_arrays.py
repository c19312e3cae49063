"""Bare arrays, and what is passed for one: dimensions are checked first, and no cell is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError, InputTypeError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_TABLE = "Pass a DataFrame with named columns for categories, dates, notes and images."
_NO_ROWS = (Mapping, str, bytes, set, frozenset)
_SEVERAL = (list, tuple, np.ndarray)
_KINDS = {"M": "dates", "m": "durations", "V": "records", "T": "text"}


def refuse_masked(values: Any, name: str) -> None:
    """Raise where an array hides entries that every row must have."""
    n_masked = int(np.ma.getmaskarray(values).sum()) if np.ma.isMaskedArray(values) else 0
    if n_masked:
        msg = (
            f"{name}: expected a value for every row, got {n_masked} masked. Drop those rows, or "
            "fill them in."
        )
        raise InputError(msg)


def array_of(values: Any, name: str) -> NDArray[Any]:
    """Return what stands for rows as an array: one entry for each, or as many in every row."""
    refuse_masked(values, name)
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except Exception:  # containers fail to become an array in as many ways as there are of them
        array = None
    if array is None or _holds_rows(array):
        msg = (
            f"{name}: expected one entry, or one row of entries, per row of X, got a "
            f"{type(values).__name__} that is no array{_lengths(values)}. Give every row as many "
            f"entries: pandas.DataFrame(list({name})) makes a column of each, missing where a row "
            "has none."
        )
        raise InputError(msg)
    return array


def _holds_rows(array: NDArray[Any]) -> bool:
    """Return whether cells of an array are themselves several entries."""
    cells = array.ravel().tolist() if array.dtype.kind == "O" else ()
    return any(isinstance(cell, _SEVERAL) for cell in cells)


def _lengths(values: Any) -> str:
    """Return how many entries the rows of what is no array have, in words."""
    try:
        sizes = [len(row) if isinstance(row, _SEVERAL) else 1 for row in values]
        low, high = min(sizes), max(sizes)
    except (TypeError, ValueError):
        return ""
    return f" ({low} to {high} entries in a row)" if low < high else f" ({low} entries in a cell)"


def floats_of_weights(sample_weight: Any) -> NDArray[np.float64]:
    """Return weights of rows as float64, whatever their shape and sign."""
    refuse_masked(sample_weight, "sample_weight")
    try:
        given = np.asarray(sample_weight)
        if given.dtype.kind in "biufOUS":
            return np.asarray(given, dtype=np.float64)
    except Exception:  # containers fail to become an array in as many ways as there are of them
        given = None
    raise InputError("sample_weight: expected numbers, got another type.")


def check_finite_sum(weights: NDArray[np.float64]) -> None:
    """Raise where means that are weighed so would be none."""
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(weights.sum())
    if not is_finite:
        msg = "sample_weight: expected a finite sum, got weights too large for one. Scale them."
        raise InputError(msg)


def check_width(estimator: Any, array: NDArray[Any]) -> None:
    """Raise where an array has other columns than an estimator was fitted on."""
    width = getattr(estimator, "n_features_in_", None)
    if width is not None and array.shape[1] != width:
        msg = (
            f"X has {array.shape[1]} features, but {type(estimator).__name__} is expecting {width} "
            "features as input. Pass the columns of fit, in their order."
        )
        raise InputError(msg)


def filled(array: NDArray[Any]) -> NDArray[Any]:
    """Return a masked array as a plain one, masked cells missing."""
    masked: Any = np.ma.MaskedArray(array)
    if array.dtype.kind in "biuf":
        return np.asarray(masked.astype(np.float64).filled(np.nan))
    return np.asarray(masked.astype(object).filled(None))


def numbers_of_array(X: Any) -> NDArray[np.float64]:
    """Return a 2-D array, or what is like one, as float64; masked cells are missing.

    Raises
    ------
    InputError
        If it has no rows, no columns, other dimensions than two, or cells that are no numbers.
    """
    array = _as_array(X)
    _check_shape(array)
    return _as_floats(filled(X) if np.ma.isMaskedArray(X) else array)


def check_finite(numbers: NDArray[np.float64]) -> None:
    """Raise where a cell is infinite."""
    infinite = np.isinf(numbers)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        msg = (
            f"X: expected finite numbers, or NaN for missing cells, got infinity in "
            f"{int(infinite.sum())} cell(s), the first in row {row}, column {column}. Replace "
            "infinities by NaN if they mean 'not measured'."
        )
        raise InputError(msg)


def _as_array(X: Any) -> NDArray[Any]:
    if hasattr(X, "toarray"):
        msg = "X: expected a dense array or a DataFrame, got sparse data. Pass X.toarray()."
        raise InputTypeError(msg)
    if isinstance(X, _NO_ROWS) or not (hasattr(X, "__len__") or hasattr(X, "__array__")):
        msg = (
            "X: expected a pandas or polars DataFrame or a 2-D array, "
            f"got {type(X).__name__}. Put one patient (or visit) in each row."
        )
        raise InputError(msg)
    try:
        return np.asarray(_plain_missing(X))
    except Exception:  # whatever it is that does not become an array
        msg = (
            f"X: expected a 2-D array, got a {type(X).__name__} that is none, such as rows of "
            "several lengths. Put one patient (or visit) in each row, and all columns in every row."
        )
        raise InputError(msg) from None


def _plain_missing(X: Any) -> Any:
    """Return a table without names with NaN for whatever it calls missing."""
    types = getattr(X, "dtypes", None)
    if types is None or not hasattr(X, "to_numpy"):
        return X
    kinds = {getattr(one, "kind", "O") for one in np.atleast_1d(types)}
    return X.to_numpy(dtype=np.float64, na_value=np.nan) if kinds <= set("biuf") else X.to_numpy()


def _check_shape(array: NDArray[Any]) -> None:
    if array.ndim != 2:
        msg = (
            "X: expected a 2-D array of shape (n_rows, n_columns), got "
            f"{array.ndim} dimension(s). Reshape your data: X.reshape(1, -1) is one row of many "
            "columns, X.reshape(-1, 1) is one column."
        )
        raise InputError(msg)
    for axis, what in ((0, "sample"), (1, "feature")):
        if array.shape[axis] == 0:
            msg = (
                "X: expected at least 1 row and 1 column, got an array with 0 "
                f"{what}(s) (shape={array.shape}) while a minimum of 1 is required."
            )
            raise InputError(msg)


def _as_floats(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind in "biuf":
        return array.astype(np.float64, copy=False)
    if array.dtype.kind == "c":
        raise InputError("X: Complex data not supported; expected real numbers.")
    if array.dtype.kind in _KINDS:
        raise InputError(
            f"X: expected an array of numbers, got {_KINDS[array.dtype.kind]}. {_TABLE}"
        )
    cells = array.ravel().tolist() if array.dtype.kind == "O" else array.ravel()
    try:
        return _floats_of_cells(cells).reshape(array.shape)
    except TypeError:
        msg = (
            "X: expected an array of numbers, got cells of another type: of float(), the argument "
            f"must be a string or a real number. {_TABLE}"
        )
        raise InputTypeError(msg) from None
    except (ValueError, OverflowError):
        msg = f"X: expected an array of numbers, got text in it, or numbers too large. {_TABLE}"
        raise InputError(msg) from None


def _floats_of_cells(cells: Any) -> NDArray[np.float64]:
    return np.asarray([np.nan if _is_missing(cell) else float(cell) for cell in cells], np.float64)


def _is_missing(cell: object) -> bool:
    return cell is None or type(cell).__name__ in {"NAType", "NaTType"}


def read_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Return one non-negative finite weight per row, not all zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    weights = floats_of_weights(sample_weight)
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.shape != (n_rows,):
        msg = f"sample_weight: expected shape ({n_rows},), got {weights.shape}."
        raise InputError(msg)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("sample_weight: expected finite weights of at least zero.")
    check_finite_sum(weights)
    if not weights.any():
        raise InputError("sample_weight: expected at least one weight above zero, got none.")
    return weights


def sparse_rows(
    values: NDArray[np.float64], columns: NDArray[Any], lengths: NDArray[Any], width: int
) -> csr_array:
    """Return rows of as many entries as `lengths` says, whose positions take no more than needed.

    What reads a sparse matrix reads positions of 32 bits, and often no others.
    """
    from scipy.sparse import csr_array

    kind = np.int32 if max(len(values), width) < 2**31 else np.int64
    starts = np.append(0, np.cumsum(lengths, dtype=np.int64)).astype(kind)
    return csr_array((values, columns.astype(kind), starts), shape=(len(lengths), width))
