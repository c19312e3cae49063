"""From y as the user has it to a checked array, whatever the target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import array_of
from asfusion._cells import is_missing
from asfusion.exceptions import ConfigurationError, InputError, InputTypeError


def complete_array(y: Any, n_rows: int) -> NDArray[Any]:
    """Return an array with `n_rows` entries, none of them missing."""
    if y is None:
        msg = "This estimator requires y to be passed, but the target y is None."
        raise InputError(msg)
    if hasattr(y, "toarray"):
        raise InputTypeError("y: expected a dense array, got sparse data. Pass y.toarray().")
    array = array_of(y, "y")
    if np.iscomplexobj(array):
        raise InputError("y: Complex data not supported; expected real numbers or labels.")
    if array.ndim == 0 or len(array) != n_rows:
        got = "a single value" if array.ndim == 0 else str(len(array))
        msg = f"y: expected {n_rows} entries, one per row of X, got {got}."
        raise InputError(msg)
    if array.dtype.kind in "V":
        msg = f"y: expected numbers or labels, got dtype {array.dtype}. Convert the target."
        raise InputError(msg)
    if array.dtype.kind in "fcO":
        missing = [row for row, entry in enumerate(array) if _any_missing(entry)]
        if missing:
            msg = (
                f"y: expected a value for every row, got {len(missing)} missing (NaN), the first "
                f"at position {missing[0]}. Drop those rows from X and y."
            )
            raise InputError(msg)
    return array


def refuse_other_estimators(estimator: Any, name: str) -> None:
    """Raise unless `estimator` is one in scikit-learn's manner."""
    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        msg = f"{name}: expected a scikit-learn estimator, got {type(estimator).__name__}."
        raise ConfigurationError(msg)


def _any_missing(entry: Any) -> bool:
    if isinstance(entry, np.ndarray):
        return any(is_missing(cell) for cell in entry)
    return is_missing(entry)
