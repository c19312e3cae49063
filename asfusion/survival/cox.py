"""Cox regression with an elastic net, ties and strata."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from asfusion._arrays import read_weights
from asfusion._checks import check_choice, check_integer, check_number
from asfusion._door import learns, public
from asfusion._warn import warn_user
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import InputError
from asfusion.survival._efron import PartialLikelihood, Slope
from asfusion.survival._read import read_times
from asfusion.survival.concordance import harrell_c

Floats = NDArray[np.float64]

_MOST_HALVINGS = 30
_ROUNDING = 1e-14
_SWEEPS = 1000  # of coordinate descent for one quadratic piece


class CoxRegression(Bundled, BaseEstimator):  # type: ignore[misc]
    """Proportional hazards: the log risk of a row is linear in its features.

    The partial log-likelihood, less ``alpha`` times the elastic net, is made as large as it
    gets by Newton's steps. Features are taken as they are: scale them before they are
    penalised. The likelihood is a sum over events, so that the same `alpha` weighs less in
    more rows, as in scikit-learn's ridge.

    Parameters
    ----------
    alpha : float
        Strength of the penalty
        ``alpha * (l1_ratio * |coef|_1 + (1 - l1_ratio) / 2 * |coef|^2)``.
    l1_ratio : float
        From 0 (ridge) to 1 (lasso).
    ties : {"efron", "breslow"}
        How events at the same time are counted [2]_.
    max_iter : int
        Most Newton steps.
    tol : float
        Steps end when the derivative of the objective is below it, per row and in each feature.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Log hazard ratio of one unit of each feature.
    n_iter_ : int
        Newton steps taken.
    center_ : ndarray of shape (n_features,)
        Means of the features: the baseline is the hazard there.
    strata_ : ndarray of shape (n_strata,)
        The strata, sorted; one without a name if none were given.

    References
    ----------
    .. [1] Cox, "Regression models and life-tables", J R Stat Soc B 1972.
       https://doi.org/10.1111/j.2517-6161.1972.tb00899.x
    .. [2] Efron, "The efficiency of Cox's likelihood function for censored data", JASA 1977.
       https://doi.org/10.1080/01621459.1977.10480613
    .. [3] Simon et al., "Regularization paths for Cox's proportional hazards model via
       coordinate descent", J Stat Softw 2011. https://doi.org/10.18637/jss.v039.i05

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.survival import CoxRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> time = rng.exponential(np.exp(-X[:, 0]))
    >>> y = pd.DataFrame({"event": time < 2, "time": np.minimum(time, 2)})
    >>> model = CoxRegression().fit(X, y)
    >>> bool(0.8 < model.coef_[0] < 1.2), model.predict_survival_function(X[:3], [0.5, 1]).shape
    (True, (3, 2))
    """

    def __init__(
        self,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        *,
        ties: Literal["efron", "breslow"] = "efron",
        max_iter: int = 100,
        tol: float = 1e-9,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.ties = ties
        self.max_iter = max_iter
        self.tol = tol

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None, strata: Any = None) -> Self:
        """Fit to rows with an event, or censored.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Finite numbers.
        y : DataFrame or structured array of shape (n_rows,)
            ``event`` and ``time``.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row.
        strata : array of shape (n_rows,), optional
            Rows are compared with those of their own stratum, which has a baseline of its own.

        Returns
        -------
        self
            The fitted model.

        Raises
        ------
        InputError
            If rows, times or strata cannot be used, or there is no event.
        ConfigurationError
            If a parameter is unusable.
        """
        self._check_parameters()
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        y = read_times(y, len(X))
        if not y["event"].any():
            raise InputError("y: expected at least one event, got none: all rows are censored.")
        weight = read_weights(sample_weight, len(X))
        self.strata_, numbers = _read_strata(strata, len(X))
        self.center_ = np.average(X, axis=0, weights=weight)
        centred = X - self.center_
        likelihood = PartialLikelihood(y["event"], y["time"], weight, numbers, self.ties)
        total = float(weight.sum())
        self.coef_ = _fit_rotated(self, centred, likelihood, total)
        self.baselines_ = likelihood.baseline(centred @ self.coef_)
        return self

    def _check_parameters(self) -> None:
        check_number(self.alpha, "alpha", minimum=0.0)
        check_number(self.l1_ratio, "l1_ratio", minimum=0.0, maximum=1.0)
        check_choice(self.ties, "ties", ("efron", "breslow"))
        check_integer(self.max_iter, "max_iter", minimum=1)
        check_number(self.tol, "tol", minimum=0.0, exclusive=True)

    @public
    def predict(self, X: Any) -> Floats:
        """Return the log risk of each row, relative to a row at the means of the features.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Finite numbers.

        Returns
        -------
        ndarray of shape (n_rows,)
            Higher means sooner.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray((X - self.center_) @ self.coef_)

    @public
    def predict_survival_function(self, X: Any, times: Any, strata: Any = None) -> Floats:
        """Return the probability that each row has had no event by each time.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Finite numbers.
        times : array of shape (n_times,)
            In the unit of y.
        strata : array of shape (n_rows,), optional
            Needed if strata were given to `fit`.

        Returns
        -------
        ndarray of shape (n_rows, n_times)
            Between 0 and 1, falling along each row.

        Raises
        ------
        InputError
            If a stratum was not fitted.
        """
        risk = np.exp(self.predict(X))
        numbers = self._strata_numbers(strata, len(risk))
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        hazards = np.stack([_at(times, *baseline) for baseline in self.baselines_])
        return np.asarray(np.exp(-risk[:, None] * hazards[numbers]))

    @public
    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C: how often the row with the higher risk has its event first."""
        y = read_times(y, len(X))
        return harrell_c(y["event"], y["time"], self.predict(X))

    def _strata_numbers(self, strata: Any, n_rows: int) -> NDArray[np.int64]:
        if strata is None and len(self.strata_) == 1:
            return np.zeros(n_rows, dtype=np.int64)
        if strata is None:
            msg = "strata: expected those of each row, as fit was given some, got None."
            raise InputError(msg)
        labels = np.asarray(strata)
        numbers = np.minimum(np.searchsorted(self.strata_, labels), len(self.strata_) - 1)
        unknown = int((self.strata_[numbers] != labels).sum())
        if len(labels) != n_rows or unknown:
            msg = (
                f"strata: expected for each of {n_rows} rows a stratum that was fitted, got "
                f"{len(labels)} entries, {unknown} of them new."
            )
            raise InputError(msg)
        return numbers


def _read_strata(strata: Any, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if strata is None:
        return np.zeros(1), np.zeros(n_rows, dtype=np.int64)
    labels = np.asarray(strata)
    if labels.shape != (n_rows,):
        raise InputError(f"strata: expected {n_rows} entries, one per row, got others.")
    found, numbers = np.unique(labels, return_inverse=True)
    return found, numbers


def _at(times: Floats, known: Floats, hazard: Floats) -> Floats:
    """Return a cumulative hazard at any times: it jumps at those that are known."""
    return np.append(0.0, hazard)[np.searchsorted(known, times, side="right")]


# -- the steps -------------------------------------------------------------------------


def _fit_rotated(
    model: CoxRegression, X: Floats, likelihood: PartialLikelihood, total: float
) -> Floats:
    """Return coefficients; those of more features than rows are found among the rows.

    A ridge does not change under rotation, and its solution lies where the rows do.
    """
    is_wide = X.shape[1] > len(X) and model.l1_ratio == 0 and model.alpha > 0
    if not is_wide:
        return _Newton(model, X, likelihood, total).run()
    left, spread, right = np.linalg.svd(X, full_matrices=False)
    return np.asarray(right.T @ _Newton(model, left * spread, likelihood, total).run())


class _Newton:
    """Newton's steps; with an L1 penalty, on the quadratic that they stand on."""

    def __init__(
        self, model: CoxRegression, X: Floats, likelihood: PartialLikelihood, total: float
    ) -> None:
        self.model, self.X, self.likelihood, self.total = model, X, likelihood, total
        # Everything is divided by the weight of all rows, so that `tol` means the same for few.
        self.ridge = model.alpha * (1.0 - model.l1_ratio) / total
        self.lasso = model.alpha * model.l1_ratio / total

    def run(self) -> Floats:
        """Return the coefficients."""
        coef = np.zeros(self.X.shape[1])
        slope = self._slope(coef)
        for step in range(self.model.max_iter):
            self.model.n_iter_ = step
            gradient = self._gradient(coef, slope)
            if self._steepness(coef, gradient) < self.model.tol:
                return coef
            coef, slope = self._stepped(coef, slope, gradient)
        self.model.n_iter_ = self.model.max_iter
        self._tell_unfinished(coef, slope)
        return coef

    def _tell_unfinished(self, coef: Floats, slope: Slope) -> None:
        steep = self._steepness(coef, self._gradient(coef, slope))
        if steep >= self.model.tol:
            warn_user(
                f"Cox regression: expected to end within max_iter={self.model.max_iter} steps, "
                f"but the derivative is still {steep:.1g}. A feature may tell events from "
                "censored rows without exception: use alpha > 0, or raise max_iter."
            )

    def _slope(self, coef: Floats) -> Slope:
        return self.likelihood.slope(self.X @ coef)

    def _objective(self, coef: Floats, slope: Slope) -> float:
        penalty = 0.5 * self.ridge * coef @ coef + self.lasso * np.abs(coef).sum()
        return float(penalty - slope.value / self.total)

    def _gradient(self, coef: Floats, slope: Slope) -> Floats:
        """Return the derivative of the smooth part."""
        return np.asarray(self.ridge * coef - self.X.T @ slope.residuals / self.total)

    def _steepness(self, coef: Floats, gradient: Floats) -> float:
        """Return the largest derivative, the kink at 0 accounted for."""
        steep = np.where(
            coef == 0,
            np.maximum(np.abs(gradient) - self.lasso, 0.0),
            np.abs(gradient + self.lasso * np.sign(coef)),
        )
        return float(steep.max(initial=0.0))

    def _stepped(self, coef: Floats, slope: Slope, gradient: Floats) -> tuple[Floats, Slope]:
        """Return coefficients that are no worse: the step is halved until they are."""
        # Features at 0 that the lasso holds there are left out of the quadratic.
        active = np.flatnonzero((coef != 0) | (np.abs(gradient) > self.lasso))
        X, risk = self.X[:, active], self.X @ coef
        curvature = self.likelihood.curvature(X, risk, slope.expected) / self.total
        curvature[np.diag_indices_from(curvature)] += self.ridge
        change = np.zeros_like(coef)
        change[active] = self._quadratic(curvature, gradient[active], coef[active])
        before = self._objective(coef, slope)
        before += _ROUNDING * (1.0 + abs(before))  # near the end steps are lost in the last digits
        for halving in range(_MOST_HALVINGS):
            tried = coef + change / 2.0**halving
            found = self._slope(tried)
            if np.isfinite(found.value) and self._objective(tried, found) <= before:
                return tried, found
        return coef, slope

    def _quadratic(self, curvature: Floats, gradient: Floats, coef: Floats) -> Floats:
        """Return the change at which the quadratic, with the lasso, is least."""
        if self.lasso == 0:
            return np.asarray(
                -np.linalg.lstsq(curvature, gradient, rcond=None)[0], dtype=np.float64
            )
        return _coordinate_descent(curvature, gradient, coef, self.lasso)


def _coordinate_descent(curvature: Floats, gradient: Floats, coef: Floats, lasso: float) -> Floats:
    """Return the change of `coef` that minimises a quadratic with an L1 penalty."""
    change, slope = np.zeros_like(coef), gradient.copy()
    diagonal = np.maximum(np.diag(curvature), np.finfo(float).eps)
    for _ in range(_SWEEPS):
        moved = 0.0
        for j in range(len(coef)):
            now = coef[j] + change[j]
            wanted = now - slope[j] / diagonal[j]
            wanted = np.sign(wanted) * max(abs(wanted) - lasso / diagonal[j], 0.0)
            if wanted != now:
                slope += curvature[:, j] * (wanted - now)
                change[j] += wanted - now
                moved = max(moved, abs(wanted - now) * np.sqrt(diagonal[j]))
        if moved < 1e-12:
            break
    return change
