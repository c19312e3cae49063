"""Scores, numbers and intervals in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.metrics import SCORES, ScoreInfo

_INFOS = dict(SCORES)


def add_scores(infos: Mapping[str, ScoreInfo]) -> None:
    """Make known what more scores are called, and which way they are better."""
    _INFOS.update(infos)


def is_score(name: str) -> bool:
    """Return whether there is a score of this name."""
    return name.partition("[")[0] in _INFOS


def score_info(name: str) -> ScoreInfo:
    """Return what is known of a score, also of that of one class."""
    return _INFOS[name.partition("[")[0]]


def score_label(name: str) -> str:
    """Return what a score is called in tables, also that of one class."""
    _, bracket, rest = name.partition("[")
    info = score_info(name)
    return info.part.format(label=info.label, part=rest[:-1]) if bracket else info.label


def show_number(value: float) -> str:
    """Return a score as text: three decimals, fewer for large numbers."""
    if np.isinf(value):
        return "∞"
    if np.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def show_interval(score: Interval, *, sign: bool = False) -> str:
    """Return the interval as text."""
    if np.isnan(score.low):
        return "-"
    plus = ["+" if sign and value > 0 else "" for value in (score.low, score.high)]
    return f"{plus[0]}{show_number(score.low)} to {plus[1]}{show_number(score.high)}"
