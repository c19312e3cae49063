"""Newton's steps to the coefficients of a Cox regression, with as few curvatures as will do.

Dimensions: N rows, P features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from asfusion.survival._efron import PartialLikelihood, Slope

Floats = NDArray[np.float64]

_MOST_HALVINGS = 30
_ROUNDING = 1e-14
_SWEEPS = 1000  # of coordinate descent for one quadratic piece
# A sample has this many events, and so many more for each feature; of few rows it saves nothing.
_EVENTS, _EVENTS_PER_FEATURE, _LARGEST_SHARE = 500, 100, 0.2
_ROUGHLY, _ROUGH_STEPS = 1e-3, 10  # `tol` and `max_iter` on a sample
_SURE = 1e-10  # the least reciprocal condition of a curvature that is solved as it is
_KEPT = 0.5  # by which derivatives have to fall in a step if its curvature is to be kept


@dataclass(frozen=True, eq=False)
class Penalty:
    """What is added to the objective, per row, and when the steps end.

    Parameters
    ----------
    ridge, lasso : ndarray of shape (P,)
        Strength at each feature.
    tol : float
        Steps end when all derivatives are below it.
    max_iter : int
        Most steps.
    """

    ridge: Floats
    lasso: Floats
    tol: float
    max_iter: int


@dataclass(frozen=True, eq=False)
class Place:
    """Coefficients (P,), and the objective there."""

    coef: Floats
    slope: Slope
    gradient: Floats  # of the smooth part
    value: float
    steepness: float  # the largest derivative, the kink at 0 accounted for


class Newton:
    """Newton's steps; with an L1 penalty, on the quadratic that they stand on.

    A curvature costs as much as many derivatives. Of many rows that of a sample is the first
    guess, which derivatives of all rows correct by the rule of Broyden, Fletcher, Goldfarb
    and Shanno [1]_. Where that gains too little, it is computed of all rows. When steps
    end is decided by derivatives of all rows alone.

    Parameters
    ----------
    X : ndarray of shape (N, P)
        Features, all of about one scale.
    likelihood : PartialLikelihood
        Of the N rows.
    penalty : Penalty
        What is added to it.
    start : ndarray of shape (P,), optional
        Where the steps begin, if no sample tells it.

    Attributes
    ----------
    n_iter : int
        Steps over all rows.
    place : Place
        Where they ended.

    References
    ----------
    .. [1] Nocedal, Wright, "Numerical optimization", Springer 2006.
       https://doi.org/10.1007/978-0-387-40065-5
    """

    place: Place

    def __init__(
        self,
        X: Floats,
        likelihood: PartialLikelihood,
        penalty: Penalty,
        start: Floats | None = None,
    ) -> None:
        self.X, self.likelihood, self.penalty = X, likelihood, penalty
        self.start = np.zeros(X.shape[1]) if start is None else start
        # Everything is divided by the weight of all rows, so that `tol` means the same for few.
        self.total = float(likelihood.weight.sum())
        self.has_kink = bool(penalty.lasso.any())
        self.n_iter = 0

    def run(self) -> Floats:
        """Return the coefficients."""
        inverse = self._begin()
        keeps = inverse is not None
        while self.n_iter < self.penalty.max_iter and not self.has_ended:
            before, is_new = self.place, inverse is None
            if keeps and inverse is None:
                inverse = _inverse(self.curvature(self.X))
            self.place = self._halved(self._change(inverse))
            if self.place is before and is_new:
                break  # the best of steps gains nothing any more
            self.n_iter += 1
            inverse = _corrected(inverse, before, self.place) if keeps else None
        return self.place.coef

    @property
    def has_ended(self) -> bool:
        """Whether derivatives are small enough."""
        return self.place.steepness < self.penalty.tol

    # -- the beginning -----------------------------------------------------------------

    def _sample(self) -> NDArray[np.int64] | None:
        """Return rows that stand for all, or None where there are too few."""
        used = np.flatnonzero(self.likelihood.weight)
        n_events = int(self.likelihood.event[used].sum())
        wanted = _EVENTS + _EVENTS_PER_FEATURE * self.X.shape[1]
        if wanted > _LARGEST_SHARE * n_events:
            return None
        size = int(np.ceil(len(used) * wanted / n_events))
        return np.sort(np.random.default_rng(0).choice(used, size, replace=False))

    def _begin(self) -> Floats | None:
        """Take the first place; return the inverse of the curvature, if a sample told it."""
        sample = self._sample()
        if sample is not None:
            rough = replace(self.penalty, tol=_ROUGHLY, max_iter=_ROUGH_STEPS)
            part = Newton(self.X[sample], self.likelihood.take(sample), rough)
            self.place = self._at(part.run())
            # Of rows far out a sample knows nothing: it may do worse than no coefficients.
            nothing = self.likelihood.slope(np.zeros(len(self.X))).value
            if self.place.value <= -nothing / self.total:
                return None if self.has_kink else _inverse(part.curvature(part.X))
        self.place = self._at(self.start)
        return None

    # -- the objective -----------------------------------------------------------------

    def _at(self, coef: Floats) -> Place:
        ridge, lasso = self.penalty.ridge, self.penalty.lasso
        slope = self.likelihood.slope(self.X @ coef)
        gradient = ridge * coef - self.X.T @ slope.residuals / self.total
        steep = np.where(
            coef == 0,
            np.maximum(np.abs(gradient) - lasso, 0.0),
            np.abs(gradient + lasso * np.sign(coef)),
        )
        value = 0.5 * ridge @ coef**2 + lasso @ np.abs(coef) - slope.value / self.total
        return Place(coef, slope, gradient, float(value), float(steep.max(initial=0.0)))

    def curvature(self, X: Floats, features: slice | NDArray[np.int64] = slice(None)) -> Floats:
        """Return the second derivative at the place, of all features or some."""
        risk = self.X @ self.place.coef
        out = self.likelihood.curvature(X, risk, self.place.slope.expected) / self.total
        out[np.diag_indices_from(out)] += self.penalty.ridge[features]
        return out

    # -- the steps ---------------------------------------------------------------------

    def _change(self, inverse: Floats | None) -> Floats:
        """Return the step at whose end the quadratic is least."""
        place, lasso = self.place, self.penalty.lasso
        if inverse is not None:
            return np.asarray(-(inverse @ place.gradient))
        if not self.has_kink:
            return -_solved(self.curvature(self.X), place.gradient)
        # Features at 0 that the lasso holds there are left out of the quadratic.
        active = np.flatnonzero((place.coef != 0) | (np.abs(place.gradient) > lasso))
        curvature = self.curvature(self.X[:, active], active)
        change = np.zeros_like(place.coef)
        change[active] = _coordinate_descent(
            curvature, place.gradient[active], place.coef[active], lasso[active]
        )
        return change

    def _halved(self, change: Floats) -> Place:
        """Return a place that is no worse: the step is halved until there is one."""
        before = self.place.value
        before += _ROUNDING * (1.0 + abs(before))  # near the end steps are lost in the last digits
        for halving in range(_MOST_HALVINGS):
            found = self._at(self.place.coef + change / 2.0**halving)
            if found.value <= before and np.isfinite(found.steepness):
                return found
        return self.place


def _inverse(curvature: Floats) -> Floats:
    """Return the inverse; features that others tell, or that say nothing, are left at rest."""
    rcond = len(curvature) * np.finfo(float).eps
    return np.asarray(np.linalg.pinv(curvature, rcond=rcond, hermitian=True))


def _solved(curvature: Floats, gradient: Floats) -> Floats:
    """Return the inverse times the gradient; where nothing is in doubt, without an inverse."""
    root, failed = lapack.dpotrf(curvature, lower=True)
    if not failed:
        rcond, _ = lapack.dpocon(root, np.abs(curvature).sum(axis=0).max(initial=0.0), uplo="L")
        if rcond > _SURE:
            return np.asarray(lapack.dpotrs(root, gradient, lower=True)[0])
    return np.asarray(_inverse(curvature) @ gradient)


def _corrected(inverse: Floats | None, before: Place, after: Place) -> Floats | None:
    """Return the inverse as the step showed it; None if it gained too little."""
    if inverse is None or after.steepness > _KEPT * before.steepness:
        return None
    step, bend = after.coef - before.coef, after.gradient - before.gradient
    along = float(step @ bend)
    if along <= 0:
        return None
    moved = inverse @ bend
    cross = np.outer(step, moved)
    return np.asarray(
        inverse
        + (1.0 + bend @ moved / along) / along * np.outer(step, step)
        - (cross + cross.T) / along
    )


def _coordinate_descent(curvature: Floats, gradient: Floats, coef: Floats, lasso: Floats) -> Floats:
    """Return the change of `coef` that minimises a quadratic with an L1 penalty."""
    change, slope = np.zeros_like(coef), gradient.copy()
    diagonal = np.maximum(np.diag(curvature), np.finfo(float).eps)
    for _ in range(_SWEEPS):
        moved = 0.0
        for j in range(len(coef)):
            now = coef[j] + change[j]
            wanted = now - slope[j] / diagonal[j]
            wanted = np.sign(wanted) * max(abs(wanted) - lasso[j] / diagonal[j], 0.0)
            if wanted != now:
                slope += curvature[:, j] * (wanted - now)
                change[j] += wanted - now
                moved = max(moved, abs(wanted - now) * np.sqrt(diagonal[j]))
        if moved < 1e-12:
            break
    return change
