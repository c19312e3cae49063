"""Models by name, for those who want none of their own."""

from __future__ import annotations

from typing import Any, Final

from asfusion._checks import check_choice
from asfusion.targets._base import Target

LINEAR: Final = "linear"
NETWORK: Final = "network"

_BOOSTED: Final = "boosted"
_FOREST: Final = "forest"


def check_model(target: Target, given: Any, name: str, *more: str) -> None:
    """Raise unless `given` is a model of the target or the name of one; `more` are names, too."""
    if not isinstance(given, str):
        target.check_part(given, name)
        return
    check_choice(given, name, (LINEAR, *target._models, *more))


def is_linear(given: Any) -> bool:
    """Return whether the linear model whose penalty is chosen is asked for."""
    return given is None or (isinstance(given, str) and given == LINEAR)


def model_of(target: Target, given: Any) -> Any:
    """Return an unfitted model, by its name or as it was given."""
    if not isinstance(given, str):
        return given
    if given == _BOOSTED:
        return target.small_trees()
    if given == _FOREST:
        return target.forest()
    return target.model(given)
