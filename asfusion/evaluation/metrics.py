"""Scores of predictions, in plain numpy, for one or thousands of weightings of the rows.

`binary_scores`, `multiclass_scores` and `regression_scores` score predictions once. The
scorer classes behind them count each group of rows (a patient) as often as they are told,
for many replicates at once: `asfusion.evaluation.intervals` builds on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._calibration import N_BINS, Recalibration, bin_numbers
from asfusion.evaluation._confusion import confusion_scores
from asfusion.evaluation._ordinal import Ordinal
from asfusion.evaluation._ranking import Ranking, area_under_curve, average_precision, divide

Floats = NDArray[np.float64]


class ScoreInfo(NamedTuple):
    """What a score is called, and which way is better."""

    label: str
    better: str  # "high", "low", or the ideal value
    ideal: float
    part: str = "{label}, class {part}"  # what it is called for the part named in brackets


SCORES: dict[str, ScoreInfo] = {
    "auc": ScoreInfo("AUC", "high", 1.0),
    "auc_delong": ScoreInfo("AUC, DeLong", "high", 1.0),
    "average_precision": ScoreInfo("Average precision", "high", 1.0),
    "sensitivity": ScoreInfo("Sensitivity", "high", 1.0),
    "specificity": ScoreInfo("Specificity", "high", 1.0),
    "ppv": ScoreInfo("Positive predictive value", "high", 1.0),
    "npv": ScoreInfo("Negative predictive value", "high", 1.0),
    "lr_positive": ScoreInfo("Positive likelihood ratio", "high", np.inf),
    "lr_negative": ScoreInfo("Negative likelihood ratio", "low", 0.0),
    "net_benefit": ScoreInfo("Net benefit", "high", 1.0),
    "balanced_accuracy": ScoreInfo("Balanced accuracy", "high", 1.0),
    "accuracy": ScoreInfo("Accuracy", "high", 1.0),
    "kappa_linear": ScoreInfo("Linearly weighted kappa", "high", 1.0),
    "kappa_quadratic": ScoreInfo("Quadratically weighted kappa", "high", 1.0),
    "class_error": ScoreInfo("Mean absolute class error", "low", 0.0),
    "log_loss": ScoreInfo("Log-loss", "low", 0.0),
    "brier": ScoreInfo("Brier score", "low", 0.0),
    "calibration_slope": ScoreInfo("Calibration slope", "ideal", 1.0),
    "calibration_intercept": ScoreInfo("Calibration in the large", "ideal", 0.0),
    "ece": ScoreInfo("Expected calibration error", "low", 0.0),
    "mae": ScoreInfo("Mean absolute error", "low", 0.0),
    "rmse": ScoreInfo("Root mean squared error", "low", 0.0),
    "r2": ScoreInfo("R²", "high", 1.0),
    "within_mic": ScoreInfo("Within the minimal important change", "high", 1.0),
}


class Scorer(Protocol):
    """Scores one set of predictions, with each group counted as often as asked."""

    n_groups: int

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of groups (R, n_groups)."""
        ...


class Grouped:
    """Rows of a scorer and the groups that they belong to."""

    def __init__(self, n_rows: int, groups: NDArray[np.int64] | None) -> None:
        self.groups = np.arange(n_rows) if groups is None else groups
        self.n_groups = int(self.groups.max()) + 1
        self.sizes = np.bincount(self.groups, minlength=self.n_groups).astype(np.float64)

    def sums(self, columns: Sequence[Floats]) -> Floats:
        """Return the sum of each column over the rows of each group, (n_groups, K)."""
        table = np.stack(columns, axis=1)
        out = np.zeros((self.n_groups, table.shape[1]))
        np.add.at(out, self.groups, table)
        return out


class Calibrated(Grouped):
    """A scorer of probabilities, which knows the gaps of its calibration."""

    _gaps: Floats  # sums of truth minus probability, groups by bins

    def ece_by_chance(self, counts: Floats) -> Floats:
        """Return what the calibration error (R,) is if no bin has a gap beyond chance.

        Chance is how far the gaps of each replicate lie from those of the rows.
        """
        as_is = self._gaps.sum(axis=0) / self.sizes.sum()
        drawn = divide(counts @ self._gaps, (counts @ self.sizes)[:, None])
        return np.asarray(np.abs(drawn - as_is).sum(axis=1))


