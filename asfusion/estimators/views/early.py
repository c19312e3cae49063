"""Early fusion as a graph."""

from __future__ import annotations

from typing import Any

from asfusion.estimators._named import is_linear
from asfusion.estimators.views.drawn import FusionDrawn, Lanes
from asfusion.estimators.views.parts import model_node
from asfusion.estimators.views.values import value_text
from asfusion.show.graph import Node


class EarlyDrawn(FusionDrawn):
    """Encoders, features side by side, one model."""

    estimator: Any
    scale: str

    def _middle(self) -> list[Lanes]:
        return [[[self._side_by_side()]], [[self._as_model()]]]

    def _side_by_side(self) -> Node:
        names = vars(self).get("feature_names_")
        told = [] if names is None else [f"{len(names):,} features"]
        flagged = vars(self).get("flagged_")
        flag = " and a flag" if flagged is None or flagged else ""
        absent = f"an absent modality: its mean in training{flag}"
        return Node("Side by side", "early fusion", (*told, absent), role="fusion")

    def _as_model(self) -> Node:
        fitted, given = vars(self).get("estimator_"), self.estimator
        named = "linear" if given is None else given
        if fitted is None and isinstance(named, str):
            return Node(value_text(named).strip("'"), "model by name")
        if fitted is None:
            return model_node("Model", given)
        # Of a model by name, nobody but the library has set anything.
        set_of = None if isinstance(named, str) else given
        return model_node("Model", fitted, self._penalised(), set_of=set_of)

    def _penalised(self) -> list[str]:
        penalty = vars(self).get("penalty_")
        return [] if penalty is None else [f"penalty {penalty:.3g}, chosen on unseen patients"]

    def _chosen_here(self) -> list[tuple[str, str]]:
        if not is_linear(self.estimator):
            return []
        name, penalty = type(vars(self)["estimator_"]).__name__, vars(self).get("penalty_")
        told = "" if penalty is None else f" with a penalty of {penalty:.3g}"
        return [("estimator", f"{name}{told}")]
