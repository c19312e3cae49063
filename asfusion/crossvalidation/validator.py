"""Judge a model on patients that it has not seen, each of them once per repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_jobs, check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress_shown, told_once
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._splits import Split, make_folds
from asfusion._warn import warn_user
from asfusion.crossvalidation._blackout import black_out, compare_blackout
from asfusion.crossvalidation._folds import Canary, mean_within, score_folds, split_by_site
from asfusion.crossvalidation._runs import FoldRows, check_unfitted, run_folds, take_rows
from asfusion.crossvalidation.result import CrossValidation
from asfusion.duplicates.finder import find_duplicates
from asfusion.duplicates.found import Duplicates
from asfusion.estimators._types import CV
from asfusion.evaluation._inputs import (
    Judged,
    check_confidence,
    read_groups,
    single_column,
)
from asfusion.evaluation._judge import fold_rules, make_scorer, read_as, unanswered
from asfusion.evaluation.intervals import score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.report import make_report
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._asked import target_of
from asfusion.targets._base import Target

Rows = NDArray[np.int64]
Repeats = list[list[Split]]

_ON_COPIES = ("raise", "warn", "ignore", "join")


@public
def cross_validate(
    model: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: CV | Literal["leave-one-site-out"] = 5,
    repeats: int = 1,
    sites: Any = None,
    duplicates: Literal["raise", "warn", "ignore", "join"] = "warn",
    canary: bool = False,
    blackout: bool = False,
    n_jobs: int | None = None,
    n_bootstrap: int = 2000,
    confidence: float = 0.95,
    verbose: int = 1,
    random_state: RandomState = 0,
) -> CrossValidation:
    """Judge a model on rows of patients that it has not seen.

    In each fold a fresh copy of the model is fitted on the other patients. All rows are
    judged together by what the copies say of them, and fold by fold.

    Parameters
    ----------
    model : estimator
        Unfitted classifier with `predict_proba`, or regressor: of asfusion, of
        scikit-learn, or a Pipeline. A search such as ``GridSearchCV`` makes the
        cross-validation nested.
    X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
        One patient (or visit) per row.
    y : array of shape (n_rows,) or (n_rows, n_targets)
        Class labels for a classifier, targets for a regressor.
    groups : array of shape (n_rows,), optional
        Patient of each row. A patient's rows stay in one fold, and intervals resample
        patients. Without them each row counts as a patient.
    cv : int, scikit-learn splitter, iterable of (train, test), or "leave-one-site-out"
        Folds; an integer makes shuffled folds by patient, stratified for classes.
    repeats : int
        How often the whole is repeated, with other folds where `cv` is an integer.
        Predictions of a row are averaged.
    sites : array of shape (n_rows,), optional
        Hospital of each row, for ``cv="leave-one-site-out"``: each is judged by a model
        that was fitted on the others. What is told first is then the mean of the scores
        within sites.
    duplicates : {"warn", "raise", "ignore", "join"}
        What to do if different patients share an image, a note or a row, which is looked for
        before anything is fitted (see `find_duplicates`), below the ``root`` that the encoders
        of the model have. ``"join"`` keeps such patients in one fold; ``"ignore"`` does not look.
    canary : bool
        Whether to do everything a second time with labels that were permuted among patients.
        What scores above chance there has leaked. Takes as long again.
    blackout : bool
        Whether to do everything a second time with whole films on which the regions that encoders
        look at are black. What it scores then, with the paired difference, it does not owe to
        those regions. Takes as long again.
    n_jobs : int, optional
        Processes at most, each fit on one thread; -1 is one for each core. Results do not depend
        on the number. None fits in this process, on all its threads, which a network may show in
        its last digits, unless ``joblib.parallel_config`` says otherwise.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that the intervals aim at.
    verbose : int
        0 is silent; 1 shows a progress bar.
    random_state : int, RandomState, Generator or None
        Seeds folds and replicates, and every ``random_state`` of the model that is not set.

    Returns
    -------
    CrossValidation
        Out-of-fold predictions, a report on them, scores per fold, shared contents, and
        the canary. It draws itself in a notebook.

    Raises
    ------
    InputError
        If rows, targets, groups or sites cannot be used as given, a patient was seen at two
        sites, there are too few patients for the folds, or contents are shared and
        `duplicates` is ``"raise"``.
    ConfigurationError
        If a parameter is unusable, a part of the model was fitted before and stays so, a split
        mixes a patient's rows, or a row is tested twice.
    WorkerError
        If a process, or a machine of a cluster, was lost with its work, and lost again.

    Notes
    -----
    With `groups`, an integer ``cv`` of a search, of calibration, stacking or a model such as
    ``LogisticRegressionCV`` (alone, or as a step of a Pipeline) is replaced, in the copy, by
    folds of the training patients, stratified for classes. So it chooses by patients that were
    not fitted, too. A splitter in its place stays, and that of a search gets the groups. What
    counts folds inside of these sees a part of the rows, and splits it by row. `groups` are
    passed to ``fit`` where it takes them.

    Each row is called positive or not by the threshold of the copy that judged it, where that
    has one. Net benefit, which has one price, is at the median of those thresholds.

    The canary gives each patient the labels of another, all visits together, and makes folds
    anew. Patients who share a content count as one there, so copies on both sides of a fold
    show.

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, patient = rng.normal(size=(120, 3)), np.repeat(np.arange(40), 3)
    >>> y = (X[:, 0] + rng.normal(size=120) > 0).astype(int)
    >>> result = af.cross_validate(LogisticRegression(), X, y, groups=patient, n_bootstrap=200)
    >>> round(result.report.scores["auc"].estimate, 2)
    0.88
    >>> len(result.fold_scores), result.predictions.shape
    (5, (120,))
    """
    seed = draw_seed(random_state)
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_confidence(confidence)
    check_integer(repeats, "repeats", minimum=1)
    check_jobs(n_jobs)
    check_choice(duplicates, "duplicates", _ON_COPIES)
    _check_model(model)
    frame = Frame.read(X)
    check_row_labels(X, y=y, groups=groups, sites=sites)
    y = single_column(y)
    kind = target_of(model)
    target = kind.read(y, len(frame))
    numbers, is_grouped = read_groups(groups, len(frame))
    patients = numbers if is_grouped else None
    black = black_out(model) if blackout else None
    found = _look_for_copies(frame, patients, duplicates, _root_of(model), verbose)
    if duplicates == "join" and found is not None and found.links:
        numbers, is_grouped = found.joined_groups, True
    rows = _read(X, frame, y, target, kind, numbers if is_grouped else None)
    plan = _Plan(cv, sites, int(repeats), rows, seed)
    folds = plan.folds(rows.y)
    options: dict[str, Any] = {"n_bootstrap": int(n_bootstrap), "confidence": float(confidence)}
    options["seed"] = derive_seed(seed, "bootstrap")
    trial = None
    if canary:
        units = numbers if found is None else found.joined_groups
        trial = _CanaryRun(rows, plan, target, units)
    with progress_shown(bool(verbose)), told_once(bool(verbose)):
        answers, cuts = run_folds(model, rows, folds, seed=seed, n_jobs=n_jobs)
        dark = black and run_folds(black, rows, folds, seed=seed, n_jobs=n_jobs)[0]
        sung = None if trial is None else trial.run(model, seed, n_jobs, options)
    result = _result(rows, target, answers, cuts, folds, plan.names, found, sung, options)
    return result if dark is None else _with_blackout(result, rows, target, answers, dark, options)


# -- rows ------------------------------------------------------------------------------


def _check_model(model: Any) -> None:
    if isinstance(model, type) or not all(
        hasattr(model, n) or hasattr(type(model), n) for n in ("fit", "predict", "get_params")
    ):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        msg = f"model: expected an unfitted scikit-learn or asfusion estimator, got {got}."
        raise ConfigurationError(msg)
    check_unfitted(model, "model")
    # Some, such as StackingClassifier, know what they can say only once they are fitted.
    if hasattr(model, "predict"):
        target_of(model).check_part(model, "model")


def _root_of(model: Any) -> Any:
    """Return the folder where the encoders of a model let paths start, if it is one."""
    params = model.get_params()
    roots = {str(params[name]): params[name] for name in params if name.endswith("__root")}
    roots.pop("None", None)
    return next(iter(roots.values())) if len(roots) == 1 else None


def _look_for_copies(
    frame: Frame, groups: Rows | None, duplicates: str, root: Any, verbose: int
) -> Duplicates | None:
    """Return what different patients share, told before anything is fitted."""
    if duplicates == "ignore":
        return None
    found = find_duplicates(frame, groups, root=root, verbose=verbose)
    if not found.links or duplicates == "join":
        return found
    fix = (
        "They may stand on both sides of a fold and flatter the model. Correct the numbers of "
        "the patients, or pass duplicates='join' to keep them together."
    )
    if duplicates == "raise":
        raise InputError(f"X: expected no content under two patients. {found.verdict} {fix}")
    warn_user(f"{found.verdict} {fix}")
    return found


def _read(
    X: Any, frame: Frame, y: Any, target: NDArray[Any], kind: Target, groups: Rows | None
) -> FoldRows:
    native = X if isinstance(X, np.ndarray) else frame.to_native()
    # A Series keeps its name, by which an estimator knows a score that it must not see.
    labels = y if hasattr(y, "to_numpy") else target
    kind.fit(target).check_varied()
    return FoldRows(native, kind.code(target), labels, kind, groups)


class _Plan:
    """Makes the folds of each repeat, for the labels as they are or as they were permuted."""

    def __init__(self, cv: Any, sites: Any, repeats: int, rows: FoldRows, seed: int) -> None:
        self.rows, self.seed, self.repeats = rows, seed, repeats
        self.names: tuple[str, ...] = ()
        by_site = split_by_site(cv, sites, len(rows.y), rows.groups)
        if by_site is not None:
            self.names, cv = by_site
        elif not hasattr(cv, "split") and isinstance(cv, Iterable):
            cv = list(cv)  # the same splits for every repeat, also from a generator
        self.cv = cv

    def folds(self, y: NDArray[Any], *keys: str) -> Repeats:
        """Return the folds of each repeat, stratified by `y` where they are made here."""
        made = [
            make_folds(
                y,
                self.cv,
                groups=self.rows.groups,
                strata=self.rows.target.strata(y),
                seed=derive_seed(self.seed, "folds", repeat, *keys),
            )
            for repeat in range(self.repeats)
        ]
        for folds in made:
            if not folds:
                raise ConfigurationError("cv: expected at least one split, got none.")
            tested = np.bincount(np.concatenate([test for _, test in folds]))
            again = int((tested > 1).sum())
            if again:
                msg = (
                    f"cv: expected each row in at most one test part, got {again} row(s) in "
                    "several. Use a splitter that deals each row once, and repeats= to repeat it."
                )
                raise ConfigurationError(msg)
        return made


# -- canary ----------------------------------------------------------------------------


def permute_labels(y: NDArray[Any], groups: Rows, seed: int) -> NDArray[Any]:
    """Return labels dealt anew among patients, all those of a patient together.

    Each patient gets the labels of one other, in their order, cut or repeated to the number
    of his or her own rows.
    """
    order = np.argsort(groups, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    donors = np.random.default_rng(seed).permutation(len(rows_of))
    permuted = np.empty_like(y)
    for rows, donor in zip(rows_of, donors, strict=True):
        given = rows_of[donor]
        permuted[rows] = y[given[np.arange(len(rows)) % len(given)]]
    return permuted


class _CanaryRun:
    """The same cross-validation with labels that nothing in X can know."""

    def __init__(self, rows: FoldRows, plan: _Plan, target: NDArray[Any], units: Rows) -> None:
        order = permute_labels(np.arange(len(rows.y)), units, derive_seed(plan.seed, "canary"))
        self.units = units
        self.rows = FoldRows(
            rows.X, rows.y[order], take_rows(rows.labels, order), rows.target, rows.groups
        )
        self.folds = plan.folds(self.rows.y, "canary")
        self.by_site = bool(plan.names)

    def run(
        self, model: Any, seed: int, n_jobs: int | None, options: dict[str, Any]
    ) -> Canary | None:
        """Return the score of a model that was fitted to permuted labels."""
        answers, _ = run_folds(
            model, self.rows, self.folds, seed=derive_seed(seed, "canary"), n_jobs=n_jobs
        )
        numbers = _fold_numbers(self.folds, len(self.rows.y))
        predicted, tested = _average(answers, numbers)
        part = _judged(self.rows, predicted, self.units, True).take(tested)
        name, chance = scoring_of(part).canary
        if self.by_site:
            return Canary(name, mean_within(part, numbers[tested, 0], **options)[0][name], chance)
        scores, _ = score_intervals(make_scorer(part), width=len(part), **options)
        return Canary(name, scores[name], chance)


# -- result ----------------------------------------------------------------------------


def _fold_numbers(folds: Repeats, n_rows: int) -> Rows:
    """Return the number of the fold that tests each row in each repeat, -1 if none does."""
    numbers = np.full((n_rows, len(folds)), -1)
    for repeat, parts in enumerate(folds):
        for number, (_, test) in enumerate(parts):
            numbers[test, repeat] = number
    return numbers


def _average(
    answers: NDArray[np.float64], numbers: Rows
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return predictions (N, K) averaged over repeats, and the rows that have any."""
    known = numbers.T >= 0
    count = known.sum(axis=0)
    total = np.where(known[:, :, None], answers, 0.0).sum(axis=0)
    mean = np.full(total.shape, np.nan)
    tested = np.flatnonzero(count)
    mean[tested] = total[tested] / count[tested, None]
    # What is equal in every repeat stays so: a rounded mean may miss a threshold.
    least = np.where(known[:, :, None], answers, np.inf).min(axis=0)
    most = np.where(known[:, :, None], answers, -np.inf).max(axis=0)
    mean[tested] = np.clip(mean[tested], least[tested], most[tested])
    return mean, tested


