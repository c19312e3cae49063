"""Does a model serve everyone alike? Scores by subgroup, and their gaps to the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion._checks import check_integer
from asfusion._door import public
from asfusion._random import RandomState, draw_seed
from asfusion.evaluation._factors import Levels, read_factors
from asfusion.evaluation._inputs import Judged, Task, check_confidence
from asfusion.evaluation._judge import find_threshold, judge
from asfusion.evaluation._small_cells import hidden_cells
from asfusion.evaluation._subgroup_page import AuditPage
from asfusion.evaluation._subgroup_scores import (
    Gap,
    Subgroup,
    SubgroupScores,
    holm,
    why_refused,
)
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.registry import scoring_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class SubgroupAudit(AuditPage):
    """What `audit_subgroups` found.

    It holds no row of the data. It prints, and draws itself in a notebook.

    Parameters
    ----------
    task : str
        What was predicted: binary, multiclass, regression, or what else was registered.
    n_rows, n_groups : int
        Rows judged, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given. If not, each row counts as one.
    threshold : float or None
        From which probability on a row is called positive; None unless binary.
    confidence : float
        Coverage that each interval aims at, by itself.
    n_bootstrap : int
        Number of bootstrap replicates.
    n_gaps : int
        Distinct gaps tested. Two halves have one gap, seen from two sides.
    overall : mapping of str to Interval
        The scores of all rows.
    subgroups : tuple of Subgroup
        The parts, in the order of factors and levels.
    """

    task: Task
    n_rows: int
    n_groups: int
    is_grouped: bool
    threshold: float | None
    confidence: float
    n_bootstrap: int
    n_gaps: int
    overall: Mapping[str, Interval]
    subgroups: tuple[Subgroup, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per subgroup and score.

        Returns
        -------
        DataFrame
            Indexed by factor, level and score; columns ``n_rows``, ``n_groups``,
            ``estimate``, ``low``, ``high``, then ``gap``, ``gap_low``, ``gap_high``,
            ``p_value`` and ``adjusted`` of the difference to all other rows. NaN where
            a subgroup is too small.
        """
        import pandas as pd

        rows, index = [], []
        nothing = Interval(np.nan, np.nan, np.nan)
        for part in self.subgroups:
            for name in scoring_of(self).audited:
                score = part.scores.get(name, nothing)
                gap = part.gaps.get(name, Gap(*[np.nan] * 4))
                counts = [np.nan if n is None else n for n in (part.n_rows, part.n_groups)]
                drawn = [score.estimate, score.low, score.high, gap.estimate, gap.low, gap.high]
                rows.append([*counts, *drawn, gap.p_value, gap.adjusted])
                index.append((part.factor, part.level, name))
        names = ["n_rows", "n_groups", "estimate", "low", "high"]
        names += ["gap", "gap_low", "gap_high", "p_value", "adjusted"]
        labels = pd.MultiIndex.from_tuples(index, names=["factor", "level", "score"])
        return pd.DataFrame(rows, columns=names, index=labels)

    def _state(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        state = {**vars(self), "subgroups": [asdict(part) for part in self.subgroups]}
        return state | {"overall": {name: vars(score) for name, score in self.overall.items()}}

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> SubgroupAudit:
        """Return what `_state` was made of."""

        def read(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
            return {
                name: kind(**{k: np.nan if v is None else v for k, v in fields.items()})
                for name, fields in values.items()
            }

        parts = tuple(
            Subgroup(**{**p, "scores": read(Interval, p["scores"]), "gaps": read(Gap, p["gaps"])})
            for p in state["subgroups"]
        )
        return cls(**{**state, "subgroups": parts, "overall": read(Interval, state["overall"])})


@public
def audit_subgroups(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    by: Any,
    groups: Any = None,
    bands: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    classes: Any = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    random_state: RandomState = 0,
) -> SubgroupAudit:
    """Judge a fitted model, or predictions, by sex, age, site, or whatever divides patients.

    Parameters
    ----------
    model : fitted estimator or array
        Any classifier with `predict_proba` or regressor, or predictions, as in `evaluate`.
    X : DataFrame or array of n_rows rows, optional
        The rows; not given beside predictions.
    y : array of shape (n_rows,) or (n_rows, n_targets)
        What is true.
    by : str, sequence of str, or dict of str to array of shape (n_rows,)
        Columns of X, which the model need not use; ``"modalities"`` is the set of
        modalities that a row has. Or values by name.
    groups : array of shape (n_rows,), optional
        Patient of each row. Intervals resample patients.
    bands : dict of str to sequence of float, optional
        Edges by which a factor of numbers is cut, as in ``{"age": (40, 60)}``. By
        default numbers of more than ten distinct values are cut into rounded thirds, and those
        of more than three where a value has fewer than ten rows on average.
    threshold : float, optional
        From which probability on a row is called positive; as in `evaluate`.
    classes : array, optional
        Classes in the order of the columns of predictions.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that each interval aims at.
    random_state : int, RandomState, Generator or None
        Seeds the replicates.

    Returns
    -------
    SubgroupAudit
        Scores of every subgroup, and its gap to all other rows, with intervals.

    Raises
    ------
    InputError
        If rows, targets, groups and factors do not fit together.
    ConfigurationError
        If a parameter is unusable.

    Notes
    -----
    Subgroups of fewer than 10 rows or patients, or with fewer than 10 rows of one of two
    classes, are not scored; numbers below 10 are not shown, nor one from which they
    follow. Whether gaps could be chance is said with Holm's correction for how many were
    looked at. A gap says that the model works differently, not why: cases may be harder in
    one subgroup, or labels worse. fairlearn's `MetricFrame` gives the same estimates;
    its intervals resample rows and say nothing of differences, which is why it is not used.

    References
    ----------
    .. [1] Collins et al., "TRIPOD+AI statement", BMJ 2024.
       https://doi.org/10.1136/bmj-2023-078378
    .. [2] Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
       Journal of Statistics 1979. https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> p = np.clip(0.3 + 0.4 * y + 0.3 * rng.normal(size=200), 0, 1)
    >>> sex = rng.choice(["female", "male"], 200)
    >>> audit = af.audit_subgroups(p, y=y, by={"sex": sex}, n_bootstrap=100)
    >>> [part.level for part in audit.subgroups]
    ['female', 'male']
    """
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_confidence(confidence)
    judged = judge(model, X, y, groups, classes)
    cut, _ = find_threshold(model, threshold, judged)
    factors = read_factors(by, X, model, len(judged), bands)
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence}
    return audit_judged(judged, factors, cut, seed=draw_seed(random_state), **options)


def audit_judged(
    judged: Judged,
    factors: Mapping[str, Levels],
    threshold: float | None,
    *,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> SubgroupAudit:
    """Return the audit of rows that are read already."""
    scores = SubgroupScores(
        judged, threshold, n_bootstrap=n_bootstrap, confidence=confidence, seed=seed
    )
    parts = [
        part
        for factor, levels in factors.items()
        for part in _parts(judged, scores, factor, levels)
    ]
    parts, n_gaps = _adjusted(parts, factors)
    return SubgroupAudit(
        task=judged.task,
        n_rows=len(judged),
        n_groups=judged.n_groups,
        is_grouped=judged.is_grouped,
        threshold=threshold,
        confidence=float(confidence),
        n_bootstrap=int(n_bootstrap),
        n_gaps=n_gaps,
        overall=scores.scores(np.arange(len(judged))),
        subgroups=tuple(parts),
    )


def _parts(judged: Judged, scores: SubgroupScores, factor: str, levels: Levels) -> list[Subgroup]:
    """Return the subgroups of one factor."""
    counts = {
        level: (len(rows), len(np.unique(judged.groups[rows]))) for level, rows in levels.items()
    }
    hidden = hidden_cells(counts)
    parts = []
    for level, rows in levels.items():
        refused = why_refused(judged, rows)
        n_rows, n_groups = (None, None) if level in hidden else counts[level]
        found = {} if refused else scores.scores(rows)
        gaps = {} if refused else scores.gaps(rows)
        parts.append(Subgroup(factor, level, n_rows, n_groups, refused, found, gaps))
    return parts


def _adjusted(parts: list[Subgroup], factors: Mapping[str, Levels]) -> tuple[list[Subgroup], int]:
    """Return subgroups with corrected p-values, and how many gaps there are."""
    owners = []
    for part in parts:
        levels = list(factors[part.factor])
        mirrored = len(levels) == 2 and part.level == levels[1]
        first = (part.factor, levels[0]) if mirrored else (part.factor, part.level)
        owners += [(first, name) for name in part.gaps]
    p_values = {
        owner: gap.p_value
        for owner, gap in zip(owners, (g for p in parts for g in p.gaps.values()), strict=True)
    }
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    remaining = iter(owners)
    done = [
        replace(
            part,
            gaps={k: replace(g, adjusted=adjusted[next(remaining)]) for k, g in part.gaps.items()},
        )
        for part in parts
    ]
    return done, len(p_values)
