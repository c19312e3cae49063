"""The names of the columns of `fit`, remembered and asked for again."""

from __future__ import annotations

from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from asfusion._frames import Frame
from asfusion.exceptions import ColumnError


def check_names(estimator: BaseEstimator, frame: Frame, *, reset: bool) -> None:
    """Remember the names of the columns, or raise where they are not those of fit."""
    if not reset and tuple(getattr(estimator, "feature_names_in_", ())) == frame.columns:
        return  # scikit-learn's own look at them takes as long as a prediction
    try:
        validate_data(estimator, frame.to_native(), reset=reset, skip_check_array=True)
    except ValueError as error:  # it shows names of columns, and nothing of the rows
        msg = f"X: expected the columns of fit, in their order. {error}".rstrip()
        raise ColumnError(f"{msg}\nSelect them: X[list(model.feature_names_in_)].") from None
