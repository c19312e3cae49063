"""Arithmetic of binary tests: what their figures are, and whether they can stand together.

Sensitivity, specificity, accuracy, predictive values and F1 of one test come from one table
of four counts. Published figures that no such table gives are more common than they should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import NamedTuple

from asfusion._checks import check_choice, check_integer, check_number, quoted
from asfusion._door import public
from asfusion.clinical._confusion_tables import (
    CELLS,
    FIGURES,
    ConfusionTable,
    Ranges,
    Rounded,
    find_shares,
    find_tables,
    round_back,
)
from asfusion.exceptions import ConfigurationError

_FEWEST_DECIMALS = 2


@dataclass(frozen=True)
class Coherence:
    """Whether figures can come from one table.

    Parameters
    ----------
    coherent : bool
        Whether at least one table of counts rounds to all of them.
    reasons : tuple of str
        Why not: figures that exclude each other, and what each would have to be.
    implied : dict of str to (float, float)
        Lowest and highest value of every figure over the tables that fit; empty if none
        does. Unitless fractions.
    n_tables : int or None
        How many tables of `n` rows fit; None if n is unknown or too large to go through.
    tables : tuple of ConfusionTable
        Those tables, the first thousand of them.

    Examples
    --------
    >>> from asfusion.clinical.coherence import check_metric_coherence
    >>> found = check_metric_coherence(sensitivity=0.9, specificity=0.8, prevalence=0.1)
    >>> low, high = found.implied["ppv"]
    >>> found.coherent, round(low, 2), round(high, 2)
    (True, 0.31, 0.35)
    """

    coherent: bool
    reasons: tuple[str, ...]
    implied: Ranges
    n_tables: int | None = None
    tables: tuple[ConfusionTable, ...] = ()


class BinaryTest(NamedTuple):
    """What a binary test does at a given prevalence.

    Parameters
    ----------
    auc : float
        Area under the curve through its one point: the mean of sensitivity and
        specificity.
    ppv, npv : float
        Positive and negative predictive value.
    accuracy : float
        Share of right calls.
    lr_positive, lr_negative : float
        Likelihood ratios of a positive and a negative result.

    Examples
    --------
    >>> from asfusion.clinical.coherence import binary_test
    >>> binary_test(sensitivity=0.75, specificity=0.5, prevalence=0.5)
    BinaryTest(auc=0.625, ppv=0.6, npv=0.666..., accuracy=0.625, lr_positive=1.5, lr_negative=0.5)
    """

    auc: float
    ppv: float
    npv: float
    accuracy: float
    lr_positive: float
    lr_negative: float


@public
def check_metric_coherence(
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    accuracy: float | None = None,
    ppv: float | None = None,
    npv: float | None = None,
    f1: float | None = None,
    tp: int | None = None,
    fp: int | None = None,
    fn: int | None = None,
    tn: int | None = None,
    n: int | None = None,
    n_positive: int | None = None,
    prevalence: float | None = None,
    decimals: int | Mapping[str, int] | None = None,
) -> Coherence:
    """Return whether the figures and counts of one binary test can come from one table.

    With `n`, or all four counts, every table of that many rows is considered. Without, tables
    of any size are: the test is exact then too, up to a share of one row in ten million, save
    that of counts only the ratios are looked at.

    Parameters
    ----------
    sensitivity, specificity, accuracy, ppv, npv, f1 : float, optional
        The figures as printed, as fractions of one.
    tp, fp, fn, tn : int, optional
        True positives, false positives, false negatives and true negatives, as printed.
    n : int, optional
        Number of rows.
    n_positive : int, optional
        Number of rows with the condition.
    prevalence : float, optional
        Share of rows with the condition, as a fraction.
    decimals : int or dict of str to int, optional
        Decimals that the fractions were rounded to: 3 for "84.7 %". By default the most
        that any of the six figures shows, at least 2, and for `prevalence` its own.

    Returns
    -------
    Coherence
        The verdict, the reasons, and what the figures imply for the others.

    Raises
    ------
    ConfigurationError
        If neither a figure nor a count is given, a figure is no fraction, the counts are of no
        row, or `n_positive` exceeds `n`.

    References
    ----------
    .. [1] Fazekas and Kovács, "Testing the consistency of performance scores reported for
       binary classification problems", 2023. https://doi.org/10.48550/arXiv.2310.12527

    Examples
    --------
    >>> from asfusion.clinical.coherence import check_metric_coherence
    >>> found = check_metric_coherence(sensitivity=1.0, specificity=0.956, accuracy=0.847)
    >>> found.coherent
    False
    >>> print(found.reasons[-1])
    sensitivity 1 and specificity 0.956 allow accuracy 0.9555 to 1, got 0.847.
    >>> check_metric_coherence(sensitivity=1.0, specificity=0.667, accuracy=0.8, n=10).tables
    (ConfusionTable(tp=4, fp=2, fn=0, tn=4),)
    >>> print(check_metric_coherence(tp=4, fp=2, fn=0, tn=4, specificity=0.75).reasons[-1])
    fp 2 and tn 4 allow specificity 0.6667 to 0.6667, got 0.75.
    """
    given = {
        "sensitivity": sensitivity, "specificity": specificity, "accuracy": accuracy,
        "ppv": ppv, "npv": npv, "f1": f1, "prevalence": prevalence,
    }  # fmt: skip
    values = {
        k: check_number(v, k, minimum=0, maximum=1) for k, v in given.items() if v is not None
    }
    cells = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    counts = {k: check_integer(v, k, minimum=0) for k, v in cells.items() if v is not None}
    if not values and not counts:
        names = quoted((*FIGURES, *CELLS), limit=11)
        raise ConfigurationError(f"Figures: expected at least one of {names}, got none.")
    _check_counts(n, n_positive)
    figures = _as_printed(values, decimals)
    if n is None and len(counts) == len(CELLS):
        n = _all_rows(counts)
    return _Problem(values, figures, counts, n, n_positive).solve()


class _Problem:
    """Figures that may or may not fit together."""

    def __init__(
        self,
        values: dict[str, float],
        figures: dict[str, Rounded],
        counts: dict[str, int],
        n: int | None,
        n_positive: int | None,
    ) -> None:
        self.values, self.figures, self.counts = values, figures, counts
        self.n, self.n_positive = n, n_positive

    def solve(self) -> Coherence:
        shares = find_shares(self.figures, self.counts)
        if shares is None:
            return Coherence(False, self._share_reasons(), {})
        if self.n is None:
            return self._without_n(shares)
        found = find_tables(self.figures, self.counts, self.n, self._positives())
        if found is None:
            return Coherence(True, (), shares)
        if not found.count:
            return Coherence(False, (self._count_reason(),), {}, 0)
        return Coherence(True, (), found.ranges, found.count, found.tables)

    def _without_n(self, shares: Ranges) -> Coherence:
        """Return the verdict of shares, unless the number of positives forbids what is theirs."""
        theirs = [name for name in ("sensitivity", "tp", "fn") if name in self._names()]
        if self.n_positive is not None and theirs:
            alone = find_tables(*self._only(theirs), self.n_positive, self.n_positive)
            if alone is not None and not alone.count:
                reason = f"No count of {self.n_positive} positive rows gives {self._name(theirs)}."
                return Coherence(False, (reason,), {})
        return Coherence(True, (), shares)

    def _share_reasons(self) -> tuple[str, ...]:
        """Return what each figure would have to be, for figures that exclude each other."""
        clash = self._smallest_clash(lambda names: find_shares(*self._only(names)) is not None)
        reasons = [f"No table of counts, of any size, gives {self._name(clash)}."]
        for name in clash:
            others = [other for other in clash if other != name]
            ranges = find_shares(*self._only(others))
            if ranges is not None and name in ranges:
                low, high = ranges[name]
                allow = "allows" if len(others) == 1 else "allow"
                reasons.append(
                    f"{self._name(others)} {allow} {name} {low:.4g} to {high:.4g}, "
                    f"got {self.values[name]:g}."
                )
        return tuple(reasons)

    def _count_reason(self) -> str:
        def fits(names: list[str]) -> bool:
            found = find_tables(*self._only(names), int(self.n or 0), self.n_positive)
            return found is None or found.count > 0

        clash = self._smallest_clash(fits)
        which = "" if self.n_positive is None else f", {self.n_positive} of them positive,"
        return (
            f"No table of {self.n} rows{which} gives {self._name(clash)}, "
            "although tables of other sizes do."
        )

    def _smallest_clash(self, fits: Callable[[list[str]], bool]) -> list[str]:
        """Return figures that do not fit together, none of which can be spared."""
        clash = self._names()
        for name in list(clash):
            rest = [other for other in clash if other != name]
            if rest and not fits(rest):
                clash = rest
        return clash

    def _positives(self) -> int | None:
        """Return how many rows are positive, as it is given or counted."""
        if self.n_positive is None and {"tp", "fn"} <= self.counts.keys():
            return self.counts["tp"] + self.counts["fn"]
        return self.n_positive

    def _names(self) -> list[str]:
        return [*self.figures, *self.counts]

    def _only(self, names: Iterable[str]) -> tuple[dict[str, Rounded], dict[str, int]]:
        wanted = set(names)
        figures = {name: figure for name, figure in self.figures.items() if name in wanted}
        return figures, {name: count for name, count in self.counts.items() if name in wanted}

    def _name(self, names: Iterable[str]) -> str:
        told = {name: f"{value:g}" for name, value in self.values.items()} | self.counts
        words = [f"{name} {told[name]}" for name in names]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _check_counts(n: object, n_positive: object) -> None:
    if n is not None:
        check_integer(n, "n", minimum=1)
    if n_positive is not None:
        check_integer(n_positive, "n_positive", minimum=0)
    if isinstance(n, int) and isinstance(n_positive, int) and n_positive > n:
        msg = f"n_positive: expected at most n={n}, got {n_positive}. Check which is which."
        raise ConfigurationError(msg)


def _all_rows(counts: Mapping[str, int]) -> int:
    if not any(counts.values()):
        msg = "Counts: expected at least one row, got none. Pass the counts of the four cells."
        raise ConfigurationError(msg)
    return sum(counts.values())


def _as_printed(
    values: Mapping[str, float], decimals: int | Mapping[str, int] | None
) -> dict[str, Rounded]:
    """Return what each figure was before it was rounded."""
    shown = {name: _shown_decimals(value) for name, value in values.items()}
    of_metrics = max((d for name, d in shown.items() if name != "prevalence"), default=0)
    places = {name: shown[name] if name == "prevalence" else of_metrics for name in values}
    places = {name: max(d, _FEWEST_DECIMALS) for name, d in places.items()}
    if isinstance(decimals, Mapping):
        for name, places_of_one in decimals.items():
            check_choice(name, "decimals", FIGURES)
            places[name] = check_integer(places_of_one, f"decimals[{name!r}]", minimum=0)
    elif decimals is not None:
        places = dict.fromkeys(values, check_integer(decimals, "decimals", minimum=0))
    return {name: round_back(value, places[name]) for name, value in values.items()}


def _shown_decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


@public
def binary_test(sensitivity: float, specificity: float, prevalence: float) -> BinaryTest:
    """Return what a binary test does at a given prevalence.

    Parameters
    ----------
    sensitivity : float
        Share of rows with the condition that are called positive.
    specificity : float
        Share of rows without the condition that are called negative.
    prevalence : float
        Share of rows with the condition.

    Returns
    -------
    BinaryTest
        Unitless; NaN where a share of no rows is asked for.

    Raises
    ------
    ConfigurationError
        If an argument is no fraction of one.

    References
    ----------
    .. [1] Altman and Bland, "Diagnostic tests 2: predictive values", BMJ 1994;309:102.
       https://doi.org/10.1136/bmj.309.6947.102

    Examples
    --------
    >>> from asfusion.clinical.coherence import binary_test
    >>> test = binary_test(sensitivity=0.9, specificity=0.8, prevalence=0.1)
    >>> round(test.ppv, 3), round(test.lr_positive, 3)
    (0.333, 4.5)
    """
    sens = check_number(sensitivity, "sensitivity", minimum=0, maximum=1)
    spec = check_number(specificity, "specificity", minimum=0, maximum=1)
    share = check_number(prevalence, "prevalence", minimum=0, maximum=1)
    tp, fn = share * sens, share * (1.0 - sens)
    tn, fp = (1.0 - share) * spec, (1.0 - share) * (1.0 - spec)
    return BinaryTest(
        auc=(sens + spec) / 2.0,
        ppv=_divide(tp, tp + fp),
        npv=_divide(tn, tn + fn),
        accuracy=tp + tn,
        lr_positive=_divide(sens, 1.0 - spec),
        lr_negative=_divide(1.0 - sens, spec),
    )


@public
def wilson_ci(k: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share, which holds for few rows too.

    Parameters
    ----------
    k : int
        Rows that count.
    n : int
        All rows.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        The interval, unitless.

    Raises
    ------
    ConfigurationError
        If `n` is below 1, `k` exceeds it, or `confidence` is not inside 0 to 1.

    References
    ----------
    .. [1] Wilson, "Probable inference, the law of succession, and statistical inference",
       Journal of the American Statistical Association 1927;22:209-212.
       https://doi.org/10.1080/01621459.1927.10502953

    Examples
    --------
    >>> from asfusion.clinical.coherence import wilson_ci
    >>> low, high = wilson_ci(4, 6)
    >>> round(low, 2), round(high, 2)
    (0.3, 0.9)
    """
    total = check_integer(n, "n", minimum=1)
    count = check_integer(k, "k", minimum=0)
    if count > total:
        msg = f"k: expected at most n={total}, got {count}. Check which is which."
        raise ConfigurationError(msg)
    level = check_number(confidence, "confidence", minimum=0, maximum=1, exclusive=True)
    z2 = NormalDist().inv_cdf(0.5 + level / 2.0) ** 2
    share = count / total
    centre = share + z2 / (2 * total)
    reach = math.sqrt(z2 * (share * (1.0 - share) + z2 / (4 * total)) / total)
    low, high = ((centre + sign * reach) / (1.0 + z2 / total) for sign in (-1, 1))
    # At 0 and n the formula gives these ends exactly; floats miss them by 1e-17.
    return (0.0 if count == 0 else low), (1.0 if count == total else high)


