"""The boxes of a graph: columns, encoders, models, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asfusion.encoders._base import Encoder
from asfusion.estimators.views.values import asked, parameters_of, value_text
from asfusion.show.graph import Node

_NAMES = 4  # of columns, of classes
_ITSELF: Any = object()
_READS = ("columns", "column")  # parameters that the box of columns shows


def lane_of(
    name: str, encoder: Any, *, is_joint: bool = False, is_auto: bool = False
) -> list[Node]:
    """Return the boxes of a modality: its columns, and what reads them.

    Parameters
    ----------
    name : str
        The modality.
    encoder : Encoder
        What reads it, fitted or not.
    is_joint : bool
        Whether all of its network learned, together with what it is for.
    is_auto : bool
        Whether it was chosen by the library.
    """
    return [_columns(encoder), _encoder(name, encoder, is_joint=is_joint, is_auto=is_auto)]


def _columns(encoder: Any) -> Node:
    names = asked(lambda: _columns_of(encoder), ())
    if not names:
        return Node("all columns", role="columns")
    if len(names) == 1:
        return Node(names[0], role="columns")
    return Node(f"{len(names)} columns", facts=(in_short(names),), role="columns")


def _columns_of(encoder: Encoder) -> tuple[str, ...]:
    found = vars(encoder).get("columns_") or encoder._columns_among(())
    return tuple(map(str, found))


def in_short(names: Sequence[object]) -> str:
    """Return a few names, and how many more there are."""
    shown = len(names) if len(names) <= _NAMES + 1 else _NAMES
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more


def _encoder(name: str, encoder: Any, *, is_joint: bool, is_auto: bool) -> Node:
    frozen = asked(lambda: bool(encoder.is_frozen), False)
    n_features = asked(lambda: int(encoder.n_features), 0)
    learned = asked(lambda: _weights(encoder, whole=is_joint or not frozen), "")
    facts = [
        asked(lambda: str(encoder._network_in_words()), ""),
        f"{n_features:,} measured feature{'' if n_features == 1 else 's'}" if n_features else "",
        learned,
        asked(lambda: str(encoder._gaps_in_words()), ""),
    ]
    return Node(
        name=str(name),
        kind=type(encoder).__name__,
        facts=tuple(fact for fact in facts if fact),
        marks=(*(("auto",) if is_auto else ()), *(("frozen",) if frozen else ())),
        parameters=parameters_of(encoder, _READS),
    )


def _weights(encoder: Any, *, whole: bool) -> str:
    """Return how many weights the network has that is there already; none is built for this."""
    network = vars(encoder).get("network_")
    if network is None:
        return ""
    return weights_in_words(network if whole else network.backbone, held=not whole)


def weights_in_words(network: Any, *, held: bool = False) -> str:
    """Return how many weights of a network were learned, and how many were not touched."""
    counts = [0, 0]
    for one in network.parameters():
        counts[bool(one.requires_grad) and not held] += int(one.numel())
    told = [f"{n:,} weights {word}" for n, word in zip(counts, ("frozen", "learned"), strict=True)]
    return ", ".join(word for n, word in zip(counts, told, strict=True) if n)


def model_node(name: str, model: Any, facts: Sequence[str] = (), *, set_of: Any = _ITSELF) -> Node:
    """Return the box of a model of scikit-learn or of anybody else.

    What was set stands in the model itself, or in `set_of`, which it is a fitted copy of.
    """
    learned = asked(lambda: _learned(model), "")
    told = tuple(fact for fact in (*facts, learned) if fact)
    parameters = () if set_of is None else parameters_of(model if set_of is _ITSELF else set_of)
    return Node(name, type(model).__name__, told, parameters=parameters)


def _learned(model: Any) -> str:
    """Return what a fitted model has learned: numbers, or members."""
    coefficients = vars(model).get("coef_")
    if coefficients is not None:
        return f"{int(np.size(coefficients)):,} coefficients learned"
    members = vars(model).get("estimators_")
    return "" if members is None else f"{int(np.size(members)):,} members learned"


def output_node(model: Any) -> Node:
    """Return the box of what a fusion estimator predicts."""
    target = vars(model).get("target_")
    known = target if target is not None else asked(model._target, None)
    told = [*_names_of(known), *_called(model), _nothing_known(model)]
    kind = type(known).__name__ if known is not None else value_text(model.target)
    return Node("Prediction", kind, tuple(told), parameters=parameters_of(known), role="output")


def _names_of(target: Any) -> list[str]:
    names = asked(lambda: target.class_names(), ())
    return [in_short(names)] if names else []


def _called(model: Any) -> list[str]:
    threshold = vars(model).get("threshold_")
    if threshold is None:
        return []
    name = asked(lambda: str(model.classes_[1]), "the second class")
    return [f"called {name} from {threshold:.3g} on"]


def _nothing_known(model: Any) -> str:
    """Return what is said of a row of which nothing is known."""
    prior = vars(model).get("prior_")
    if prior is None or not 0 < np.size(prior) <= _NAMES:
        return "a row without any modality: what is usual in training"
    shown = asked(lambda: model.target_.is_probability, False)
    values = [
        f"{100 * p:.0f}\N{NARROW NO-BREAK SPACE}%" if shown else f"{p:.3g}" for p in np.ravel(prior)
    ]
    return f"a row without any modality: {', '.join(values)}"
