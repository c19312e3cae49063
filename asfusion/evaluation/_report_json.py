"""A report as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from asfusion.evaluation._labels import is_score
from asfusion.evaluation._patterns import Pattern
from asfusion.evaluation._subsets import Subset
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.subgroups import SubgroupAudit

FORMAT = "asfusion report 2"


def write_fields(fields: Mapping[str, Any]) -> str:
    """Return the fields of a report as JSON."""
    state = {"format": FORMAT, **{k: v for k, v in fields.items() if k != "scores"}}
    state["scores"] = {name: vars(score) for name, score in fields["scores"].items()}
    state["patterns"] = [
        {**vars(pattern), "score": pattern.score and vars(pattern.score)}
        for pattern in fields["patterns"]
    ]
    state["subsets"] = [
        {**vars(part), "score": vars(part.score), "cost": part.cost and vars(part.cost)}
        for part in fields["subsets"]
    ]
    state["subgroups"] = fields["subgroups"] and fields["subgroups"]._state()
    return json.dumps(_without_nan(state), indent=1, allow_nan=False, ensure_ascii=False)


def read_fields(text: str) -> dict[str, Any]:
    """Return the fields that `write_fields` wrote; of other text, raise what reading it raises."""
    state: dict[str, Any] = json.loads(text)
    if state.pop("format") != FORMAT:
        raise ValueError
    counts = [state[k] for k in ("n_rows", "n_groups", "n_bootstrap", "seed")]
    if not all(map(is_score, state["scores"])) or not all(type(n) is int for n in counts):
        raise ValueError
    state["curves"] = _with_nan(state["curves"])
    state["scores"] = {k: _interval(v) for k, v in state["scores"].items()}
    state["patterns"] = tuple(
        Pattern(tuple(p["present"]), p["n_rows"], p["score"] and _interval(p["score"]))
        for p in state["patterns"]
    )
    state["subsets"] = tuple(
        Subset(
            tuple(s["present"]),
            s["n_rows"],
            _interval(s["score"]),
            s["cost"] and _interval(s["cost"]),
            tuple(s["spoilt_by"]),
        )
        for s in state.get("subsets", ())
    )
    state |= {k: tuple(state[k]) for k in ("classes", "shares", "mic", "order")}
    spread = state.get("threshold_range")
    state["threshold_range"] = spread and (float(spread[0]), float(spread[1]))
    if not isinstance(state.setdefault("privacy", ""), str):
        raise ValueError
    audit = state.get("subgroups")
    state["subgroups"] = audit and SubgroupAudit._from_state(audit)
    return state


def _interval(state: Mapping[str, Any]) -> Interval:
    # Infinity, which JSON does not know either, is the text "inf".
    low, high, estimate = (
        np.nan if state[k] is None else float(state[k]) for k in ("low", "high", "estimate")
    )
    return Interval(estimate, low, high, int(state["n_undefined"]))


def _without_nan(value: Any) -> Any:
    """Return nested lists and dicts with None for NaN, which JSON does not know.

    Infinite limits of likelihood ratios become text.
    """
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and np.isinf(value):
        return str(float(value))
    return None if isinstance(value, float) and np.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return np.nan if value is None else value
