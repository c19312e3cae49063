"""The disease process behind the synthetic axSpA cohort, and what it does to each patient.

One process, several traces: inflammation raises CRP and shows as marrow oedema, damage
shows as grades and mSASSS, risk alleles make cases likelier, symptoms are told in notes.
Given the diagnosis the traces are only weakly tied, so each holds what the others lack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.clinical.basmi import basmi_linear
from asfusion.datasets._axspa_corners import draw_corners, progress_corners
from asfusion.datasets._axspa_margins import (
    BLOOD,
    COPULA,
    CORRELATION,
    FEATURES,
    MALE,
    SHARES,
    SMOKER,
    STIFFNESS_MIN,
    STUDY_MSASSS,
    UVEITIS,
    Floats,
    Groups,
)

Bools = NDArray[np.bool_]
Table = dict[str, NDArray[np.generic]]

N_SITES = 4
# More of the sick come to two of the sites, but not so many that the site tells.
_SITES = np.array([[0.28, 0.24, 0.24, 0.24], [0.25, 0.25, 0.25, 0.25], [0.22, 0.26, 0.26, 0.26]])
_SEX_ON_DAMAGE = 0.5
_TIES = 1.12
_BASDAI_OFFSETS = (0.6, 0.9, -1.0, -0.3, 0.3, -0.7)
_BASDAI_WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.1, 0.1)
# Linear BASMI: measurement = at_zero + step * score (van der Heijde 2008).
_BASMI = {
    "lateral_flexion": (21.1, -2.1, -0.5),
    "tragus_to_wall": (8.0, 3.0, -0.2),
    "schober": (7.4, -0.7, 1.2),
    "intermalleolar": (124.5, -10.0, -0.3),
    "cervical_rotation": (89.3, -8.5, -0.2),
}
_OEDEMA_QUADRANTS = 8
# Grades of both sides, and how often they are seen together.
_Pairs = tuple[tuple[tuple[int, int], ...], tuple[float, ...]]
_NR_PAIRS: _Pairs = (((0, 0), (0, 1), (1, 1), (1, 2)), (0.42, 0.24, 0.22, 0.12))
_BACK_PAIN_PAIRS: _Pairs = (
    ((0, 0), (0, 1), (1, 1), (0, 2), (2, 2)),
    (0.69, 0.19, 0.09, 0.012, 0.018),
)


@dataclass(frozen=True, eq=False)
class Patients:
    """What is true of each of N patients.

    Parameters
    ----------
    group : ndarray of shape (N,)
        Position in `GROUPS`.
    male : ndarray of shape (N,), bool
        Sex as registered.
    site : ndarray of shape (N,)
        Hospital, from 0.
    scores : dict of str to ndarray of shape (N,)
        Values with the margins of `COPULA`, blood counts and smoking, all true ones.
    normal : ndarray of shape (N, 9)
        Normal scores of the copula.
    mobility : dict of str to ndarray of shape (N,)
        Measurements in cm, cervical rotation in degrees.
    items : dict of str to ndarray of shape (N,)
        Answers to the questionnaires, 0 to 10.
    features : dict of str to ndarray of shape (N,), bool
        History and examination; stiffness in minutes.
    grades : ndarray of shape (N, 2)
        Modified New York grade, right and left.
    corners, corners_later : ndarray of shape (N, 24)
        mSASSS corners now and after two years.
    oedema, fat : ndarray of shape (N, 8)
        Strength in each quadrant of the sacroiliac joints, 0 to 1.
    """

    group: Groups
    male: Bools
    site: Groups
    scores: dict[str, Floats]
    normal: Floats
    mobility: dict[str, Floats]
    items: dict[str, Floats]
    features: dict[str, NDArray[np.generic]]
    grades: NDArray[np.int64]
    corners: NDArray[np.int64]
    corners_later: NDArray[np.int64]
    oedema: Floats
    fat: Floats

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.group)

    @property
    def is_case(self) -> Bools:
        """Who has axial spondyloarthritis."""
        return self.group > 0


def draw_patients(
    n: int, rng: np.random.Generator, study: np.random.Generator | None = None
) -> Patients:
    """Return `n` patients; the shares of the groups are as exact as `n` allows.

    `study`, if it is given, draws the corners of a study of damage in place of the usual ones.
    """
    group = rng.permutation(np.searchsorted(np.cumsum(SHARES), (np.arange(n) + 0.5) / n))
    male = rng.random(n) < np.take(MALE, group)
    site = np.array([rng.choice(N_SITES, p=_SITES[g]) for g in group])
    normal = rng.standard_normal((n, len(COPULA))) @ np.linalg.cholesky(_latent_correlation()).T
    scores = _draw_scores(normal, group, male, rng)
    grades = _draw_grades(group, normal[:, 7], rng)
    corners = draw_corners(scores["msasss"].astype(np.int64), rng)
    if study is not None:
        total = STUDY_MSASSS.quantile(normal[:, list(COPULA).index("msasss")], group)
        corners = draw_corners(total.astype(np.int64), study)
    scores["msasss"] = corners.sum(axis=1).astype(np.float64)
    oedema, fat = _draw_marrow(group, normal, rng)
    return Patients(
        group=group,
        male=male,
        site=site,
        scores=scores,
        normal=normal,
        mobility=_measure_mobility(scores, rng),
        items=_answer_questionnaires(scores, rng),
        features=_draw_features(group, rng),
        grades=grades,
        corners=corners,
        corners_later=progress_corners(corners, group, scores, rng),
        oedema=oedema,
        fat=fat,
    )


def _latent_correlation() -> Floats:
    """Return the correlation of normal scores whose *values* correlate as `CORRELATION` says.

    Many patients share an mSASSS of zero, and such ties take a tenth off its correlations.
    """
    latent = CORRELATION.copy()
    damage = list(COPULA).index("msasss")
    latent[damage] *= _TIES
    latent[:, damage] *= _TIES
    latent[damage, damage] = 1.0
    return latent


def spread(total: Floats, offsets: Floats, weights: Floats, low: float, high: float) -> Floats:
    """Return items (N, I) whose weighted mean is `total` (N,), around `total` + `offsets` (N, I).

    What an item cannot take up at the end of its range the others do.
    """
    items = np.clip(total[:, None] + offsets, low, high)
    for _ in range(60):
        lack = total - items @ weights
        if np.abs(lack).max() < 1e-9:
            break
        room = np.where(lack[:, None] > 0, high - items, items - low)
        free = (room > 1e-12) * weights
        share = np.divide(lack, free.sum(axis=1), out=np.zeros_like(lack), where=free.any(axis=1))
        items = np.clip(items + share[:, None] * (room > 1e-12), low, high)
    return items


def _draw_scores(
    normal: Floats, group: Groups, male: Bools, rng: np.random.Generator
) -> dict[str, Floats]:
    shifted = normal.copy()
    more = _SEX_ON_DAMAGE * (male - np.take(MALE, group))
    shifted[:, 7] = (normal[:, 7] + more) / np.sqrt(1 + _SEX_ON_DAMAGE**2 / 4)
    scores = {
        name: margin.quantile(shifted[:, i], group)
        for i, (name, margin) in enumerate(COPULA.items())
    }
    # Nobody's back pain began before the age of twelve.
    scores["duration"] = np.minimum(scores["duration"], scores["age"] - 12)
    inflammation = normal[:, 5]
    tied = {"neutrophils": 0.35, "lymphocytes": -0.05, "platelets": 0.3}
    for name, margin in BLOOD.items():
        own = rng.standard_normal(len(group))
        mixed = tied[name] * inflammation + np.sqrt(1 - tied[name] ** 2) * own
        scores[name] = margin.quantile(mixed, group)
    others = np.clip(rng.normal(0.59, 0.15, len(group)), 0.1, None)
    scores["wbc"] = scores["neutrophils"] + scores["lymphocytes"] + others
    own = rng.standard_normal(len(group))
    haemoglobin = np.where(male, 149.0, 133.0) - 3.5 * inflammation + 9.5 * own
    scores["haemoglobin"] = np.clip(haemoglobin, 70, 190)
    scores["smoker"] = (rng.random(len(group)) < np.take(SMOKER, group)).astype(np.float64)
    scores["chest_expansion"] = np.clip(
        5.3 - 0.25 * scores["basmi"] + rng.normal(0, 1.6, len(group)), 0.5, 12
    )
    return scores


def _measure_mobility(scores: dict[str, Floats], rng: np.random.Generator) -> dict[str, Floats]:
    """Return measurements whose linear BASMI is the patient's, up to their rounding."""
    target = np.clip(scores["basmi"], 0.05, 9.95)
    names = list(_BASMI)
    offsets = np.array([_BASMI[name][2] for name in names]) + rng.normal(0, 1.1, (len(target), 5))
    parts = spread(target, offsets, np.full(5, 0.2), 0.0, 10.0)
    digits = {"cervical_rotation": 0, "intermalleolar": 0}
    found = {}
    for i, name in enumerate(names):
        at_zero, step, _ = _BASMI[name]
        found[name] = np.round(at_zero + step * parts[:, i], digits.get(name, 1))
    found["chest_expansion"] = np.round(scores["chest_expansion"], 1)
    scores["basmi"] = np.asarray(basmi_linear(*(found[name] for name in names)).total)
    return found


