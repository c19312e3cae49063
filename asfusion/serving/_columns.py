"""What a fitted model says of rows, as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asfusion.exceptions import ConfigurationError


def answers(model: Any, X: Any, times: Sequence[float] | None = None) -> dict[str, Any]:
    """Return the columns of predictions by name.

    Parameters
    ----------
    model : fitted estimator
        Any.
    X : DataFrame
        The rows.
    times : sequence of float, optional
        By which survival is told, of models of times to an event.

    Raises
    ------
    ConfigurationError
        If `times` are asked of a model that knows none.
    """
    if hasattr(model, "predict_survival_function"):
        return _of_times(model, X, times)
    if times is not None:
        got = type(model).__name__
        raise ConfigurationError(f"--times: expected a model of times to an event, got {got}.")
    predicted = model.predict(X)
    found = {"predicted": predicted} if predicted.ndim == 1 else {}
    if hasattr(model, "predict_proba") and getattr(model, "classes_", ()) is not None:
        names = getattr(model, "classes_", None)
        names = model.target_.columns() if names is None else names
        shares = zip(names, model.predict_proba(X).T, strict=True)
        return found | {f"probability_{name}": share for name, share in shares}
    return found or {f"predicted_{i + 1}": column for i, column in enumerate(predicted.T)}


def _of_times(model: Any, X: Any, times: Sequence[float] | None) -> dict[str, Any]:
    """Return risk, the median (missing where most outlive what is known), and survival."""
    median = model.predict_median(X)
    columns = {
        "risk": model.predict(X),
        "median": [float(time) if np.isfinite(time) else None for time in median],
    }
    if times is None:
        return columns
    curves = model.predict_survival_function(X, times)
    return columns | {f"survival_{time:.10g}": curves[:, k] for k, time in enumerate(times)}