def _judged(
    rows: FoldRows, predicted: Any, groups: Rows, is_grouped: bool, cuts: Any = None
) -> Judged:
    """Return all rows with predictions (N, K) of them, and thresholds (N,) if there are any."""
    kind = rows.target
    shown = kind.judged(predicted)
    truth = unanswered(kind, rows.y, groups, is_grouped)
    return replace(truth, predicted=shown, cuts=cuts)


def _result(
    rows: FoldRows,
    target: NDArray[Any],
    answers: NDArray[np.float64],
    cuts: NDArray[np.float64] | None,
    folds: Repeats,
    names: Sequence[str],
    found: Duplicates | None,
    canary: Canary | None,
    options: dict[str, Any],
) -> CrossValidation:
    numbers = _fold_numbers(folds, len(rows.y))
    predicted, tested = _average(answers, numbers)
    groups = rows.groups
    mine = None if groups is None else groups[tested]
    together = read_as(rows.target, predicted[tested], target[tested], mine)
    if cuts is not None:
        together = replace(together, cuts=_average(cuts[:, :, None], numbers)[0][tested, 0])
    report = make_report(together, fold_rules(together), {}, None, **options)
    units, is_grouped = read_groups(groups, len(rows.y))
    judged = [
        _judged(rows, answer, units, is_grouped, None if cuts is None else cuts[repeat])
        for repeat, answer in enumerate(answers)
    ]
    shown = rows.target.judged(predicted)
    return CrossValidation(
        report=report,
        predictions=shown[:, 0] if shown.ndim == 2 and shown.shape[1] == 1 else shown,
        folds=numbers,
        fold_scores=score_folds(judged, numbers, tuple(names)),
        sites=tuple(names),
        duplicates=found,
        canary=canary,
        # Sites are the same folds in every repeat.
        within_sites=mean_within(together, numbers[tested, 0], **options)[0] if names else None,
    )


def _with_blackout(
    result: CrossValidation,
    rows: FoldRows,
    target: NDArray[Any],
    answers: NDArray[np.float64],
    dark: NDArray[np.float64],
    options: dict[str, Any],
) -> CrossValidation:
    """Return a result that knows what the same model says of films without their regions."""
    parts = []
    for said in (answers, dark):
        predicted, tested = _average(said, result.folds)
        groups = None if rows.groups is None else rows.groups[tested]
        parts.append(read_as(rows.target, predicted[tested], target[tested], groups))
    found = compare_blackout(result.report.primary, parts[0], parts[1], options)
    return replace(result, blackout=found)
