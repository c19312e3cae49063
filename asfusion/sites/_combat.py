"""ComBat on numbers of which some are missing: location and scale of each site, shrunken.

Dimensions: N rows, C columns, S sites, P covariates, Q columns of what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError

Floats = NDArray[np.float64]

FEWEST = 5  # rows of a site: fewer say nothing of a spread
_TOLERANCE = 1e-4  # relative change, as in the published code
_MAX_STEPS = 1000


@dataclass(frozen=True)
class Combat:
    """What the sites of training rows add and stretch.

    Parameters
    ----------
    centre : ndarray of shape (C,)
        Mean over the rows of all sites, covariates at zero.
    scale : ndarray of shape (C,)
        Standard deviation within sites; 0 for columns that are left as they are.
    slopes : ndarray of shape (P, C)
        What one unit of each covariate adds: it is kept.
    shift : ndarray of shape (S, C)
        What each site adds, in units of `scale`.
    stretch : ndarray of shape (S, C)
        Standard deviation of each site over `scale`.
    """

    centre: Floats
    scale: Floats
    slopes: Floats
    shift: Floats
    stretch: Floats

    def apply(self, values: Floats, sites: NDArray[np.int64], covariates: Floats) -> Floats:
        """Return values (N, C) as if of one site; rows of site -1 stay as they are."""
        rows, columns = np.flatnonzero(sites >= 0), np.flatnonzero(self.scale > 0)
        made = values.copy()
        if not len(rows) or not len(columns):
            return made
        block, own = np.ix_(rows, columns), np.ix_(sites[rows], columns)
        mean = np.tile(self.centre[columns], (len(rows), 1))
        for kept, slope in zip(covariates[rows].T, self.slopes[:, columns], strict=True):
            mean += kept[:, None] * slope  # one by one: a row is the same alone and among many
        scale = self.scale[columns]
        z = (values[block] - mean) / scale
        made[block] = (z - self.shift[own]) / self.stretch[own] * scale + mean
        return made


def fit_combat(
    values: Floats,
    sites: NDArray[np.int64],
    n_sites: int,
    weights: Floats,
    covariates: Floats,
    target: Floats,
) -> Combat:
    """Learn what sites add and stretch, beside covariates (N, P) and a target (N, Q).

    The target is taken into account where sites are estimated, and never where values are changed.
    """
    used = sites >= 0
    values, sites, weights = values[used], sites[used], weights[used]
    beside = np.hstack([covariates, target])[used]
    onehot = (sites[:, None] == np.arange(n_sites)).astype(np.float64)
    _check_apart(onehot, beside)
    columns = _measured(values)
    n_columns, n_kept = values.shape[1], covariates.shape[1]
    state = Combat(
        np.zeros(n_columns), np.zeros(n_columns), np.zeros((n_kept, n_columns)),
        np.zeros((n_sites, n_columns)), np.ones((n_sites, n_columns)),
    )  # fmt: skip
    design = np.hstack([onehot, beside])
    z = np.full(values.shape, np.nan)
    for some in _alike(~np.isnan(values), columns):
        rows = np.flatnonzero(~np.isnan(values[:, some[0]]))
        found = _regress(design[rows], values[np.ix_(rows, some)], weights[rows], n_sites)
        centre, coefficients, residual, scale = found
        state.centre[some], state.scale[some] = centre, scale
        state.slopes[:, some] = coefficients[n_sites : n_sites + n_kept]
        effect = onehot[rows] @ (coefficients[:n_sites] - centre)
        z[np.ix_(rows, some)] = (residual + effect) / np.where(scale > 0, scale, np.nan)
    for site in range(n_sites):
        own = sites == site
        state.shift[site], state.stretch[site] = _shrunken(z[own], weights[own])
    return state


def _check_apart(onehot: Floats, beside: Floats) -> None:
    """Raise where what is to be kept follows from the site: no figure could tell them apart."""
    constant = np.ones((len(onehot), 1))
    alone = np.linalg.matrix_rank(np.hstack([constant, beside]))
    if np.linalg.matrix_rank(np.hstack([onehot, beside])) < alone + onehot.shape[1] - 1:
        msg = (
            "SiteHarmoniser: expected sites that share what is to be kept, got a covariate or a "
            "target that says which site it is. What is of the site and what is of the patient "
            "cannot be told apart: leave that covariate out, or do not harmonise."
        )
        raise InputError(msg)


def _measured(values: Floats) -> NDArray[np.int64]:
    """Return the columns that hold more than two numbers: flags have no scale."""
    low, high = _extremes(values)
    between = (values > low) & (values < high)
    return np.flatnonzero(between.any(axis=0))


def _extremes(values: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(values)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    return low, np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)


def _alike(known: NDArray[np.bool_], columns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return columns in groups that are known in the same rows, to be solved at once."""
    if not len(columns):
        return []
    packed = np.packbits(known[:, columns], axis=0)
    number = np.unique(packed, axis=1, return_inverse=True)[1].ravel()
    order = np.argsort(number, kind="stable")
    return np.split(columns[order], np.flatnonzero(np.diff(number[order])) + 1)


