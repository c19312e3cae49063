"""What a report holds, for those that draw it or tell it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asfusion.evaluation._inputs import Task
from asfusion.evaluation.intervals import Interval


class Reported:
    """Fields of a report, as `asfusion.evaluation.report.Report` explains them."""

    task: Task
    n_rows: int
    n_groups: int
    is_grouped: bool
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    threshold: float | None
    threshold_source: str | None
    threshold_range: tuple[float, float] | None
    prevalence: float | None
    mic: tuple[float, ...]
    order: tuple[str, ...]
    confidence: float
    n_bootstrap: int
    seed: int
    scores: Mapping[str, Interval]
    curves: Mapping[str, Any]
    version: str
    privacy: str


def shown_thresholds(report: Reported, digits: int = 6) -> list[str]:
    """Return the threshold as text, or the lowest and highest of those of the folds."""
    ends = report.threshold_range or (report.threshold, report.threshold)
    return list(dict.fromkeys(f"{end:.{digits}g}" for end in ends))