@public
def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall.

    Parameters
    ----------
    precision : float
        Positive predictive value.
    recall : float
        Sensitivity.

    Returns
    -------
    float
        F1, unitless; 0 if both are 0.

    Raises
    ------
    ConfigurationError
        If an argument is no fraction of one.

    Examples
    --------
    >>> from asfusion.clinical.coherence import f1
    >>> round(f1(precision=0.8, recall=0.5), 3)
    0.615
    """
    ppv = check_number(precision, "precision", minimum=0, maximum=1)
    sens = check_number(recall, "recall", minimum=0, maximum=1)
    return 2.0 * ppv * sens / (ppv + sens) if ppv + sens else 0.0


@public
def net_benefit(tp: int, fp: int, n: int, threshold: float) -> float:
    """Return the net benefit of treating the rows that a test calls positive.

    Parameters
    ----------
    tp : int
        True positives.
    fp : int
        False positives.
    n : int
        All rows.
    threshold : float
        Probability of the condition at which treating and waiting are worth the same.

    Returns
    -------
    float
        True positives per row, net of false positives at the odds of the threshold.

    Raises
    ------
    ConfigurationError
        If the counts exceed `n`, or the threshold is not from 0 to below 1.

    References
    ----------
    .. [1] Vickers and Elkin, "Decision curve analysis: a novel method for evaluating
       prediction models", Medical Decision Making 2006;26:565-574.
       https://doi.org/10.1177/0272989X06295361

    Examples
    --------
    >>> from asfusion.clinical.coherence import net_benefit
    >>> round(net_benefit(tp=80, fp=30, n=400, threshold=0.2), 5)
    0.18125
    """
    total = check_integer(n, "n", minimum=1)
    hits, alarms = check_integer(tp, "tp", minimum=0), check_integer(fp, "fp", minimum=0)
    if hits + alarms > total:
        msg = f"tp, fp: expected at most n={total} together, got {hits + alarms}. Check the counts."
        raise ConfigurationError(msg)
    return hits / total - alarms / total * _odds(threshold)


@public
def net_benefit_treat_all(prevalence: float, threshold: float) -> float:
    """Return the net benefit of treating every row.

    Parameters
    ----------
    prevalence : float
        Share of rows with the condition.
    threshold : float
        Probability of the condition at which treating and waiting are worth the same.

    Returns
    -------
    float
        True positives per row, net of false positives at the odds of the threshold.

    Raises
    ------
    ConfigurationError
        If the prevalence is no fraction, or the threshold is not from 0 to below 1.

    References
    ----------
    .. [1] Vickers and Elkin, "Decision curve analysis: a novel method for evaluating
       prediction models", Medical Decision Making 2006;26:565-574.
       https://doi.org/10.1177/0272989X06295361

    Examples
    --------
    >>> from asfusion.clinical.coherence import net_benefit_treat_all
    >>> round(net_benefit_treat_all(prevalence=0.3, threshold=0.2), 3)
    0.125
    """
    share = check_number(prevalence, "prevalence", minimum=0, maximum=1)
    return share - (1.0 - share) * _odds(threshold)


@public
def cohen_kappa(both_pos: int, r1_only: int, r2_only: int, both_neg: int) -> float:
    """Return the agreement of two readers beyond chance.

    Parameters
    ----------
    both_pos : int
        Rows that both readers call positive.
    r1_only : int
        Rows that only the first reader calls positive.
    r2_only : int
        Rows that only the second reader calls positive.
    both_neg : int
        Rows that both readers call negative.

    Returns
    -------
    float
        Cohen's kappa, unitless; NaN if both readers give one and the same verdict to all
        rows, because chance alone agrees then.

    Raises
    ------
    ConfigurationError
        If a count is negative or all are zero.

    References
    ----------
    .. [1] Cohen, "A coefficient of agreement for nominal scales", Educational and
       Psychological Measurement 1960;20:37-46.
       https://doi.org/10.1177/001316446002000104

    Examples
    --------
    >>> from asfusion.clinical.coherence import cohen_kappa
    >>> round(cohen_kappa(both_pos=20, r1_only=5, r2_only=10, both_neg=15), 3)
    0.4
    """
    counts = {
        "both_pos": both_pos, "r1_only": r1_only, "r2_only": r2_only, "both_neg": both_neg,
    }  # fmt: skip
    a, b, c, d = (check_integer(count, name, minimum=0) for name, count in counts.items())
    n = a + b + c + d
    if not n:
        msg = "Counts: expected at least one row, got none. Pass the counts of the four cells."
        raise ConfigurationError(msg)
    # In whole numbers: n² times observed and expected agreement.
    expected = (a + b) * (a + c) + (c + d) * (b + d)
    return _divide(n * (a + d) - expected, n * n - expected)


def _odds(threshold: float) -> float:
    share = check_number(threshold, "threshold", minimum=0, maximum=1)
    if share == 1.0:
        msg = "threshold: expected below 1, got 1, at which no treatment is ever worth it."
        raise ConfigurationError(msg)
    return share / (1.0 - share)


def _divide(numerator: float, denominator: float) -> float:
    if denominator:
        return numerator / denominator
    return math.inf if numerator else math.nan
