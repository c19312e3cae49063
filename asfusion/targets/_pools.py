"""How the decisions of several models are combined.

Dimensions: N rows, M modalities, K classes or targets. Decisions are (N, M, K), NaN or
anything at absent places; `present` is (N, M).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

Array = NDArray[np.float64]
Present = NDArray[np.bool_]
Judge = Callable[[Array], tuple[float, Array]]

FLOOR = 1e-6  # probabilities this small are not told apart from zero
_DEPENDENCE = -1.0, 2.0
_TOWARDS_NONE = 1e-3


def weighted_mean(decisions: Array, present: Present, weights: Array) -> Array:
    """Return the mean over present modalities (N, K), weights renormalised per row.

    A row whose present modalities all weigh zero gets their plain mean.
    """
    shares = present * weights
    empty = shares.sum(axis=1) <= 0
    shares[empty] = present[empty]
    total = np.maximum(shares.sum(axis=1, keepdims=True), FLOOR)
    clean = np.where(present[:, :, None], decisions, 0.0)
    return np.asarray(np.einsum("nm,nmk->nk", shares / total, clean))


def majority(decisions: Array, present: Present) -> Array:
    """Return the share of votes of each class (N, K), one vote per present modality.

    Classes with as many votes are told apart by their mean probability, which counts for
    less than any vote.
    """
    votes = decisions.argmax(axis=2)[:, :, None] == np.arange(decisions.shape[2])
    even = np.ones(decisions.shape[1])
    share = weighted_mean(votes.astype(np.float64), present, even)
    tie = 0.5 / (decisions.shape[1] + 1)
    return np.asarray((share + tie * weighted_mean(decisions, present, even)) / (1.0 + tie))


def product_of_experts(
    decisions: Array, present: Present, prior: Array, dependence: float = 0.0
) -> Array:
    """Return the normalised product of probabilities (N, K), each over the prior.

    If modalities are independent given the class, Bayes' rule gives
    ``p(class | all) ~ prior * prod(p(class | one) / prior)``. Where they are not, each of m counts
    ``m ** -dependence``.
    """
    log_prior = np.log(np.clip(prior, FLOOR, 1.0))
    evidence = np.log(np.clip(decisions, FLOOR, 1.0)) - log_prior
    return np.asarray(softmax(log_prior + added(evidence, present, dependence), axis=1))


def added(evidence: Array, present: Present, dependence: float) -> Array:
    """Return the evidence (N, K) of what is present, less of it the more of it says the same."""
    summed = np.where(present[:, :, None], evidence, 0.0).sum(axis=1)
    n_present = np.maximum(present.sum(axis=1, keepdims=True), 1)
    return np.asarray(summed * n_present**-dependence)


def learned_dependence(loss: Callable[[float], float]) -> float:
    """Return the dependence with the least loss, drawn a little towards independence."""
    found = minimize_scalar(
        lambda d: loss(d) + _TOWARDS_NONE * d**2, bounds=_DEPENDENCE, method="bounded"
    )
    return float(found.x)


def least_pool(
    judged: Judge, decisions: Array, present: Present, *, penalty: float = 1e-3
) -> Array:
    """Return the weights (M,) of a linear pool with the least loss; none is below zero.

    `decisions` must come from models that did not see the rows. The loss is penalised lightly
    towards equal weights, which decide where the data do not.

    Parameters
    ----------
    judged : callable
        From pooled decisions (N, K) to their loss, and its slope (N, K) in each of them.
    decisions : ndarray of shape (N, M, K)
        What is pooled.
    present : ndarray of shape (N, M)
        Where there is something.
    penalty : float
        By how much unequal weights cost.
    """
    clean = np.where(present[:, :, None], decisions, 0.0)

    def of(logits: Array) -> tuple[float, Array]:
        weights = softmax(logits)
        pooled = weighted_mean(decisions, present, weights)
        loss, slope = judged(pooled)
        total = np.maximum(present @ weights, FLOOR)
        apart = np.einsum("nk,nmk->nm", slope, clean - pooled[:, None])
        rise = (np.where(present, apart, 0.0) / total[:, None]).sum(axis=0)
        in_logits = weights * (rise - weights @ rise)
        cost = penalty * float(np.square(logits).sum())
        return loss + cost, in_logits + 2.0 * penalty * logits

    begin = np.zeros(decisions.shape[1])
    found = minimize(of, begin, jac=True, method="BFGS", options={"gtol": 1e-9})
    return np.asarray(softmax(found.x))


def pooling_weights(
    decisions: Array, present: Present, y: NDArray[np.int64], row_weights: Array
) -> Array:
    """Return the weights (M,) of a linear pool of probabilities with the least log-loss."""
    share, rows = row_weights / row_weights.sum(), np.arange(len(y))

    def judged(pooled: Array) -> tuple[float, Array]:
        own = pooled[rows, y]
        sure = np.clip(own, FLOOR, 1.0)
        slope = np.zeros_like(pooled)
        slope[rows, y] = np.where(own > FLOOR, -share / sure, 0.0)
        return float(-(share * np.log(sure)).sum()), slope

    return least_pool(judged, decisions, present)


def least_squares(decisions: Array, present: Present, y: Array, row_weights: Array) -> Array:
    """Return the weights (M,) of a linear pool with the least squared error.

    Each target counts by its own spread, so that units do not matter.
    """
    share = row_weights[:, None] / row_weights.sum()
    spread = (share * (y - (share * y).sum(axis=0)) ** 2).sum(axis=0)
    share = share / np.where(spread > 0, spread, 1.0) / y.shape[1]

    def judged(pooled: Array) -> tuple[float, Array]:
        error = pooled - y
        return float((share * error**2).sum()), 2.0 * share * error

    return least_pool(judged, decisions, present)


def inverse_variances(decisions: Array, present: Present, y: Array, row_weights: Array) -> Array:
    """Return weights (M,) proportional to one over the mean squared error of each modality.

    This is the product of Gaussian experts with the same mean; `decisions` must come from
    models that did not see the rows.
    """
    scale = np.average(
        (y - np.average(y, axis=0, weights=row_weights)) ** 2, axis=0, weights=row_weights
    )
    scale = np.where(scale > 0, scale, 1.0)
    errors = np.empty(decisions.shape[1])
    for m in range(decisions.shape[1]):
        rows = present[:, m]
        if not rows.any():
            errors[m] = np.inf
            continue
        squared = ((decisions[rows, m] - y[rows]) ** 2 / scale).mean(axis=1)
        errors[m] = np.average(squared, weights=row_weights[rows])
    precision = 1.0 / np.maximum(errors, FLOOR)
    return np.asarray(precision / precision.sum())
