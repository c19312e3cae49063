"""What every estimator shows of itself: a graph in a notebook, what was chosen in a terminal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from asfusion.encoders._given import is_dropped
from asfusion.estimators.views.parts import lane_of, output_node
from asfusion.estimators.views.values import asked, parameters_of, value_text
from asfusion.show.graph import Graph, Node, as_html

FITTED, UNFITTED = "fitted", "not fitted"
Lanes = list[list[Node]]


class Drawn:
    """An estimator that is drawn as a graph."""

    @abstractmethod
    def _graph(self) -> Graph:
        """Return the model as a graph; nothing is computed for it."""

    def _choices(self) -> list[tuple[str, str]]:
        """Return what was chosen where that was left to the library: a name, and the choice."""
        return []

    def _html_repr(self) -> str:
        """Return the graph as HTML, for scikit-learn's way to notebooks."""
        name = type(self).__name__
        return as_html(asked(self._graph, Graph(name, "its graph cannot be drawn", ())))

    def __str__(self) -> str:
        """Return the call that makes the estimator, and what was chosen by itself."""
        chosen = [f"  {name}: {choice}" for name, choice in asked(self._choices, [])]
        return "\n".join([repr(self), *(["Chosen:", *chosen] if chosen else [])])


class FusionDrawn(Drawn):
    """A fusion estimator: lanes of modalities, then what a family does with them."""

    encoders: Any
    target: Any

    def _graph(self) -> Graph:
        return Graph(
            name=type(self).__name__,
            state=FITTED if self._is_fitted else UNFITTED,
            stages=[
                asked(self._lanes, []),
                *asked(self._middle, []),
                [[asked(lambda: output_node(self), Node("Prediction", role="output"))]],
            ],
            parameters=parameters_of(self, ("encoders",)),
            chosen=asked(self._choices, []),
        )

    @property
    def _is_fitted(self) -> bool:
        return "target_" in vars(self)

    def _drawn_encoders(self) -> Mapping[str, Any]:
        """Return the fitted encoders, or those that were given."""
        fitted = asked(self._modality_encoders, {})  # type: ignore[attr-defined]
        given = self.encoders if isinstance(self.encoders, Mapping) else {}
        return fitted or {name: one for name, one in given.items() if not is_dropped(one)}

    def _lanes(self) -> Lanes:
        lanes = [self._lane(str(name), one) for name, one in self._drawn_encoders().items()]
        return lanes or [[Node("all columns", role="columns"), self._unknown_encoders()]]

    def _lane(self, name: str, encoder: Any) -> list[Node]:
        return lane_of(name, encoder, is_auto=self._is_auto)

    @property
    def _is_auto(self) -> bool:
        return isinstance(self.encoders, str)

    def _unknown_encoders(self) -> Node:
        if isinstance(self.encoders, str) and self.encoders == "auto":
            return Node("auto", "encoders", ("one for each modality, by the columns",))
        return Node(value_text(self.encoders), "encoders")

    def _middle(self) -> list[Lanes]:
        """Return the stages between the encoders and the prediction."""
        return []

    def _as_model(self) -> Node:
        """Return the model itself as one box, for who draws its encoders apart."""
        return Node("Model", type(self).__name__)

    def _histories(self) -> dict[str, Any]:
        """Return the records of each network's training, by its name."""
        return {}

    def _choices(self) -> list[tuple[str, str]]:
        if not self._is_fitted:
            return []
        return [*self._chosen_columns(), *self._chosen_here(), *self._chosen_calls()]

    def _chosen_columns(self) -> list[tuple[str, str]]:
        if not isinstance(self.encoders, str):
            return []
        return [(str(name), one.describe()) for name, one in self._drawn_encoders().items()]

    def _chosen_here(self) -> list[tuple[str, str]]:
        """Return what the family chose."""
        return []

    def _chosen_calls(self) -> list[tuple[str, str]]:
        """Return the threshold that was chosen by a rule."""
        rule, found = getattr(self, "threshold", None), vars(self).get("threshold_")
        if found is None or isinstance(rule, int | float):
            return []
        return [("threshold", f"{found:.3g}, by {value_text(rule)}")]