class BinaryScorer(Calibrated):
    """Score probabilities of a binary outcome.

    Parameters
    ----------
    positive : ndarray of shape (N,), bool
        Rows of the positive class.
    probability : ndarray of shape (N,)
        Predicted probability of it.
    threshold : float
        Rows with at least this probability are called positive.
    cuts : ndarray of shape (N,), optional
        Such a threshold for each row, by which it is called instead. Net benefit has one
        price for a false positive, and stays that of `threshold`.
    prevalence : float, optional
        Share of positives for predictive values and net benefit; that of the rows, each
        time as they are weighted, by default.
    groups : ndarray of shape (N,), optional
        Number from 0 of the group of each row; each row is its own by default.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        probability: Floats,
        *,
        threshold: float = 0.5,
        cuts: Floats | None = None,
        prevalence: float | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(len(positive), groups)
        self.ranking = Ranking(positive, probability)
        # Everything is kept in the order of the ranking, so that weights are gathered once.
        order = self.ranking.order
        self.groups = self.groups[order]
        self._positive, self._probability = positive[order], probability[order]
        self._threshold, self._prevalence = threshold, prevalence
        self._sums = self._row_sums(threshold if cuts is None else cuts[order])
        self._gaps = self._sums[:, 6:]
        self._at_threshold = None if cuts is None else self.sums(self._cells(threshold))
        self._recalibration = Recalibration(self._positive, self._probability)

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of groups (R, n_groups)."""
        weights = self.weights(counts)
        curve = self.ranking.cumulate(weights)
        scores = {"auc": area_under_curve(*curve), "average_precision": average_precision(*curve)}
        sums = counts @ self._sums
        rule = self._threshold, self._prevalence
        scores |= confusion_scores(sums[:, :4], *rule)
        if self._at_threshold is not None:
            by_one = confusion_scores(counts @ self._at_threshold, *rule)
            scores["net_benefit"] = by_one["net_benefit"]
        total = sums[:, :4].sum(axis=1)
        scores["log_loss"] = divide(sums[:, 4], total)
        scores["brier"] = divide(sums[:, 5], total)
        scores["calibration_slope"] = self._recalibration.slopes(weights)
        scores["calibration_intercept"] = self._recalibration.shifts(weights)
        scores["ece"] = divide(np.abs(sums[:, 6:]).sum(axis=1), total)
        return scores

    def weights(self, counts: Floats) -> Floats:
        """Return the weight of each row (R, N), rows in the order of the ranking."""
        return np.take(counts, self.groups, axis=1)

    def _cells(self, threshold: float | Floats) -> list[Floats]:
        """Return which rows are true and false positives, false and true negatives."""
        y, called = self._positive, self._probability >= threshold
        cells = (y & called, ~y & called, y & ~called, ~y & ~called)
        return [cell.astype(np.float64) for cell in cells]

    def _row_sums(self, threshold: float | Floats) -> Floats:
        """Return sums of each group: the confusion table, two losses, calibration by bin."""
        y, p = self._positive, self._probability
        losses = [_surprise(np.where(y, p, 1.0 - p)), (p - y) ** 2]
        in_bin = bin_numbers(p)[None, :] == np.arange(N_BINS)[:, None]
        return self.sums([*self._cells(threshold), *losses, *(in_bin * (y - p))])


