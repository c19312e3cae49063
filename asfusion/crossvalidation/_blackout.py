"""The same cross-validation with the regions black: what a score does not owe to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation.intervals import Interval, paired_difference, score_intervals
from asfusion.exceptions import ConfigurationError

_SWITCH, _REGION = "blackout", "region"


@dataclass(frozen=True)
class Blackout:
    """The score of the same model where the regions that it looks at are black.

    Parameters
    ----------
    name : str
        The primary score of the report.
    score : Interval
        What it was with whole films, black where the regions were.
    difference : Interval
        How much more it was with the regions, on the same rows and patients.
    """

    name: str
    score: Interval
    difference: Interval


def black_out(model: Any) -> Any:
    """Return an unfitted copy whose encoders see films without the regions that they look at.

    Raises
    ------
    ConfigurationError
        If none of them looks at a region.
    """
    params: Mapping[str, Any] = model.get_params()
    paths = [name.removesuffix(_SWITCH) for name in params if name.split("__")[-1] == _SWITCH]
    looking = [path for path in paths if params.get(f"{path}{_REGION}") is not None]
    if not looking:
        msg = (
            "blackout: expected a model that looks at a region, such as one with "
            "RegionEncoder(column, region=finder), got none."
        )
        raise ConfigurationError(msg)
    return clone(model).set_params(**{f"{path}{_SWITCH}": True for path in looking})


def compare_blackout(
    name: str, seen: Judged, black: Judged, options: Mapping[str, Any]
) -> Blackout:
    """Return what was lost of a score, from judgements of the same rows."""
    parts = [score_intervals(make_scorer(p), width=len(p), **options) for p in (seen, black)]
    (scores, replicates), (dark, dark_replicates) = parts
    difference = paired_difference(
        (scores[name].estimate, dark[name].estimate),
        (replicates[name], dark_replicates[name]),
        options["confidence"],
    )
    return Blackout(name, dark[name], difference)
