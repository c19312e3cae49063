"""Whether one column says another one, judged on patients that it was not learned from.

Dimensions: N rows, L levels of what tells, K levels of what is told.
"""

from __future__ import annotations

from itertools import pairwise
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

N_FOLDS = 5
_FEWEST = 20  # patients; of each of two levels at least _FEWEST_OF_LEVEL
_FEWEST_OF_LEVEL = 5
# Of numbers cut into classes: measurements of few patients may part well by luck.
_FEWEST_CUT = 100
_FEWEST_OF_TARGET = 50
_CROWD = 0.45
_CHANCE = 7.0  # the log odds by which an agreement is no coincidence among all columns
_ALL, _NEARLY_ALL = 0.99, 0.95
_ORDERED = 0.999
_BAND = 0.15
_FEWEST_NEAR = 5


def folds_of(patients: Codes) -> Codes:
    """Return the fold of each row, a patient's rows in one."""
    order = np.random.default_rng(0).permutation(int(patients.max(initial=-1)) + 1)
    return np.asarray((order % N_FOLDS)[patients])


def chance(classes: Codes) -> float:
    """Return the accuracy of whoever always says the commonest class."""
    return float(np.bincount(classes).max()) / len(classes)


def skill(right: float, by_chance: float) -> float:
    """Return an accuracy on a scale from 0, that of chance, to 1."""
    return (right - by_chance) / (1.0 - by_chance) if by_chance < 1.0 else 0.0


def is_enough(classes: Codes, patients: Codes, n_columns: int) -> bool:
    """Return whether an agreement with these classes is no coincidence among so many columns."""
    pairs = np.unique(patients * (int(classes.max()) + 1) + classes)
    counts = np.sort(np.bincount(pairs % (int(classes.max()) + 1)))[::-1]
    if len(counts) < 2 or counts[1] < _FEWEST_OF_LEVEL or len(np.unique(patients)) < _FEWEST:
        return False
    n, m = int(counts.sum()), int(counts[1])
    ways = lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1)
    return bool(ways - np.log(max(1, n_columns)) > _CHANCE)


def told_by_levels(
    levels: Codes, classes: Codes, patients: Codes, n_columns: int
) -> tuple[float, float]:
    """Return the accuracy with which levels tell classes, each by the commonest elsewhere.

    And the same by chance. Rows whose level no other fold has are left aside: nothing is said
    of them. Both are zero where too few are left to tell.
    """
    folds = folds_of(patients)
    n_levels, n_classes = int(levels.max()) + 1, int(classes.max()) + 1
    counts = np.zeros((N_FOLDS, n_levels, n_classes))
    np.add.at(counts, (folds, levels, classes), 1.0)
    others = counts.sum(axis=0) - counts
    said = others.sum(axis=2)[folds, levels] > 0
    if 2 * said.sum() < len(said) or not is_enough(classes[said], patients[said], n_columns):
        return 0.0, 0.0
    told = others.argmax(axis=2)[folds, levels]
    return float(np.mean((told == classes)[said])), chance(classes[said])


def told_by_cuts(values: Numbers, classes: Codes, patients: Codes) -> tuple[float, float, Numbers]:
    """Return the accuracy with which cuts of numbers tell classes, also of unseen patients.

    And the cuts between them: a class may have two heaps.
    """
    from sklearn.tree import DecisionTreeClassifier

    folds, column = folds_of(patients), values[:, None]
    right = np.zeros(len(values), dtype=bool)
    tree = DecisionTreeClassifier(max_leaf_nodes=int(classes.max()) + 2, random_state=0)
    for fold in range(N_FOLDS):
        judge = folds == fold
        if judge.any() and not judge.all():
            tree.fit(column[~judge], classes[~judge])
            right[judge] = tree.predict(column[judge]) == classes[judge]
    tree.fit(column, classes)
    own = float(np.mean(tree.predict(column) == classes))
    cuts = np.sort(tree.tree_.threshold[tree.tree_.children_left >= 0])
    # Between parts that are called alike there is no cut.
    ends = np.r_[values.min() - 1.0, cuts, values.max() + 1.0]
    called = tree.predict(((ends[1:] + ends[:-1]) / 2.0)[:, None])
    return own, float(right.mean()), cuts[called[1:] != called[:-1]]