def _regress(
    design: Floats, values: Floats, weights: Floats, n_sites: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return centre (C,), coefficients (S + P + Q, C), residuals (n, C) and their spread (C,)."""
    root = np.sqrt(weights)[:, None]
    # The shortest of all solutions: a site without a row here has a coefficient of zero.
    solved = np.linalg.lstsq(design * root, values * root, rcond=None)[0]
    coefficients = np.asarray(solved, dtype=np.float64)
    share = weights @ design[:, :n_sites] / weights.sum()
    centre = share @ coefficients[:n_sites]
    residual: Floats = values - design @ coefficients
    with np.errstate(over="ignore"):  # numbers without a finite spread are left as they are
        scale = np.sqrt(weights @ residual**2 / weights.sum())
    size = np.abs(values).max(axis=0)
    spread: Floats = np.where(np.isfinite(scale) & (scale > 1e-10 * size), scale, 0.0)
    return np.asarray(centre, dtype=np.float64), coefficients, residual, spread


def _shrunken(z: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return location and spread (C,) of one site's standardised values, by empirical Bayes.

    A column that few rows of the site have is left as it is.
    """
    shift, stretch = np.zeros(z.shape[1]), np.ones(z.shape[1])
    known = ~np.isnan(z)
    n = weights @ known
    some = np.flatnonzero((known.sum(axis=0) >= FEWEST) & (n > 1.0))
    if not len(some):
        return shift, stretch
    filled, n = np.where(known, z, 0.0)[:, some], n[some]
    mean = weights @ filled / n
    away = np.where(known[:, some], filled - mean, 0.0)
    variance = weights @ away**2 / (n - 1.0)
    some, mean, variance, n = (part[variance > 0] for part in (some, mean, variance, n))
    if len(some) > 1:
        mean, variance = _posterior(mean, variance, n)
    shift[some], stretch[some] = mean, np.sqrt(variance)
    return shift, stretch


def _posterior(mean: Floats, variance: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Return what is left of means and variances when all columns of a site are looked at."""
    prior, between = mean.mean(), mean.var(ddof=1)
    m, v = variance.mean(), variance.var(ddof=1)
    if not (between > 0 and v > 0):
        return mean, variance
    shape, rate = (2.0 * v + m**2) / v, (m * v + m**3) / v
    moved, spread = mean, variance
    for _ in range(_MAX_STEPS):
        new = (between * n * mean + spread * prior) / (between * n + spread)
        squares = (n - 1.0) * variance + n * (mean - new) ** 2
        wide = (0.5 * squares + rate) / (0.5 * n + shape - 1.0)
        change = max(_change(new, moved), _change(wide, spread))
        moved, spread = new, wide
        if change < _TOLERANCE:
            break
    return moved, spread


def _change(new: Floats, old: Floats) -> float:
    return float((np.abs(new - old) / np.maximum(np.abs(old), 1e-12)).max())
