"""The fusion model within others that only change its probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple


class Unwrapped(NamedTuple):
    """A fusion model, and what is around it, the innermost first."""

    core: Any
    around: tuple[Any, ...]


def unwrapped(model: Any) -> Unwrapped:
    """Return the fusion model within others that only change its probabilities."""
    around: list[Any] = []
    while _is_known(model) and hasattr(model, "estimator_"):
        around.insert(0, model)
        model = model.estimator_
    return Unwrapped(model, tuple(around))


def _is_known(model: Any) -> bool:
    return type(model).__module__.startswith("asfusion.") and (
        hasattr(model, "map_") or hasattr(model, "predict_set")
    )