def _answer_questionnaires(
    scores: dict[str, Floats], rng: np.random.Generator
) -> dict[str, Floats]:
    n = len(scores["basdai"])
    offsets = np.array(_BASDAI_OFFSETS) + rng.normal(0, 1.3, (n, 6))
    parts = spread(scores["basdai"], offsets, np.array(_BASDAI_WEIGHTS), 0.0, 10.0)
    items = {f"basdai_q{i + 1}": np.round(parts[:, i], 1) for i in range(6)}
    offsets = rng.normal(0, 1.2, (n, 10))
    parts = spread(scores["basfi"], offsets, np.full(10, 0.1), 0.0, 10.0)
    items |= {f"basfi_q{i + 1}": np.round(parts[:, i], 1) for i in range(10)}
    general = np.clip(scores["basdai"] + rng.normal(0, 1.1, n), 0, 10)
    items["patient_global"] = np.round(general, 1)
    return items


def _draw_features(group: Groups, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """Return history and examination; features of a patient are weakly tied."""
    from scipy import stats

    n, case = len(group), group > 0
    common = rng.standard_normal(n)

    def present(probability: Floats) -> Bools:
        liability = 0.25 * common + np.sqrt(1 - 0.25**2) * rng.standard_normal(n)
        return np.asarray(stats.norm.cdf(liability) < probability)

    found: dict[str, NDArray[np.generic]] = {
        name: present(np.where(case, *shares)) for name, shares in FEATURES.items()
    }
    found["uveitis"] = present(np.take(UVEITIS, group))
    found["stiffness_min"] = np.round(STIFFNESS_MIN.quantile(rng.standard_normal(n), group) / 5) * 5
    found["trauma"] = rng.random(n) < np.where(case, 0.08, 0.15)
    found["lifting_job"] = rng.random(n) < 0.25
    return found


def _draw_grades(group: Groups, damage: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return modified New York grades (N, 2): positive in AS by definition, in nr-axSpA never."""
    grades = np.zeros((len(group), 2), dtype=np.int64)
    for row, (number, level) in enumerate(zip(group.tolist(), damage.tolist(), strict=True)):
        if number == 2:
            worse = int(np.clip(round(2.6 + 0.55 * level + 0.45 * rng.normal()), 2, 4))
            other = worse - int(rng.random() < 0.45)
            pair = [worse, max(other, 2 if worse < 3 else 0)]
        else:
            pairs, shares = _NR_PAIRS if number == 1 else _BACK_PAIN_PAIRS
            pair = list(pairs[int(rng.choice(len(pairs), p=shares))])
        rng.shuffle(pair)
        grades[row] = pair
    return grades


def _draw_marrow(group: Groups, normal: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return oedema and fat lesions (N, 8) of the quadrants."""
    n, case = len(group), group > 0
    inflamed = rng.random(n) < 1 / (1 + np.exp(-(0.55 + 0.6 * normal[:, 5])))
    active = np.where(case, inflamed, rng.random(n) < 0.026)
    # Loaded joints of people without the disease show a little oedema, too.
    mild = rng.random(n) < np.where(case, 0.25, 0.17)
    oedema = np.zeros((n, _OEDEMA_QUADRANTS))
    fat = np.zeros((n, _OEDEMA_QUADRANTS))
    old = np.where(case, 0.18 + 0.22 * (group == 2) + 0.12 * np.clip(normal[:, 7], -1, 2), 0.04)
    for row in range(n):
        if active[row]:
            at = rng.choice(8, size=int(rng.integers(2, 7)), replace=False)
            oedema[row, at] = rng.uniform(0.4, 1.0, len(at))
        elif mild[row]:
            oedema[row, rng.integers(8)] = rng.uniform(0.2, 0.5)
        if rng.random() < old[row]:
            at = rng.choice(8, size=int(rng.integers(1, 6)), replace=False)
            fat[row, at] = rng.uniform(0.4, 1.0, len(at))
    return oedema, fat
