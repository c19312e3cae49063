"""skops, imported without all that scikit-learn could ever need.

On import, skops asks scikit-learn for its estimators, and scikit-learn imports every package of
its own to find them: its tests with pytest, and torch where that is installed. That takes longer
than all else that a table's model needs. Here it is told the same list, found without those.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_IMPORTING = threading.Lock()
# What scikit-learn leaves out of its list, too, though not before it has imported it.
_NO_ESTIMATORS = frozenset(
    {"conftest", "estimator_checks", "experimental", "externals", "setup", "tests"}
)


def skops_io() -> ModuleType:
    """Return `skops.io`."""
    with _IMPORTING:
        if "skops.io" not in sys.modules:
            _import_skops()
    return importlib.import_module("skops.io")


def _import_skops() -> None:
    import sklearn.utils

    theirs = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = estimators
    try:
        importlib.import_module("skops.io")
    finally:
        sklearn.utils.all_estimators = theirs


def estimators(type_filter: Any = None) -> list[tuple[str, type]]:
    """Return what `sklearn.utils.all_estimators` does, by name."""
    import sklearn
    from sklearn.base import BaseEstimator
    from sklearn.utils.discovery import all_estimators

    if type_filter is not None:  # someone else asks, while skops is imported
        found: list[tuple[str, type]] = all_estimators(type_filter)
        return found
    classes: set[tuple[str, type]] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for name in _modules([str(Path(sklearn.__file__).parent)], "sklearn."):
            module = importlib.import_module(name)
            classes.update(inspect.getmembers(module, inspect.isclass))
    own = {
        (name, kind)
        for name, kind in classes
        if issubclass(kind, BaseEstimator)
        and name != "BaseEstimator"
        and not name.startswith("_")
        and not inspect.isabstract(kind)
    }
    return sorted(own, key=lambda pair: pair[0])


def holds_estimators(parts: Sequence[str]) -> bool:
    """Return whether a module, by the parts of its name, may define estimators for everybody."""
    return not any(part in _NO_ESTIMATORS or part.startswith("_") for part in parts)


def _modules(path: list[str], prefix: str) -> Iterator[str]:
    """Yield modules that define estimators for everybody, packages before what is in them."""
    for info in pkgutil.iter_modules(path, prefix):
        if not holds_estimators([info.name.rpartition(".")[2]]):
            continue
        yield info.name
        if info.ispkg:
            yield from _modules(list(importlib.import_module(info.name).__path__), f"{info.name}.")