class MulticlassScorer(Calibrated):
    """Score probabilities of three or more classes.

    Parameters
    ----------
    classes : ndarray of shape (N,), int
        Number of the true class of each row.
    probabilities : ndarray of shape (N, K)
        Predicted probability of each class.
    names : sequence of str
        Names of the K classes, for scores of one class against the rest.
    ranks : ndarray of shape (K,), int, optional
        Place of each class in their order, from 0, if they have one.
    called : ndarray of shape (N,), int, optional
        Number of the class that each row is called; the most probable one by default.
    groups : ndarray of shape (N,), optional
        Number from 0 of the group of each row; each row is its own by default.
    """

    def __init__(
        self,
        classes: NDArray[np.int64],
        probabilities: Floats,
        *,
        names: Sequence[str],
        ranks: NDArray[np.int64] | None = None,
        called: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(len(classes), groups)
        self._names = list(names)
        is_class = classes[:, None] == np.arange(len(self._names))
        self._rankings = [
            Ranking(is_class[:, k], probabilities[:, k]) for k in range(len(self._names))
        ]
        called = probabilities.argmax(axis=1) if called is None else called
        own = probabilities[np.arange(len(classes)), classes]
        top = probabilities[np.arange(len(classes)), called]
        in_bin = bin_numbers(top)[None, :] == np.arange(N_BINS)[:, None]
        right = called == classes
        self._ordinal = None if ranks is None else Ordinal(ranks, classes, called)
        columns = [
            *is_class.T.astype(np.float64),
            *(is_class & right[:, None]).T.astype(np.float64),
            _surprise(own),
            ((probabilities - is_class) ** 2).sum(axis=1),
            *(in_bin * (right - top)),
            *(self._ordinal.columns if self._ordinal else ()),
        ]
        self._sums = self.sums(columns)
        first = 2 * len(self._names) + 2
        self._gaps = self._sums[:, first : first + N_BINS]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of groups (R, n_groups)."""
        n_classes = len(self._names)
        areas, precisions = [], []
        for ranking in self._rankings:
            curve = ranking.cumulate(np.take(counts, self.groups[ranking.order], axis=1))
            areas.append(area_under_curve(*curve))
            precisions.append(average_precision(*curve))
        sums = counts @ self._sums
        size, right = sums[:, :n_classes], sums[:, n_classes : 2 * n_classes]
        rest = sums[:, 2 * n_classes :]
        in_bins, ordinal = rest[:, 2 : 2 + N_BINS], rest[:, 2 + N_BINS :]
        total = size.sum(axis=1)
        scores = {
            "auc": np.mean(areas, axis=0),
            "average_precision": np.mean(precisions, axis=0),
            "balanced_accuracy": divide(right, size).mean(axis=1),
            "accuracy": divide(right.sum(axis=1), total),
            **(self._ordinal(ordinal, size) if self._ordinal else {}),
            "log_loss": divide(rest[:, 0], total),
            "brier": divide(rest[:, 1], total),
            "ece": divide(np.abs(in_bins).sum(axis=1), total),
        }
        scores |= {f"auc[{name}]": area for name, area in zip(self._names, areas, strict=True)}
        return scores


class RegressionScorer(Grouped):
    """Score predicted numbers; several targets are averaged with equal weight.

    Parameters
    ----------
    y : ndarray of shape (N, T)
        True targets.
    predicted : ndarray of shape (N, T)
        Predicted targets.
    mic : float or sequence of T floats, optional
        Minimal important change, in the units of each target.
    groups : ndarray of shape (N,), optional
        Number from 0 of the group of each row; each row is its own by default.
    """

    def __init__(
        self,
        y: Floats,
        predicted: Floats,
        *,
        mic: float | Sequence[float] | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(len(y), groups)
        error = predicted - y
        # Around the mean, so that the variance is not a difference of two large sums.
        centred = y - y.mean(axis=0)
        columns = [np.abs(error), error**2, centred, centred**2]
        self._has_mic = mic is not None
        if mic is not None:
            # 2.1 - 1.1 exceeds 1 by rounding alone.
            columns.append((np.abs(error) <= np.asarray(mic) * (1 + 1e-12) + 1e-12) * 1.0)
        self._n_blocks, self._n_targets = len(columns), y.shape[1]
        self._sums = self.sums([np.ones(len(y)), *(c for block in columns for c in block.T)])

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of groups (R, n_groups)."""
        sums = counts @ self._sums
        total = sums[:, :1]
        blocks = sums[:, 1:].reshape(len(counts), self._n_blocks, self._n_targets)
        absolute, squared, first, second = (divide(blocks[:, i], total) for i in range(4))
        variance = second - first**2
        variance[variance <= 1e-14 * second] = 0.0  # one distinct value: R² is undefined
        scores = {
            "mae": absolute.mean(axis=1),
            "rmse": np.sqrt(squared).mean(axis=1),
            "r2": (1.0 - divide(squared, variance)).mean(axis=1),
        }
        if self._has_mic:
            scores["within_mic"] = divide(blocks[:, 4], total).mean(axis=1)
        return scores


def binary_scores(
    y: Any,
    probability: Any,
    *,
    threshold: float = 0.5,
    prevalence: float | None = None,
    sample_weight: Any = None,
) -> dict[str, float]:
    """Return discrimination, calibration and use of predicted probabilities.

    Parameters
    ----------
    y : array of shape (N,), bool or 0 and 1
        Whether each row is positive.
    probability : array of shape (N,)
        Predicted probability of that.
    threshold : float
        Rows with at least this probability are called positive.
    prevalence : float, optional
        Share of positives where the predictions are to be used: predictive values and net
        benefit are those that the sensitivity and specificity of the rows give there. By
        default that of the rows.
    sample_weight : array of shape (N,), optional
        Weight of each row.

    Returns
    -------
    dict of str to float
        Scores by the names in `SCORES`; NaN where one is undefined, infinite for
        likelihood ratios over zero. Net benefit is true positives per row less false
        positives per row, these times the odds of the threshold [1]_. The expected
        calibration error has ten bins of equal width. Calibration in the large is the
        shift of the log-odds that makes the mean right, the slope comes from logistic
        recalibration [2]_; both read 0 and 1 as one millionth away from it.

    References
    ----------
    .. [1] Vickers, Elkin, "Decision curve analysis: a novel method for evaluating prediction
       models", Medical Decision Making 2006. https://doi.org/10.1177/0272989X06295361
    .. [2] Van Calster et al., "Calibration: the Achilles heel of predictive analytics",
       BMC Medicine 2019. https://doi.org/10.1186/s12916-019-1466-7

    Examples
    --------
    >>> from asfusion.evaluation.metrics import binary_scores
    >>> scores = binary_scores([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8])
    >>> scores["auc"], scores["sensitivity"]
    (0.75, 0.5)
    """
    positive = np.asarray(y).astype(bool)
    scorer = BinaryScorer(
        positive,
        np.asarray(probability, np.float64),
        threshold=threshold,
        prevalence=prevalence,
    )
    return _once(scorer, sample_weight)


def multiclass_scores(
    y: Any,
    probabilities: Any,
    *,
    names: Sequence[str] | None = None,
    ranks: Any = None,
    sample_weight: Any = None,
) -> dict[str, float]:
    """Return discrimination and calibration of probabilities of several classes.

    Parameters
    ----------
    y : array of shape (N,), int
        Number of the true class of each row, from 0.
    probabilities : array of shape (N, K)
        Predicted probability of each class.
    names : sequence of str, optional
        Names of the classes; their numbers by default.
    ranks : array of shape (K,), int, optional
        Place of each class in their order, from 0, if they have one.
    sample_weight : array of shape (N,), optional
        Weight of each row.

    Returns
    -------
    dict of str to float
        ``auc`` and ``average_precision`` are means over each class against the rest,
        NaN if a class has no row; ``auc[name]`` are the parts. The Brier score sums over
        classes (0 to 2); the calibration error is that of the most probable class. With
        `ranks` also weighted kappas [1]_ of the most probable class, and by how many
        steps it is wrong on average.

    References
    ----------
    .. [1] Cohen, "Weighted kappa: nominal scale agreement provision for scaled disagreement
       or partial credit", Psychological Bulletin 1968. https://doi.org/10.1037/h0026256

    Examples
    --------
    >>> from asfusion.evaluation.metrics import multiclass_scores
    >>> p = [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]
    >>> multiclass_scores([0, 1, 2], p)["auc"]
    1.0
    """
    table = np.asarray(probabilities, np.float64)
    names = [str(k) for k in range(table.shape[1])] if names is None else names
    ranks = None if ranks is None else np.asarray(ranks, np.int64)
    scorer = MulticlassScorer(np.asarray(y, np.int64), table, names=names, ranks=ranks)
    return _once(scorer, sample_weight)


def regression_scores(
    y: Any,
    predicted: Any,
    *,
    mic: float | Sequence[float] | None = None,
    sample_weight: Any = None,
) -> dict[str, float]:
    """Return errors of predicted numbers.

    Parameters
    ----------
    y : array of shape (N,) or (N, T)
        True targets.
    predicted : array of the same shape
        Predicted targets.
    mic : float or sequence of T floats, optional
        Minimal important change, in the units of each target.
    sample_weight : array of shape (N,), optional
        Weight of each row.

    Returns
    -------
    dict of str to float
        ``mae`` and ``rmse`` in the units of y, ``r2`` unitless; with `mic` also the
        share of rows whose error is no larger. Means over targets.

    Examples
    --------
    >>> from asfusion.evaluation.metrics import regression_scores
    >>> regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])["r2"]
    0.5
    """
    true, guess = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (y, predicted))
    return _once(RegressionScorer(true, guess, mic=mic), sample_weight)


def _once(scorer: Scorer, sample_weight: Any) -> dict[str, float]:
    weights = np.ones(scorer.n_groups) if sample_weight is None else sample_weight
    scores = scorer(np.asarray(weights, np.float64)[None, :])
    return {name: float(values[0]) for name, values in scores.items()}


def _surprise(probability: Floats) -> Floats:
    """Return minus the logarithm; of zero, that of the smallest step from one."""
    return np.asarray(-np.log(np.maximum(probability, np.finfo(np.float64).eps)))
