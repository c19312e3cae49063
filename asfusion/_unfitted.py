"""The error of those who ask before `fit`, as scikit-learn knows it, too."""

from __future__ import annotations

from sklearn.exceptions import NotFittedError

from asfusion import exceptions


class UnfittedError(exceptions.UnfittedError, NotFittedError):  # type: ignore[misc]
    """What `asfusion.exceptions` describes, and a `NotFittedError` of scikit-learn."""
