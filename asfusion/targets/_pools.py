"""How the decisions of several models are combined.

Dimensions: N rows, M modalities, K classes or targets. Decisions are (N, M, K), NaN or
anything at absent places; `present` is (N, M).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

Array = NDArray[np.float64]
Present = NDArray[np.bool_]

FLOOR = 1e-6  # probabilities this small are not told apart from zero


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


def product_of_experts(decisions: Array, present: Present, prior: Array) -> Array:
    """Return the normalised product of probabilities (N, K), each over the prior.

    If modalities are independent given the class, Bayes' rule gives
    ``p(class | all) ~ prior * prod(p(class | one) / prior)``.
    """
    log_prior = np.log(np.clip(prior, FLOOR, 1.0))
    evidence = np.log(np.clip(decisions, FLOOR, 1.0)) - log_prior
    summed = np.where(present[:, :, None], evidence, 0.0).sum(axis=1)
    return np.asarray(softmax(summed + log_prior, axis=1))


def pooling_weights(
    decisions: Array, present: Present, y: NDArray[np.int64], row_weights: Array
) -> Array:
    """Return the weights (M,) of a linear pool with the least log-loss.

    `decisions` must come from models that did not see the rows. The loss is penalised
    lightly towards equal weights, which decide where the data do not.
    """

    def losses(pooled: Array) -> Array:
        return np.asarray(-np.log(np.clip(pooled[np.arange(len(y)), y], FLOOR, 1.0)))

    return _least(losses, decisions, present, row_weights)


def least_squares(decisions: Array, present: Present, y: Array, row_weights: Array) -> Array:
    """Return the weights (M,) of a linear pool with the least squared error.

    Each target counts by its own spread, so that units do not matter. `decisions` must come
    from models that did not see the rows.
    """
    spread = np.average((y - np.average(y, axis=0, weights=row_weights)) ** 2, axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def losses(pooled: Array) -> Array:
        return np.asarray(((pooled - y) ** 2 / spread).mean(axis=1))

    return _least(losses, decisions, present, row_weights)


def _least(
    losses: Callable[[Array], Array], decisions: Array, present: Present, row_weights: Array
) -> Array:
    """Return weights (M,) above zero that sum to one, with the least mean of `losses` (N,)."""
    share = row_weights / row_weights.sum()

    def loss(logits: Array) -> float:
        pooled = weighted_mean(decisions, present, softmax(logits))
        return float((share * losses(pooled)).sum() + 1e-3 * np.square(logits).sum())

    found = minimize(loss, np.zeros(decisions.shape[1]), method="BFGS")
    return np.asarray(softmax(found.x))


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
