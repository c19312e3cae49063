"""Judge a model, or its predictions, with intervals that respect patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion._door import public
from asfusion._random import RandomState, draw_seed
from asfusion._version import __version__
from asfusion.evaluation._card import Sheet, make_card
from asfusion.evaluation._checklists import make_checklist
from asfusion.evaluation._factors import Levels, read_factors
from asfusion.evaluation._inputs import Judged, Task, check_confidence
from asfusion.evaluation._judge import judge, read_rules
from asfusion.evaluation._patterns import Pattern, read_presence, score_patterns
from asfusion.evaluation._report_json import FORMAT, read_fields, write_fields
from asfusion.evaluation._report_page import ReportPage
from asfusion.evaluation._subsets import Subset, score_subsets
from asfusion.evaluation.intervals import Interval, score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.scoring import Rules
from asfusion.evaluation.subgroups import SubgroupAudit, audit_judged
from asfusion.exceptions import ConfigurationError, InputError

if TYPE_CHECKING:
    import pandas as pd

FramePart = Literal["scores", "roc", "calibration", "decision"]


@dataclass(frozen=True, eq=False, repr=False)
class Report(ReportPage):
    """What `evaluate` found: scores with intervals, and the counts behind its pictures.

    A report holds no row of the data. It prints, draws itself in a notebook, and can be
    saved and read as JSON.

    Parameters
    ----------
    task : str
        What was predicted: binary, multiclass, regression, or what else was registered.
    n_rows, n_groups : int
        Rows judged, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given. If not, each row counts as one.
    classes : tuple of str
        Names of the classes, the positive one last; empty for regression.
    shares : tuple of float
        Share of each class among the rows.
    threshold : float or None
        From which probability on a row is called positive; None unless binary. After a
        cross-validation the median of those of the folds' models.
    threshold_source : {"given", "model", "folds", "default"} or None
        Where it comes from. It is never chosen on the rows that are judged. With
        ``"folds"`` each row was called by the threshold of the model that judged it.
    prevalence : float or None
        Share of positives that predictive values and net benefit are for, as it was
        stated; None for that of the rows.
    mic : tuple of float
        Minimal important change of each target; empty if not stated.
    order : tuple of str
        The classes, the lowest first, if they were said to be ordered; else empty.
    confidence : float
        Coverage that the intervals aim at.
    n_bootstrap : int
        Number of bootstrap replicates.
    seed : int
        Seed of the replicates.
    scores : mapping of str to Interval
        Every score; its names are explained in the guide to evaluation.
    patterns : tuple of Pattern
        The first score by set of present modalities; empty for plain predictions.
    curves : mapping
        What `plot` draws.
    version : str
        Version of asfusion that made the report.
    subgroups : SubgroupAudit or None
        The scores by subgroup, if they were asked for.
    threshold_range : tuple of two floats, or None
        Lowest and highest threshold of the folds, averaged over repeats as predictions are;
        None where there is one for all rows.
    subsets : tuple of Subset
        The first score with every set of modalities, if it was asked for.
    privacy : str
        What a privacy audit of the model found; empty without one.

    Examples
    --------
    >>> import asfusion as af
    >>> report = af.evaluate([0.1, 0.4, 0.6, 0.8], y=[0, 1, 0, 1], n_bootstrap=100)
    >>> report.scores["auc"].estimate
    0.75
    >>> report.to_frame().loc["auc", "estimate"]
    np.float64(0.75)
    """

    task: Task
    n_rows: int
    n_groups: int
    is_grouped: bool
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    threshold: float | None
    threshold_source: str | None
    prevalence: float | None
    mic: tuple[float, ...]
    order: tuple[str, ...]
    confidence: float
    n_bootstrap: int
    seed: int
    scores: Mapping[str, Interval]
    patterns: tuple[Pattern, ...]
    curves: Mapping[str, Any]
    version: str = __version__
    subgroups: SubgroupAudit | None = None
    threshold_range: tuple[float, float] | None = None
    subsets: tuple[Subset, ...] = ()
    privacy: str = ""

    def to_frame(self, part: FramePart = "scores") -> pd.DataFrame:
        """Return the scores, or a curve, as a pandas DataFrame.

        Parameters
        ----------
        part : {"scores", "roc", "calibration", "decision"}
            What to return; curves are those of a binary outcome, and ``"decision"`` of a time to
            an event, too.

        Returns
        -------
        DataFrame
            One row per score; columns ``estimate``, ``low``, ``high`` and
            ``n_undefined``, the number of replicates in which the score was undefined.
            Of a curve, one row per point, with the band as ``low`` and ``high``.

        Raises
        ------
        ConfigurationError
            If the report has no such part.
        """
        import pandas as pd

        if part != "scores":
            if part not in get_args(FramePart) or part not in self.curves:
                msg = (
                    'part: expected "scores", or for a binary outcome "roc", "calibration" or '
                    '"decision", which a time to an event has, too, got another value for a '
                    f"{self.task} task."
                )
                raise ConfigurationError(msg)
            return pd.DataFrame(self.curves[part])
        rows = [(s.estimate, s.low, s.high, s.n_undefined) for s in self.scores.values()]
        columns = ["estimate", "low", "high", "n_undefined"]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(self.scores, name="score"))

    def to_json(self) -> str:
        """Return the report as JSON, which `from_json` reads.

        Returns
        -------
        str
            Numbers in full precision, undefined ones as null.
        """
        return write_fields(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read a report that `to_json` wrote.

        Parameters
        ----------
        text : str
            The JSON.

        Returns
        -------
        Report
            Equal numbers, equal pictures.

        Raises
        ------
        InputError
            If `text` is not such a report.
        """
        try:
            return cls(**read_fields(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            msg = (
                "Report.from_json: expected a report as JSON that this version wrote "
                f"({FORMAT!r}), got other text."
            )
            raise InputError(msg) from None

    def model_card(self, **provided: str) -> Sheet:
        """Return a model card: the numbers of this evaluation, and what you add in words.

        Parameters
        ----------
        **provided : str
            Texts such as ``intended_use="..."``; what is not given reads "not provided".

        Returns
        -------
        Sheet
            Shows itself in a notebook; ``str(card)`` is Markdown.

        Raises
        ------
        ConfigurationError
            If a text has a name that the card does not know.

        References
        ----------
        .. [1] Mitchell et al., "Model cards for model reporting", FAT* 2019.
           https://doi.org/10.1145/3287560.3287596
        """
        return make_card(self, provided)

    def checklist(self, name: str, provided: Mapping[str, str] | None = None) -> Sheet:
        """Return a reporting checklist, filled in as far as this evaluation knows.

        Parameters
        ----------
        name : {"tripod+ai", "claim"}
            TRIPOD+AI of 2024 [1]_, or the 2024 update of CLAIM [2]_. Items are named by
            their identifiers and told in our words: the published text is what counts.
        provided : dict of str to str, optional
            Your text by item, such as ``{"3a": "page 2"}``.

        Returns
        -------
        Sheet
            Shows itself in a notebook; ``str(checklist)`` is Markdown.

        Raises
        ------
        ConfigurationError
            If there is no such checklist or item.

        References
        ----------
        .. [1] Collins et al., "TRIPOD+AI statement", BMJ 2024.
           https://doi.org/10.1136/bmj-2023-078378
        .. [2] Tejani et al., "Checklist for artificial intelligence in medical imaging
           (CLAIM): 2024 update", Radiology: Artificial Intelligence 2024.
           https://doi.org/10.1148/ryai.240300
        """
        return make_checklist(self, name, provided or {})


@public
def evaluate(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    groups: Any = None,
    threshold: float | None = None,
    prevalence: float | None = None,
    thresholds: tuple[float, float] | None = None,
    mic: float | Sequence[float] | None = None,
    ordinal: bool | Sequence[Any] = False,
    horizons: float | Sequence[float] | None = None,
    classes: Any = None,
    subgroups: Any = None,
    subsets: bool | Sequence[Sequence[str]] = False,
    bands: Mapping[str, Any] | None = None,
    privacy_audit: Any = None,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    random_state: RandomState = 0,
) -> Report:
    """Judge a fitted model, or predictions, on rows that it has not seen.

    Parameters
    ----------
    model : fitted estimator or array
        Any classifier with `predict_proba` or regressor, of asfusion or not; or its
        predictions: probabilities of shape (n_rows,) for two classes or (n_rows,
        n_classes), or predicted targets.
    X : DataFrame or array of n_rows rows, optional
        The rows; not given beside predictions.
    y : array of shape (n_rows,) or (n_rows, n_targets)
        What is true.
    groups : array of shape (n_rows,), optional
        Patient of each row. Intervals resample patients; without them each row
        counts as one, and repeated visits make intervals too narrow.
    threshold : float, optional
        From which probability on a row is called positive. By default what the model
        brings as ``threshold_``, else 0.5. It is never tuned on the rows judged.
    prevalence : float, optional
        Share of positives where the model is to be used, for two classes. Predictive
        values and net benefit are then for there, by Bayes' rule, if the model tells
        positive from negative rows as well there as here. By default that of the rows.
    thresholds : tuple of two floats, optional
        From and to which threshold the decision curve goes, in whole percent: those at
        which somebody would act. By default (0.01, 0.99).
    mic : float or sequence of floats, optional
        Minimal important change of the target, in its units, or of each target: the
        report tells the share of rows whose error is no larger.
    ordinal : bool or sequence
        Whether three or more classes are ordered; adds weighted kappas of the most
        probable class. True orders classes that are numbers; names are listed in their
        order, the lowest first.
    horizons : float or sequence of floats, optional
        Times by which an event is predicted, in the unit of y, for times to an event; by default
        those by which a quarter, half and three quarters of the events were seen.
    classes : array, optional
        Classes in the order of the columns of predictions; for two classes the second
        is the positive one. By default those of the model, or the sorted ones in `y`.
        Columns of a frame of predictions are found by name.
    subgroups : str, sequence of str, or dict of str to array, optional
        What `audit_subgroups` takes as `by`: columns of X, ``"modalities"``, or values.
    subsets : bool or list of lists of str
        Whether the rows that have all modalities are also asked with every set of them, the cells
        of the others emptied: what an absent modality costs, and whether more is ever worse. Or
        the sets to ask about. True is for up to six modalities, each set a prediction of all rows.
    bands : dict of str to sequence of float, optional
        Edges by which a factor of numbers among `subgroups` is cut.
    privacy_audit : PrivacyAudit, optional
        What `asfusion.federated.privacy_audit` found of this model; its verdict is told with the
        scores.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that the intervals aim at.
    random_state : int, RandomState, Generator or None
        Seeds the replicates.

    Returns
    -------
    Report
        Scores with intervals, also by set of present modalities.

    Raises
    ------
    InputError
        If rows, targets, groups and predictions do not fit together, or only one class
        is there.
    ConfigurationError
        If a parameter is unusable, or the model gives no probabilities.

    Notes
    -----
    Scores are undefined in replicates that lack a class; those are left out and counted.
    Numbers of cells with fewer than 10 rows are not shown. The interval of
    ``scores["auc_delong"]`` is DeLong's, in the form for clustered rows if `groups` are
    given; see `asfusion.evaluation.delong`.

    References
    ----------
    .. [1] Vickers, Elkin, "Decision curve analysis: a novel method for evaluating prediction
       models", Medical Decision Making 2006. https://doi.org/10.1177/0272989X06295361
    .. [2] Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997.
       https://doi.org/10.2307/2533958

    Examples
    --------
    >>> import asfusion as af
    >>> report = af.evaluate([0.1, 0.4, 0.6, 0.8], y=[0, 1, 0, 1], n_bootstrap=100)
    >>> report.n_rows, report.threshold
    (4, 0.5)
    """
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_confidence(confidence)
    verdict = _verdict_of(privacy_audit)
    judged = judge(model, X, y, groups, classes)
    seed = draw_seed(random_state)
    rules = read_rules(
        model,
        judged,
        threshold=threshold,
        prevalence=prevalence,
        thresholds=thresholds,
        mic=mic,
        ordinal=ordinal,
        horizons=horizons,
    )
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    presence = {} if X is None else read_presence(model, X)
    factors = None if subgroups is None else read_factors(subgroups, X, model, len(judged), bands)
    report = replace(make_report(judged, rules, presence, factors, **options), privacy=verdict)
    if subsets is False:
        return report
    asked = score_subsets(model, X, y, groups, classes, subsets, report.patterns, options)
    return replace(report, subsets=asked)


def _verdict_of(audit: Any) -> str:
    verdict = "" if audit is None else getattr(audit, "verdict", None)
    if isinstance(verdict, str):
        return verdict
    msg = "privacy_audit: expected what asfusion.federated.privacy_audit returned, got a "
    raise ConfigurationError(f"{msg}{type(audit).__name__}.")


def make_report(
    judged: Judged,
    rules: Rules,
    presence: Mapping[str, NDArray[np.bool_]],
    factors: Mapping[str, Levels] | None,
    *,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> Report:
    """Return the report on rows that are read already."""
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    scoring = scoring_of(judged)
    scores, _ = score_intervals(scoring.scorer(judged, rules), width=len(judged), **options)
    audit = None
    if factors is not None:
        audit = audit_judged(judged, factors, rules.threshold, **options)
    spread = None if judged.cuts is None else (min(judged.cuts), max(judged.cuts))
    return Report(
        task=judged.task,
        n_rows=len(judged),
        n_groups=judged.n_groups,
        is_grouped=judged.is_grouped,
        classes=judged.classes,
        shares=scoring.shares(judged),
        threshold=rules.threshold,
        threshold_source=rules.source,
        prevalence=rules.prevalence,
        mic=rules.mic,
        order=_in_order(judged, rules.ranks),
        confidence=float(confidence),
        n_bootstrap=int(n_bootstrap),
        seed=seed,
        scores=scoring.with_others(scores, judged, float(confidence)),
        patterns=score_patterns(judged, presence, options),
        curves=scoring.curves(judged, rules, **options),
        subgroups=audit,
        threshold_range=spread and (float(spread[0]), float(spread[1])),
    )


def _in_order(judged: Judged, ranks: NDArray[np.int64] | None) -> tuple[str, ...]:
    return () if ranks is None else tuple(judged.classes[k] for k in np.argsort(ranks))
