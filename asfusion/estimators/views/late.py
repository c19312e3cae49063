"""Late fusion as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asfusion.estimators.views.drawn import FusionDrawn, Lanes
from asfusion.estimators.views.parts import lane_of, model_node
from asfusion.estimators.views.training import History, TrainingDrawn
from asfusion.estimators.views.values import asked, value_text
from asfusion.show.graph import Node

_MODELS = "one model for each modality"


class LateDrawn(TrainingDrawn, FusionDrawn):
    """A model for each modality, then one decision."""

    estimator: Any
    combine: str

    def _lane(self, name: str, encoder: Any) -> list[Node]:
        model = vars(self).get("models_", {}).get(name)
        shown = self._unfitted_model(name) if model is None else model._as_model()
        learned = model is not None and "network_" in vars(model)
        return [*lane_of(name, encoder, is_joint=learned, is_auto=self._is_auto), shown]

    def _unfitted_model(self, name: str) -> Node:
        given = self.estimator.get(name) if isinstance(self.estimator, Mapping) else self.estimator
        if given is None or isinstance(given, str):
            return Node(value_text(given).strip("'") if given else "by default", "model")
        return model_node("Model", given)

    def _middle(self) -> list[Lanes]:
        return [[[self._combination()]]]

    def _combination(self) -> Node:
        found = vars(self).get("combination_")
        weights = vars(self).get("weights_", {})
        facts = [f"{name} weighs {100 * weight:.0f} %" for name, weight in weights.items()]
        dependence = vars(self).get("dependence_")
        if dependence:
            facts.append(f"dependence {dependence:.2g}, learned on unseen patients")
        facts.append("an absent modality has no say")
        name = value_text(self.combine if found is None else found).strip("'")
        marks = ("auto",) if found is not None and self.combine == "auto" else ()
        return Node(name, "late fusion", tuple(facts), marks, role="fusion")

    def _chosen_here(self) -> list[tuple[str, str]]:
        told = []
        if self.combine == "auto":
            told.append(("combine", str(vars(self)["combination_"])))
        for name, model in vars(self)["models_"].items():
            told += [(f"{name}, {what}", choice) for what, choice in model._chosen_here()]
        return told

    def _histories(self) -> dict[str, History]:
        return histories_of(vars(self).get("models_", {}))


def histories_of(models: Mapping[str, Any]) -> dict[str, History]:
    """Return the histories of networks among models, by the name of the model."""
    found: dict[str, History] = {}
    for name, model in models.items():
        own = asked(model._histories, {})
        found |= {f"{name}, {part}" if part else name: history for part, history in own.items()}
    return found
