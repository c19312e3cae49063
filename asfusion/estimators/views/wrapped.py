"""An estimator around another one, as a graph: that of the inner one, and one box more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.frozen import FrozenEstimator

from asfusion.estimators.views.drawn import FITTED, UNFITTED, Drawn
from asfusion.estimators.views.parts import model_node
from asfusion.estimators.views.values import asked, parameters_of
from asfusion.show.graph import Graph, Node


class WrapperDrawn(Drawn):
    """What is wrapped, then what becomes of its answers."""

    estimator: Any
    _says: str

    def _graph(self) -> Graph:
        inner = self._drawn_inner()
        graph = asked(lambda: inner._graph(), None)  # a model of anybody's has none
        if graph is None:
            columns = Node("all columns", role="columns")
            graph = Graph("", "", [[[columns, model_node("Model", inner)]]])
        whole: Graph = replace(
            graph,
            name=type(self).__name__,
            state=FITTED if "estimator_" in vars(self) else UNFITTED,
            parameters=parameters_of(self),
            chosen=asked(self._choices, []),
        )
        return whole.then(self._last())

    def _drawn_inner(self) -> Any:
        inner = vars(self).get("estimator_", self.estimator)
        return inner.estimator if type(inner) is FrozenEstimator else inner

    def _choices(self) -> list[tuple[str, str]]:
        inner = self._drawn_inner()
        return list(asked(lambda: inner._choices(), []))

    def _last(self) -> Node:
        name = getattr(self, "method", None)
        facts = asked(self._promises, [])
        return Node(str(name or "intervals"), self._says, tuple(facts), role="output")

    def _promises(self) -> list[str]:
        """Return what the wrapper adds, in a few words."""
        return []