def is_told_by_cuts(
    values: Numbers, classes: Codes, patients: Codes, *, is_target: bool = False
) -> tuple[bool, float]:
    """Return whether cuts of numbers tell classes because one was made of the other.

    And their accuracy in unseen patients. Two kinds of patients that differ much leave a valley
    between their measurements. Where a cut was made for the class, the numbers pass it as if it
    were not there; where numbers were made of the classes, the gap is wider than all that they
    vary within one. Where the numbers are the target itself, less is asked for: few columns
    that it did not make part it cleanly.
    """
    own, right, cuts = told_by_cuts(values, classes, patients)
    by_chance = chance(classes)
    # Beside a cut, which patients a fold lacks decides where it is put.
    if skill(own, by_chance) < _ALL or skill(right, by_chance) < _NEARLY_ALL:
        return False, right
    if _is_jittered(values, classes):
        return True, right
    n_patients = len(np.unique(patients))
    fewest, passes = (_FEWEST_OF_TARGET, _has_no_valley) if is_target else (_FEWEST_CUT, is_passed)
    if n_patients < fewest:
        return False, right
    # Each cut among the numbers on either side of it: beyond the next one are other heaps.
    ends = np.r_[-np.inf, cuts, np.inf]
    beside = zip(ends, cuts, ends[2:], strict=False)
    near = ((values[(values > low) & (values <= high)], cut) for low, cut, high in beside)
    n_passed = sum(passes(some, cut) for some, cut in near)
    return n_passed > 0 and (is_target or 3 * n_passed >= 2 * len(cuts)), right


def is_passed(values: Numbers, cut: float) -> bool:
    """Return whether numbers pass a cut as if it were not there, on any scale they may have."""
    if not _passes(values, cut):
        return False
    least = float(values.min())
    if least < 0:
        return True
    # What spreads by factors may hide a valley at its crowded end.
    shift = float(values[values > 0].min(initial=1.0)) if least == 0 else 0.0
    return _passes(np.log(values + shift), float(np.log(cut + shift)))


def _passes(values: Numbers, cut: float) -> bool:
    """Return whether there is no valley, and one side at least does not thin out towards it."""
    if not _has_no_valley(values, cut):
        return False
    below, above = cut - values[values <= cut], values[values > cut] - cut
    return max(_crowd(below), _crowd(above)) >= _CROWD


def _has_no_valley(values: Numbers, cut: float) -> bool:
    """Return whether numbers lie as densely at a cut as on the sparser side of it."""
    low, high = np.quantile(values, [0.1, 0.9])
    steps = np.diff(np.unique(values))
    half = max(_BAND * float(high - low), 0.51 * float(np.median(steps)) if len(steps) else 0.0)
    near = int((np.abs(values - cut) <= half).sum())
    below = int(((values < cut - half) & (values >= cut - 3 * half)).sum())
    above = int(((values > cut + half) & (values <= cut + 3 * half)).sum())
    return near >= _FEWEST_NEAR and near >= 0.5 * min(below, above)


def _crowd(distances: Numbers) -> float:
    """Return the share of the nearer half of numbers that is nearer than half of its reach."""
    reach = float(np.median(distances))
    return 2.0 * float(np.mean(distances <= 0.5 * reach))


def _is_jittered(values: Numbers, classes: Codes) -> bool:
    """Return whether each class is a narrow heap, far from the others."""
    heaps = [values[classes == k] for k in np.unique(classes)]
    ends = sorted((float(heap.min()), float(heap.max())) for heap in heaps)
    widest = max(high - low for low, high in ends)
    gaps = [after[0] - before[1] for before, after in pairwise(ends)]
    return bool(gaps) and min(gaps) > 2.0 * widest


def order_agreement(values: Numbers, numbers: Numbers) -> float:
    """Return the rank correlation of two columns of numbers, whichever way it goes."""
    from scipy.stats import rankdata

    one, other = rankdata(values), rankdata(numbers)
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(one, other)[0, 1]))


def is_ordered_alike(agreement: float, patients: Codes) -> bool:
    """Return whether two columns of numbers order rows alike, but for rounding."""
    return agreement >= _ORDERED and len(np.unique(patients)) >= _FEWEST


def follows_curve(values: Numbers, numbers: Numbers, patients: Codes) -> float:
    """Return the R2 of the ranks of numbers, read off a curve through other patients' rows."""
    from scipy.stats import rankdata

    folds, ranks = folds_of(patients), rankdata(numbers)
    told = np.full(len(ranks), ranks.mean())
    for fold in range(N_FOLDS):
        judge = folds == fold
        places, where = np.unique(values[~judge], return_inverse=True)
        if len(places) < 2 or not judge.any():
            continue
        heights = np.bincount(where, weights=ranks[~judge]) / np.bincount(where)
        told[judge] = np.interp(values[judge], places, heights)
    return float(
        1.0 - ((ranks - told) ** 2).sum() / max(((ranks - ranks.mean()) ** 2).sum(), 1e-12)
    )
