"""XGBoost parts of a saved model: its own UBJSON, and nothing that it would believe unread.

A file of trees is read by `_xgboost` before XGBoost sees it, here and when it is saved, so
that what was saved can be loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from asfusion.bundle._unlike import Unlike
from asfusion.bundle._xgboost import OLDEST, Facts, check_booster
from asfusion.exceptions import BundleError

_KINDS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker")
# Settings that say how large what is predicted is; the file says it, too.
_SHAPES = ("num_class", "num_feature", "num_target", "size_leaf_vector")
_THREADS = ("n_jobs", "nthread")
_ALIASES = {"reg:linear": "reg:squarederror"}


def is_xgboost(part: Any) -> bool:
    """Return whether `part` is one of XGBoost's scikit-learn estimators."""
    return any(kind.__module__ == "xgboost.sklearn" for kind in type(part).__mro__)


def dump_xgboost(part: Any) -> bytes:
    """Return the booster of a fitted XGBoost estimator as UBJSON.

    Raises
    ------
    BundleError
        If it is of a version or a kind that `load_xgboost` would not read.
    """
    raw = bytes(part.get_booster().save_raw("ubj"))
    try:
        facts = check_booster(raw)
        _check_versions(facts, "save")
        _check_params(facts, part.get_params(deep=False))
    except Unlike as error:
        msg = (
            f"save: {type(part).__name__} writes its trees in a form that asfusion does not know "
            f"({error}). Fit it with XGBoost {_dotted(OLDEST)}, with finite data."
        )
        raise BundleError(msg) from error
    return raw


def load_xgboost(name: str, params: dict[str, Any], booster: bytes | None) -> Any:
    """Return an XGBoost estimator of the given class name, with its booster if it had one.

    Raises
    ------
    BundleError
        If the booster is not as XGBoost itself would write it, or was written by a version
        whose models the one that is installed reads otherwise.
    """
    if name not in _KINDS:
        raise BundleError("load: the model names an XGBoost class that asfusion does not know.")
    params = _within_cores(params)
    if booster is not None:
        _check(booster, params)
    import xgboost.sklearn

    made = getattr(xgboost.sklearn, name)(**params)
    if booster is not None:
        made.load_model(bytearray(booster))
        # XGBoost writes the booster's own settings over the parameters that were given.
        made.set_params(**params)
    return made


def _check(booster: bytes, params: Mapping[str, Any]) -> None:
    try:
        facts = check_booster(booster)
        _check_versions(facts, "load")
        _check_params(facts, params)
    except Unlike as error:
        msg = (
            f"load: trees are not as XGBoost writes them ({error}). Restore the folder "
            "from its source."
        )
        raise BundleError(msg) from error


def _check_versions(facts: Facts, what: str) -> None:
    """Refuse files of versions that the installed one reads with other predictions, or not."""
    here = _installed()
    if facts.version < OLDEST or here < OLDEST:
        msg = (
            f"{what}: expected trees of XGBoost {_dotted(OLDEST)} or newer, read by such a one, "
            f"got trees of {_dotted(facts.version)}, and {_dotted(here)} is installed. Between "
            "these versions models lose their base score. Update XGBoost, and save the model again."
        )
        raise BundleError(msg)
    if facts.version > here:
        msg = (
            f"{what}: the trees were written by XGBoost {_dotted(facts.version)}, and "
            f"{_dotted(here)} is installed, which may read them with other predictions. Update it: "
            "pip install --upgrade xgboost."
        )
        raise BundleError(msg)


def _installed() -> tuple[int, int]:
    import xgboost

    found = re.match(r"([0-9]+)\.([0-9]+)", xgboost.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _check_params(facts: Facts, given: Mapping[str, Any]) -> None:
    """Compare the parameters with the file: XGBoost takes them over what it read."""
    objective = given.get("objective")
    if objective is not None and _ALIASES.get(objective, objective) != facts.objective:
        raise Unlike("another objective")
    if given.get("booster") not in (None, facts.booster):
        raise Unlike("another booster")
    for name in _SHAPES:
        if given.get(name) not in (None, facts.n_groups if name == "num_class" else None):
            raise Unlike(f"another {name}")


def _within_cores(params: dict[str, Any]) -> dict[str, Any]:
    """Ask for no more threads than this machine has: the one that saved may have had more."""
    given = {name: params[name] for name in _THREADS if params.get(name) is not None}
    if any(type(number) is not int for number in given.values()):
        raise BundleError("load: a number of threads is none.")
    most = os.cpu_count() or 1
    return {**params, **{name: min(number, most) for name, number in given.items()}}
