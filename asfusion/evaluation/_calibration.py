"""Calibration of probabilities, for many weightings of the rows at once."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from asfusion.evaluation._ranking import divide

Floats = NDArray[np.float64]

N_BINS = 10  # of equal width, for the expected calibration error
MOST_CERTAIN = 1e-6  # forests say 0 and 1, whose log-odds are infinite
_MAX_STEPS = 100
_TOLERANCE = 1e-6  # the step after such a step, which is not taken, would be its square
_LONGEST_STEP = 4.0  # in log-odds of any row
_ORDER = 8  # of the expansion around the common start
_SURE = 0.2  # log-odds of any row within which what it leaves out is below 1e-10
_INNER_STEPS = 4  # of Newton's method within the expansion
_NEARBY = 1.0  # log-odds of any row within which the expansion is trusted; it diverges at pi
_STEEPEST = 1e3  # a slope beyond this is a perfect separation: there is no finite answer


def log_odds(probability: Floats) -> Floats:
    """Return log-odds, those of 0 and 1 as if they were `MOST_CERTAIN` away from it."""
    clipped = np.clip(probability, MOST_CERTAIN, 1.0 - MOST_CERTAIN)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def bin_numbers(probability: Floats) -> NDArray[np.int64]:
    """Return the number of the bin of equal width (N,) that each probability falls into."""
    bins = np.floor(probability * N_BINS).astype(np.int64)
    return np.asarray(np.minimum(bins, N_BINS - 1))


class Recalibration:
    """Logistic regressions of the outcome on predicted log-odds, one per replicate.

    Parameters
    ----------
    positive : ndarray of shape (N,), bool
        Rows of the positive class.
    probability : ndarray of shape (N,)
        Predicted probability of it.
    """

    def __init__(self, positive: NDArray[np.bool_], probability: Floats) -> None:
        y, z = positive.astype(np.float64), log_odds(probability)
        one, zero = np.ones_like(z), np.zeros_like(z)
        self._line = _Logistic(y, np.stack([one, z], axis=1), zero)
        self._shift = _Logistic(y, one[:, None], z)

    def slopes(self, weights: Floats) -> Floats:
        """Return the slope (R,) for weights of rows (R, N).

        1 is ideal, below 1 predictions are too extreme. NaN where there is none: one
        class, one distinct prediction, or perfect separation.
        """
        return self._line.solve(weights)[:, 1]

    def shifts(self, weights: Floats) -> Floats:
        """Return what to add to the log-odds to make the mean prediction right (R,).

        0 is ideal, above 0 risk is underestimated; NaN where there is one class.
        """
        return self._shift.solve(weights)[:, 0]


class _Logistic:
    """Weighted logistic regressions of `y` (N,) on one or two columns, by Newton's method.

    All replicates start from the regression on equal weights. There each row's mean and its
    derivatives are common to all of them, so that a few sums over rows, one product for all
    replicates, describe the neighbourhood: see `_Neighbourhood`. Unless the answer is
    very near, it is then put to the proof by steps over all rows; one is mostly enough.
    """

    def __init__(self, y: Floats, basis: Floats, offset: Floats) -> None:
        self.y, self.basis, self.offset = y, basis, offset
        # For one column its square; for two all three products of columns.
        pairs = [(0, 0), (0, 1), (1, 1)] if basis.shape[1] == 2 else [(0, 0)]
        self.products = np.stack([basis[:, i] * basis[:, j] for i, j in pairs], axis=1)
        self.reach = np.abs(basis).max(axis=0)
        self.start = self._unweighted()
        self.near = _Neighbourhood(y, basis, self.start @ basis.T + offset)

    def solve(self, weights: Floats) -> Floats:
        """Return coefficients (R, P), NaN where there are none."""
        beta = np.full((len(weights), self.basis.shape[1]), np.nan)
        if not np.isfinite(self.start).all():
            return beta  # separated as a whole, so separated in every replicate, too
        rows = np.flatnonzero((weights @ self.y > 0) & (weights @ (1.0 - self.y) > 0))
        weights = weights if len(rows) == len(weights) else weights[rows]
        move = self.near.solve(weights)
        # Far from the start, or nowhere, the expansion says nothing: one step, then, is safe.
        length = np.abs(move) @ self.reach
        lost = ~(length < _NEARBY)
        if lost.any():
            move[lost] = self._step(weights[lost], self.start[None, :])
        current = self.start + move
        sure = length < _SURE
        if sure.any():
            beta[rows[sure]] = current[sure]
            rows, current, weights = rows[~sure], current[~sure], weights[~sure]
        for _ in range(_MAX_STEPS):
            if not len(rows):
                break
            step = self._step(weights, current)
            current = current + step
            done = np.abs(step).max(axis=1) < _TOLERANCE
            beta[rows[done]] = current[done]
            # NaN compares false: singular replicates leave as undefined, too.
            going = ~done & (np.abs(current).max(axis=1) < _STEEPEST)
            if not going.all():
                rows, current, weights = rows[going], current[going], weights[going]
        return beta

    def _unweighted(self) -> Floats:
        """Return the coefficients (P,) for equal weights, NaN where there are none."""
        beta = np.zeros((1, self.basis.shape[1]))
        ones = np.ones((1, len(self.y)))
        for _ in range(_MAX_STEPS):
            step = self._step(ones, beta)
            beta = beta + step
            if np.abs(step).max() < _TOLERANCE:
                return np.asarray(beta[0])
            if not np.abs(beta).max() < _STEEPEST:
                break
        return np.full(beta.shape[1], np.nan)

    def _step(self, weights: Floats, beta: Floats) -> Floats:
        """Return one step (R, P) from `beta`, which is (R, P), or (1, P) for all alike."""
        mean = beta @ self.basis.T
        mean += self.offset
        # In place: on whole blocks of replicates, memory costs more than arithmetic.
        np.exp(np.negative(mean, out=mean), out=mean)
        mean += 1.0
        np.reciprocal(mean, out=mean)
        residual = self.y - mean
        curvature = mean
        curvature -= mean * mean
        if len(beta) == 1:
            # Common to all replicates: only the narrow side of the products is weighed.
            gradient = weights @ (residual[0][:, None] * self.basis)
            squares = weights @ (curvature[0][:, None] * self.products)
        else:
            gradient = np.multiply(residual, weights, out=residual) @ self.basis
            squares = np.multiply(curvature, weights, out=curvature) @ self.products
        step = divide(gradient, squares) if len(self.reach) == 1 else _solve2(gradient, squares)
        # No row's log-odds move further than this: Newton's method overshoots where it is flat.
        length = np.abs(step) @ self.reach
        return np.asarray(step / np.maximum(length / _LONGEST_STEP, 1.0)[:, None])


class _Neighbourhood:
    """Score equations of logistic regressions, expanded around one point.

    A move `d` changes a row's log-odds by ``x = d · basis``, and its mean by the sum of
    ``s_k x^k / k!`` with the derivatives ``s_k`` of the logistic function. Powers of ``x`` are
    monomials of `d` times powers of the basis, so weighted sums of the latter are all that
    is needed to solve for `d`.
    """

    def __init__(self, y: Floats, basis: Floats, log_odds: Floats) -> None:
        width = basis.shape[1]
        mean = 1.0 / (1.0 + np.exp(-log_odds))
        second = basis[:, -1] if width == 2 else np.ones_like(y)
        # Column (k, j) holds s_k times the j-th power of the second column of the basis.
        most = 1 if width == 2 else 0
        self._place: dict[tuple[int, int], int] = {}
        columns: list[Floats] = []
        for order, slope in enumerate(_derivatives(mean)):
            for power in range(order * most + most + 1):
                self._place[order, power] = len(columns)
                columns.append((slope if order else mean - y) * second**power)
        self._columns = np.stack(columns, axis=1)
        self._powers = [
            (order - power, power)
            for order in range(_ORDER + 1)
            for power in range(order * most + 1)
        ]
        self._scale = np.asarray([factorial(a) * factorial(b) for a, b in self._powers], float)
        self._width = width

    def solve(self, weights: Floats) -> Floats:
        """Return moves (R, P) to where the expansion's score is zero, NaN where lost."""
        sums = weights @ self._columns
        width, n_inner = self._width, sum(a + b < _ORDER for a, b in self._powers)
        # The gradient's coefficients of each monomial, and those of its derivatives.
        first = [sums[:, self._at(0, i)] for i in range(width)]
        pairs = [0, 1, 2] if width == 2 else [0]
        second = [sums[:, self._at(1, i)[:n_inner]] for i in pairs]
        move = np.zeros((len(weights), width))
        with np.errstate(all="ignore"):
            for _ in range(_INNER_STEPS):
                monomials = self._monomials(move)
                gradient = np.stack([-(monomials * c).sum(axis=1) for c in first], axis=1)
                inner = monomials[:, :n_inner]
                squares = np.stack([(inner * c).sum(axis=1) for c in second], axis=1)
                move += divide(gradient, squares) if width == 1 else _solve2(gradient, squares)
        return move

    def _at(self, order: int, power: int) -> NDArray[np.int64]:
        """Return the column behind each monomial that keeps the order within bounds."""
        return np.asarray(
            [
                self._place[a + b + order, b + power]
                for a, b in self._powers
                if a + b + order <= _ORDER
            ]
        )

    def _monomials(self, move: Floats) -> Floats:
        """Return products of powers of the move (R, n), over their factorials."""
        powers = move[:, :, None] ** np.arange(_ORDER + 1)
        first = powers[:, 0, [a for a, _ in self._powers]]
        rest = powers[:, -1, [b for _, b in self._powers]] if self._width == 2 else 1.0
        return np.asarray(first * rest / self._scale)


def _derivatives(mean: Floats) -> list[Floats]:
    """Return the logistic function and its derivatives, given its values."""
    # Each derivative is a polynomial in the mean: d/dx p(m) is p'(m) (m - m²).
    polynomial, found = Polynomial([0.0, 1.0]), []
    for _ in range(_ORDER + 1):
        found.append(np.asarray(polynomial(mean)))
        polynomial = polynomial.deriv() * Polynomial([0.0, 1.0, -1.0])
    return found


def _solve2(gradient: Floats, squares: Floats) -> Floats:
    """Return the solutions (R, 2) of symmetric systems with entries a, b, c; NaN if singular."""
    a, b, c = squares.T
    determinant = a * c - b * b
    # Without spread in the predictions, rounding alone would decide.
    determinant[determinant <= 1e-12 * a * c] = np.nan
    first = c * gradient[:, 0] - b * gradient[:, 1]
    second = a * gradient[:, 1] - b * gradient[:, 0]
    return np.asarray(np.stack([first, second], axis=1) / determinant[:, None])
