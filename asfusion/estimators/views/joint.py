"""Joint fusion as a graph."""

from __future__ import annotations

from typing import Any

from asfusion.estimators.views.drawn import FusionDrawn, Lanes
from asfusion.estimators.views.parts import lane_of, weights_in_words
from asfusion.estimators.views.training import History, TrainingDrawn, best_epoch
from asfusion.estimators.views.values import asked, parameters_of, value_text
from asfusion.fusion._resolve import resolve_head
from asfusion.show.graph import Node


class JointDrawn(TrainingDrawn, FusionDrawn):
    """Encoders and a fusion head that learn together."""

    fusion: Any
    history_: History

    def _lane(self, name: str, encoder: Any) -> list[Node]:
        return lane_of(name, encoder, is_joint=True, is_auto=self._is_auto)

    def _middle(self) -> list[Lanes]:
        return [[[self._head()]]]

    def _head(self) -> Node:
        network = vars(self).get("network_")
        head = asked(lambda: resolve_head(self.fusion), None) if network is None else network.fusion
        learned = "" if network is None else asked(lambda: self._head_weights(network), "")
        hidden = asked(lambda: f"{100 * float(self.modality_dropout):g} %", "")  # type: ignore[attr-defined]
        facts = [
            learned,
            "an absent modality: masked",
            f"hidden in training, at random: {hidden} of those present" if hidden else "",
        ]
        return Node(
            name=value_text(self.fusion).strip("'") if head is None else type(head).__name__,
            kind="fusion head",
            facts=tuple(fact for fact in facts if fact),
            parameters=parameters_of(head) if head is not None else (),
            role="fusion",
        )

    def _as_model(self) -> Node:
        history = vars(self).get("history_") or []
        network = vars(self).get("network_")
        learned = "" if network is None else asked(lambda: self._head_weights(network), "")
        facts = [learned, f"{len(history)} epochs" if history else ""]
        told = tuple(fact for fact in facts if fact)
        return Node("Network", type(self).__name__, told, parameters=parameters_of(self, _DRAWN))

    def _head_weights(self, network: Any) -> str:
        """Return the weights of all that is no encoder."""
        own = network.encoders.parameters()
        known = {id(one) for one in own}
        rest = [one for one in network.parameters() if id(one) not in known]
        return weights_in_words(_Weights(rest))

    def _chosen_here(self) -> list[tuple[str, str]]:
        history = vars(self).get("history_") or []
        told = []
        if getattr(self, "early_stopping", None) == "auto":
            held = any("validation_loss" in record for record in history)
            told.append(("early_stopping", _STOPPING[held]))
        if getattr(self, "max_epochs", None) == "auto" and history:
            best = best_epoch(history)
            kept = "" if best is None else f", of which epoch {best} is kept"
            told.append(("max_epochs", f"{len(history)} were run{kept}"))
        if getattr(self, "batch_size", None) == "auto":
            told.append(("batch_size", str(min(e.batch_hint for e in self._fitted().values()))))
        return told

    def _fitted(self) -> dict[str, Any]:
        return dict(vars(self)["encoders_"])

    def _histories(self) -> dict[str, History]:
        history = vars(self).get("history_")
        return {"": history} if history else {}


_DRAWN = ("encoders", "fusion")
_STOPPING = {True: "yes, on rows that were held out", False: "no, all rows were learned from"}


class _Weights:
    """Some of the weights of a network, as a network has them."""

    def __init__(self, weights: list[Any]) -> None:
        self._weights = weights

    def parameters(self) -> list[Any]:
        return self._weights
