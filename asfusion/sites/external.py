"""A model judged where it is new, against what its own rows were like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._random import RandomState, draw_seed
from asfusion._version import __version__
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._subgroup_scores import holm
from asfusion.evaluation.report import Report
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.sites._drift import Finding, compare_columns, compare_presence
from asfusion.sites._external_page import ExternalPage
from asfusion.sites._outcome import Outcome, closed_test, measure, outcome_of_report
from asfusion.sites._sums import NumberSums
from asfusion.sites.reference import Reference, judged_rows, read_inputs

if TYPE_CHECKING:
    import pandas as pd

_ALPHA = 0.05  # of all comparisons together: half for the inputs, half for the outcome
_EVENTS_PER_COLUMN = 10
_MOST_COLUMNS = 10


@dataclass(frozen=True, eq=False, repr=False)
class ExternalValidation(ExternalPage):
    """What `asfusion.external_validation` found. It holds no row of the data.

    Parameters
    ----------
    n_rows : int
        Patients whose inputs were compared.
    findings : tuple of Finding
        Every comparison, with p-values and whether it counts as found.
    reference, new : Outcome or None
        How the model does on the reference's rows and on the new ones; None without y.
    update : {"none", "intercept", "slope", "refit"} or None
        The least that has to be updated for probabilities to hold here, by a closed test; None
        without y.
    update_p_values : mapping of str to float
        Of each smaller update against a refit.
    has_inputs : bool
        Whether the reference tells of inputs: a report does not.
    version : str
        Version of asfusion that looked.

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> from asfusion.sites import make_reference
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 200)})
    >>> reference = make_reference(None, X)
    >>> found = af.external_validation(None, X / 10, reference=reference)
    >>> [(f.name, f.unit) for f in found.found]
    [('crp', 'mg/dL for mg/L')]
    """

    n_rows: int
    findings: tuple[Finding, ...]
    reference: Outcome | None
    new: Outcome | None
    update: str | None
    update_p_values: Mapping[str, float]
    has_inputs: bool = True
    version: str = __version__

    @property
    def found(self) -> tuple[Finding, ...]:
        """The comparisons that differ, at 5 % for all of them together."""
        return tuple(finding for finding in self.findings if finding.is_found)

    @property
    def case_mix(self) -> float:
        """How much of the change of the AUC is that the patients here are more, or less, alike.

        It is the change of the AUC that would be expected if every probability were true [1]_; NaN
        where the reference does not tell.

        References
        ----------
        .. [1] van Klaveren et al., "A new concordance measure for risk prediction models in
           external validation settings", Statistics in Medicine 2016.
           https://doi.org/10.1002/sim.6997
        """
        if self.new is None or self.reference is None:
            return float("nan")
        return self.new.expected_auc - self.reference.expected_auc

    def to_frame(self) -> pd.DataFrame:
        """Return one row per comparison.

        Returns
        -------
        DataFrame
            The fields of `Finding`, those found first.
        """
        import pandas as pd

        rows = sorted(self.findings, key=lambda f: (not f.is_found, f.adjusted))
        return pd.DataFrame([vars(f) for f in rows], columns=list(Finding.__dataclass_fields__))


@public
def external_validation(
    model: Any,
    X_new: Any,
    y_new: Any = None,
    *,
    reference: Reference | Report,
    groups: Any = None,
    n_bootstrap: int = 500,
    random_state: RandomState = 0,
) -> ExternalValidation:
    """Say how new rows differ from a model's own, and what of it has to be updated there.

    Inputs are compared column by column with the reference: how cells are distributed, whether
    numbers seem to be in another unit, how many are missing, which modalities rows lack. With
    `y_new` the outcome is, too: prevalence, calibration, discrimination. What of a change of the
    AUC is due to other patients, and what to the model, follows from the AUC that the predictions
    themselves would expect [2]_. The least update that the new rows do not speak against is
    found by a closed test [3]_: none, another intercept, intercept and slope, or a refit.

    Parameters
    ----------
    model : fitted estimator or array of shape (n_rows,)
        The model, or its probabilities of the second class.
    X_new : DataFrame of n_rows rows
        Rows of another hospital, or of another time.
    y_new : array of shape (n_rows,), optional
        What is true of them.
    reference : Reference or Report
        What `asfusion.sites.make_reference` made of the model's own rows; or a report of
        `asfusion.evaluate`, which tells nothing of inputs.
    groups : array of shape (n_rows,), optional
        Patient of each row. The first row of each counts among the inputs; standard errors
        resample patients.
    n_bootstrap : int
        Replicates behind standard errors.
    random_state : int, RandomState, Generator or None
        Seeds them.

    Returns
    -------
    ExternalValidation
        What was compared, what differs, and what to do.

    Raises
    ------
    InputError
        If there are fewer than 20 patients, or fewer than 10 of a class.
    ColumnError
        If a column of the reference is missing, or of another kind.
    ConfigurationError
        If the reference is none, or of other classes.

    Notes
    -----
    At most 5 % of comparisons of rows that do not differ find anything, as far as the tests
    hold: Holm's correction, half for the inputs, half for the outcome. What is too small for the
    rows there are is not found; dates and free text are not compared.

    NOTE[DIFF]: the largest model of the closed test has the log-odds and up to ten columns of
    numbers beside them, one for ten events: the coefficients of a network cannot be refitted on
    few rows. A membership model [1]_ needs rows of both hospitals; without them the spread of
    the predictions says how the patients differ.

    References
    ----------
    .. [1] Debray et al., "A new framework to enhance the interpretation of external validation
       studies of clinical prediction models", Journal of Clinical Epidemiology 2015.
       https://doi.org/10.1016/j.jclinepi.2014.06.018
    .. [2] van Klaveren et al., "A new concordance measure for risk prediction models in external
       validation settings", Statistics in Medicine 2016. https://doi.org/10.1002/sim.6997
    .. [3] Vergouwe et al., "A closed testing procedure to select an appropriate method for updating
       prediction models", Statistics in Medicine 2017. https://doi.org/10.1002/sim.7179

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> from asfusion.sites import make_reference
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 300)})
    >>> risk = 1 / (1 + np.exp(2 - X.crp / 5))
    >>> y = (rng.random(300) < risk).astype(int)
    >>> reference = make_reference(risk, X, y)
    >>> healthier = (rng.random(300) < risk / 3).astype(int)
    >>> af.external_validation(risk, X, healthier, reference=reference).update != "none"
    True
    """
    check_integer(n_bootstrap, "n_bootstrap", minimum=50)
    known, before = _read_reference(reference)
    frame, there = read_inputs(model, X_new, groups)
    found: list[Finding] = []
    if known is not None:
        frame.check_columns(tuple(known.columns), "external_validation")
        columns = compare_columns(known.columns, frame, known.n_rows)
        found = _corrected(columns + compare_presence(known.presence, known.n_rows, there))
    if y_new is None:
        if known is None:
            raise InputError("y_new: expected what is true beside a report, got None.")
        return ExternalValidation(len(frame), tuple(found), before, None, None, {})
    judged = judged_rows(model, X_new, y_new, groups)
    now = measure(judged, n_bootstrap, draw_seed(random_state))
    if before is not None:
        _check_same(before, now)
        found += _corrected(_compare_outcomes(before, now))
    update, p_values = _update(judged, known, Frame.read(X_new))
    return ExternalValidation(
        len(frame), tuple(found), before, now, update, p_values, known is not None
    )


def _read_reference(reference: Any) -> tuple[Reference | None, Outcome | None]:
    if hasattr(reference, "presence") and hasattr(reference, "columns"):
        return reference, reference.outcome
    if hasattr(reference, "scores") and hasattr(reference, "shares"):
        return None, outcome_of_report(reference)
    msg = (
        "reference: expected what asfusion.sites.make_reference gave, or a report of "
        f"asfusion.evaluate, got {type(reference).__name__}."
    )
    raise ConfigurationError(msg)


def _check_same(before: Outcome, now: Outcome) -> None:
    if before.classes != now.classes:
        msg = (
            "y_new: expected the classes of the reference, got others. Name them alike, and take "
            "the same one for positive."
        )
        raise ConfigurationError(msg)


def _corrected(findings: Sequence[Finding]) -> list[Finding]:
    adjusted = holm([finding.p_value for finding in findings]) if findings else []
    return [
        replace(finding, adjusted=p, is_found=p <= _ALPHA / 2)
        for finding, p in zip(findings, adjusted, strict=True)
    ]


def _compare_outcomes(before: Outcome, now: Outcome) -> list[Finding]:
    from scipy.stats import fisher_exact

    table = [[o.n_positive, o.n_rows - o.n_positive] for o in (before, now)]
    shares = before.prevalence, now.prevalence
    found = [
        Finding(
            "outcome", "prevalence", *shares, shares[1] - shares[0], float(fisher_exact(table)[1])
        )
    ]
    for kind in ("intercept", "slope"):
        values = getattr(before, kind), getattr(now, kind)
        errors = getattr(before, f"{kind}_error"), getattr(now, f"{kind}_error")
        found.append(_difference(kind, values, errors))
    aucs = before.auc, now.auc
    if np.isfinite(before.expected_auc):
        excess = before.auc - before.expected_auc, now.auc - now.expected_auc
        told = _difference("discrimination", excess, (before.excess_error, now.excess_error))
        found.append(replace(told, reference=aucs[0], new=aucs[1]))
    else:
        found.append(_difference("discrimination", aucs, (before.auc_error, now.auc_error)))
    return found


def _difference(kind: str, values: tuple[float, float], errors: tuple[float, float]) -> Finding:
    from scipy.stats import norm

    shift, error = values[1] - values[0], float(np.hypot(*errors))
    p_value = float(2.0 * norm.sf(abs(shift) / error)) if error > 0 else float(shift == 0)
    p_value = p_value if np.isfinite(p_value) else 1.0
    return Finding("outcome", kind, *values, shift, p_value)


def _update(judged: Judged, known: Reference | None, frame: Frame) -> tuple[str, dict[str, float]]:
    """Return the least update that fits, asked of one row per patient."""
    first = np.sort(np.unique(judged.groups, return_index=True)[1])
    own, frame = judged.take(first), frame.take(first)
    positive = own.y == 1
    most = min(_MOST_COLUMNS, int(min(positive.sum(), (~positive).sum())) // _EVENTS_PER_COLUMN)
    names = [] if known is None else list(known.columns)
    numbers = [n for n in names if known and isinstance(known.columns[n], NumberSums)]
    inputs = _standardised(frame, numbers)[:, : max(0, most - 2)]
    return closed_test(positive, own.predicted, inputs)


def _standardised(frame: Frame, names: Sequence[str]) -> NDArray[np.float64]:
    """Return columns with mean 0 and variance 1, missing cells at the mean, those that vary."""
    columns = []
    for name in names:
        values = frame.numbers(name)
        if np.isnan(values).all():
            continue
        values = np.where(np.isnan(values), np.nanmean(values), values)
        if values.std() > 0:
            columns.append((values - values.mean()) / values.std())
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))
