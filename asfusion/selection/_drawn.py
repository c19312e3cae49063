"""Automatic fusion as a graph: members side by side, and their average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asfusion.estimators.views.drawn import FusionDrawn, Lanes
from asfusion.estimators.views.late import histories_of
from asfusion.estimators.views.parts import model_node
from asfusion.estimators.views.training import History, TrainingDrawn
from asfusion.show.graph import Node


class AutoDrawn(TrainingDrawn, FusionDrawn):
    """Encoders, members that read all of them, one average."""

    members: Any
    models_: Mapping[str, Any]

    def _middle(self) -> list[Lanes]:
        return [[[node] for node in self._members()], [[self._average()]]]

    def _members(self) -> list[Node]:
        weights = vars(self).get("weights_", {})
        if weights:
            return [
                Node(name, type(self.models_[name]).__name__, (f"weighs {100 * weight:.0f} %",))
                for name, weight in weights.items()
            ]
        if isinstance(self.members, Mapping):
            return [
                model_node(str(n), m) if m is not None else Node(str(n))
                for n, m in self.members.items()
            ]
        if isinstance(self.members, Sequence) and not isinstance(self.members, str):
            return [Node(str(name)) for name in self.members]
        return [Node("members", facts=("early and late fusions, by the number of rows",))]

    def _average(self) -> Node:
        sharpness = vars(self).get("sharpness_")
        bolder = [] if sharpness in (None, 1.0) else [f"made bolder by {sharpness:.3g}"]
        facts = ("weighed on unseen patients", *bolder)
        return Node("average", "automatic fusion", facts, role="fusion")

    def _chosen_here(self) -> list[tuple[str, str]]:
        if not isinstance(self.members, str):
            return []
        weights = vars(self).get("weights_", {}).items()
        return [("members", ", ".join(f"{name} ({100 * w:.0f} %)" for name, w in weights))]

    def _histories(self) -> dict[str, History]:
        return histories_of(vars(self).get("models_", {}))
