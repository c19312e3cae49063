"""Models by name, for those who want none of their own."""

from __future__ import annotations

from typing import Any, Final

from asfusion._checks import check_choice
from asfusion.targets._base import Target

LINEAR: Final = "linear"
NETWORK: Final = "network"

# Small trees and a slow rate suit the few hundred rows of a cohort. Nothing stops early: that
# would hold out rows without regard to patients.
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "forest": {"n_estimators": 500, "min_samples_leaf": 3},
    "boosted": {
        "learning_rate": 0.05,
        "max_iter": 200,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 10,
        "max_features": 0.5,
        "early_stopping": False,
    },
}


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
    return target.model(given, **_SETTINGS.get(given, {})) if isinstance(given, str) else given
