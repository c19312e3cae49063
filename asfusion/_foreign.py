"""Packages of others that explain models: what they are asked, and what they say in turn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from asfusion._warn import warn_user
from asfusion.exceptions import AsfusionError, ConfigurationError

# Who computes Shapley values of columns: asfusion, or the package shap.
Algorithm = Literal["auto", "shap"]


class Asked:
    """A function that another package asks, its own errors remembered."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.error: Exception | None = None

    def __call__(self, rows: Any) -> Any:
        """Return what the function does."""
        try:
            return self._function(rows)
        except Exception as error:
            self.error = error
            raise


@contextmanager
def in_our_words(
    package: str,
    asked: Asked | None,
    *,
    expected: str,
    fix: str,
    reports: str,
    spared: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Run a package: its warnings and errors reworded, those of what it asks as they are.

    Parameters
    ----------
    package : str
        Its name, by which its files are told from others.
    asked : Asked or None
        What it asks.
    expected, fix : str
        How the message of an error begins and ends.
    reports : str
        What stands before a warning of the package.
    spared : tuple of exception classes
        What is raised as it is, besides errors of this library.
    """
    passed: tuple[type[Exception], ...] = (AsfusionError, *spared)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except passed:
            raise
        except Exception as error:
            if asked is not None and error is asked.error:
                raise
            # The message may hold a cell: it is left to who looks at the cause.
            msg = f"{expected}, got {type(error).__name__} while it did. {fix}"
            raise ConfigurationError(msg) from error
    _pass_on(caught, package, reports)


def _pass_on(caught: Sequence[warnings.WarningMessage], package: str, reports: str) -> None:
    """Say warnings of a package in the name of the user's line, others where they arose."""
    for warning in caught:
        if package not in Path(warning.filename).parts:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        elif issubclass(warning.category, UserWarning | RuntimeWarning):
            warn_user(f"{reports}: {warning.message}")


def import_shap() -> Any:
    """Return the module, silently: it uses calls that matplotlib is about to retire."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        import shap

    return shap


def shap_in_our_words(asked: Asked | None = None) -> AbstractContextManager[None]:
    """Run shap as `in_our_words` does."""
    return in_our_words(
        "shap",
        asked,
        expected="algorithm: expected the package shap to explain this model",
        fix="Leave algorithm at 'auto'.",
        reports="algorithm: the package shap reports",
    )
