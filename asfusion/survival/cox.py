"""Cox regression with an elastic net, ties and strata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from asfusion.survival._efron import PartialLikelihood
from asfusion.survival._newton import Newton, Penalty
from asfusion.survival._read import read_labels, read_moments, read_times
from asfusion.survival.concordance import harrell_c

Floats = NDArray[np.float64]

_TO_COMPARE = 1e-5  # `tol` of models of which one is chosen, and fitted anew
_CONSTANT = 1e-12  # a spread below it, for a mean of one, is rounding
_ROUNDING = 1e-15  # and one below it beside that of another feature, where the mean is nothing


class CoxRegression(Bundled, BaseEstimator):  # type: ignore[misc]
    """Proportional hazards: the log risk of a row is linear in its features.

    The partial log-likelihood, less ``alpha`` times the elastic net, is made as large as it
    gets by Newton's steps; of many rows, a sample takes the first of them. Features are taken
    as they are: scale them before they are penalised. The likelihood is a sum over events, so
    that the same `alpha` weighs less in more rows, as in scikit-learn's ridge.

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
        Steps end when the derivative of the objective is below it, per row and in each feature,
        of which one standard deviation is the unit.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Log hazard ratio of one unit of each feature.
    n_iter_ : int
        Steps taken over all rows.
    center_ : ndarray of shape (n_features,)
        Means of the features: the baseline is the hazard there.
    strata_ : ndarray of shape (n_strata,)
        The strata, sorted; one without a name if none were given.
    baselines_ : list of (times, hazard)
        For each of ``strata_`` its event times (n_times,), rising, in the unit of y, and the
        cumulative hazard (n_times,) that a row at ``center_`` has lived through by them.

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
            Text or numbers, none missing. Rows are compared with those of their own stratum,
            which has a baseline of its own.

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
        return self._fit_from(X, y, sample_weight, strata)

    def _fit_from(
        self, X: Any, y: Any, sample_weight: Any, strata: Any = None, start: Floats | None = None
    ) -> Self:
        """Fit, from coefficients that are near, if some are known; no other ones come of it."""
        self._check_parameters()
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        y = read_times(y, len(X))
        if not y["event"].any():
            raise InputError("y: expected at least one event, got none: all rows are censored.")
        weight = read_weights(sample_weight, len(X))
        self.strata_, numbers = _read_strata(strata, len(X))
        self.center_ = weight @ X / weight.sum()
        likelihood = PartialLikelihood(y["event"], y["time"], weight, numbers, self.ties)
        self.coef_, risk = _fit_rotated(self, X - self.center_, likelihood, start)
        self.baselines_ = likelihood.baseline(risk)
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
            If `times` are no numbers, or a stratum was not fitted.
        """
        times = read_moments(times)
        risk = np.exp(self.predict(X))
        numbers = self._strata_numbers(strata, len(risk))
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
        place = {label: number for number, label in enumerate(self.strata_.tolist())}
        labels = read_labels(strata, n_rows, "strata").tolist()
        numbers = np.asarray([place.get(label, -1) for label in labels], dtype=np.int64)
        unknown = int((numbers < 0).sum())
        if unknown:
            msg = (
                f"strata: expected for each of {n_rows} rows a stratum that was fitted, got "
                f"{unknown} of them new. Predict the rows of fitted strata alone."
            )
            raise InputError(msg)
        return numbers


def _read_strata(strata: Any, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if strata is None:
        return np.zeros(1), np.zeros(n_rows, dtype=np.int64)
    found, numbers = np.unique(read_labels(strata, n_rows, "strata"), return_inverse=True)
    return found, numbers


def _at(times: Floats, known: Floats, hazard: Floats) -> Floats:
    """Return a cumulative hazard at any times: it jumps at those that are known."""
    return np.append(0.0, hazard)[np.searchsorted(known, times, side="right")]


# -- the coefficients --------------------------------------------------------------------


def cox_path(
    X: Floats, y: NDArray[np.void], sample_weight: Floats, alphas: Sequence[float]
) -> Iterator[CoxRegression]:
    """Yield a ridge for each penalty, each found from where the last one ended, to be compared."""
    near: Floats | None = None
    for alpha in alphas:
        model = CoxRegression(alpha, tol=_TO_COMPARE)._fit_from(X, y, sample_weight, start=near)
        near = model.coef_
        yield model


def _fit_rotated(
    model: CoxRegression, X: Floats, likelihood: PartialLikelihood, start: Floats | None
) -> tuple[Floats, Floats]:
    """Return coefficients and log risks; of more features than rows, found among the rows.

    A ridge does not change under rotation, and its solution lies where the rows do. `X` (N, P) may
    be overwritten.
    """
    is_wide = X.shape[1] > len(X) and model.l1_ratio == 0 and model.alpha > 0
    if not is_wide:
        return _fit_scaled(model, X, likelihood, start)
    left, spread, right = np.linalg.svd(X, full_matrices=False)
    near = None if start is None else right @ start
    coef, risk = _fit(model, left * spread, likelihood, np.ones(len(spread)), near)
    return np.asarray(right.T @ coef), risk


def _fit_scaled(
    model: CoxRegression, X: Floats, likelihood: PartialLikelihood, start: Floats | None
) -> tuple[Floats, Floats]:
    """Return coefficients and log risks, found where all features have one spread."""
    spread = np.sqrt(np.einsum("ij,ij->j", X, X) / len(X))
    least = np.maximum(_CONSTANT * np.abs(model.center_), _ROUNDING * spread.max(initial=0.0))
    scale = np.where(spread > least, spread, 1.0)
    X /= scale
    coef, risk = _fit(model, X, likelihood, scale, None if start is None else start * scale)
    return coef / scale, risk


def _fit(
    model: CoxRegression,
    X: Floats,
    likelihood: PartialLikelihood,
    scale: Floats,
    start: Floats | None,
) -> tuple[Floats, Floats]:
    """Return coefficients and log risks of features that were divided by `scale` (P,)."""
    strength = model.alpha / float(likelihood.weight.sum())
    ridge = strength * (1.0 - model.l1_ratio) / scale**2
    lasso = strength * model.l1_ratio / scale
    newton = Newton(X, likelihood, Penalty(ridge, lasso, model.tol, model.max_iter), start)
    coef = newton.run()
    model.n_iter_ = newton.n_iter
    if not newton.has_ended:
        warn_user(
            f"Cox regression: expected to end within max_iter={model.max_iter} steps, but the "
            f"derivative is still {newton.place.steepness:.1g}. A feature may tell events from "
            "censored rows without exception: use alpha > 0, or raise max_iter."
        )
    return coef, X @ coef
