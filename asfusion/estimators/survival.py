"""Time to an event, by early, joint and late fusion."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_row_labels
from asfusion._door import public
from asfusion.estimators._documented import documented
from asfusion.estimators.early import _EarlyFusion
from asfusion.estimators.late import _LateFusion
from asfusion.exceptions import InputError
from asfusion.survival._read import read_moments, read_times
from asfusion.survival.concordance import harrell_c
from asfusion.survival.curves import survival_at
from asfusion.targets._base import Target
from asfusion.targets.survival import Survival

Floats = NDArray[np.float64]


class FusionSurvival:
    """What times to an event add to a family."""

    target_: Any
    _face: ClassVar[str] = "survival"
    _usual_target: ClassVar[type[Target]] = Survival
    _task_attributes: tuple[str, ...] = ("prior_", "n_outputs_", "target_")

    @public
    def predict(self, X: Any) -> Floats:
        """Return the log risk of each row: higher means sooner.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,)
            The logarithm of the cumulative hazard, averaged over ``target_.times_``.
        """
        curves = self._outputs(X)  # type: ignore[attr-defined]
        return np.asarray(self.target_.shaped(curves))

    @public
    def predict_survival_function(self, X: Any, times: Any = None) -> Floats:
        """Return the probability that each row has had no event by each time.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.
        times : array of shape (n_times,), optional
            In the unit of y, up to the last event of the training rows; ``target_.times_`` by
            default. Curves are straight between those.

        Returns
        -------
        ndarray of shape (n_rows, n_times)
            Between 0 and 1, falling along each row.

        Raises
        ------
        InputError
            If times are no numbers, or one lies beyond the last event of the training rows.
        """
        check_is_fitted(self)
        wanted = None if times is None else self._known_times(times)
        curves = self._outputs(X)  # type: ignore[attr-defined]
        return curves if wanted is None else survival_at(curves, self.target_.times_, wanted)

    def _known_times(self, times: Any) -> Floats:
        """Return the times asked for, up to the last event; networks need not run for others."""
        wanted, last = read_moments(times), self.target_.times_[-1]
        if wanted.min() < 0 or wanted.max() > last:
            msg = (
                f"times: expected numbers from 0 to the last event of the training rows, "
                f"{last:.4g}, got others. Nothing is known beyond it."
            )
            raise InputError(msg)
        return wanted

    @public
    def predict_median(self, X: Any) -> Floats:
        """Return the time by which half of the rows like each would have had their event.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,)
            In the unit of y; infinite where more than half outlive ``target_.times_``.
        """
        curves = self._outputs(X)  # type: ignore[attr-defined]
        known = np.append(0.0, self.target_.times_)
        falling = np.concatenate([np.ones((len(curves), 1)), curves], axis=1)
        below = falling <= 0.5
        place = np.where(below.any(axis=1), below.argmax(axis=1), 1)
        rows = np.arange(len(curves))
        high, low = falling[rows, place - 1], falling[rows, place]
        share = np.divide(high - 0.5, high - low, out=np.ones_like(high), where=high > low)
        median = known[place - 1] + share * (known[place] - known[place - 1])
        return np.where(below.any(axis=1), median, np.inf)

    @public
    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C: how often the row with the higher risk has its event first.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit.
        y : DataFrame or structured array of shape (n_rows,)
            ``event`` and ``time``.

        Returns
        -------
        float
            From 0 to 1; 0.5 by chance.

        Raises
        ------
        InputError
            If `y` cannot be used, or its rows are labelled otherwise than those of `X`.
        """
        check_row_labels(X, y=y)
        risk = self.predict(X)
        y = read_times(y, len(risk))
        return harrell_c(y["event"], y["time"], risk)

    def __sklearn_tags__(self) -> Tags:
        """Say that y is needed."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        return tags


@documented
class EarlyFusionSurvival(FusionSurvival, _EarlyFusion):
    """Put the features of all modalities side by side and fit one survival model.

    Tables give their prepared features, images and notes the embedding of their
    network: frozen if it is pretrained, otherwise trained first on this modality alone.
    An absent modality is filled with the training mean and marked by a flag.

    Parameters
    ----------
    encoders
    estimator : survival model, str or None
        Any with `predict_survival_function`: `asfusion.survival.CoxRegression` (elastic net),
        `BoostedSurvival`, `ForestSurvival`, or one of scikit-survival; or by name ``"boosted"``,
        ``"forest"``, ``"xgboost"``. ``"linear"``, the default, is a Cox regression with a ridge
        penalty, chosen by the integrated Brier score of patients that were left out; 1 with
        fewer than 40 patients or 5 events.
    scale
    network
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    encoders_
    estimator_ : survival model
        The fitted estimator.
    penalty_
    feature_names_
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["crp", "esr"])
    >>> time = rng.exponential(np.exp(-X["crp"]))
    >>> y = pd.DataFrame({"event": time < 2, "time": np.minimum(time, 2)})
    >>> model = af.EarlyFusionSurvival(verbose=0).fit(X, y)
    >>> model.predict_survival_function(X.head(2), [0.5, 1.0]).shape
    (2, 2)
    """


@documented
class LateFusionSurvival(FusionSurvival, _LateFusion):
    """Fit one survival model per modality and combine their curves.

    Each row is decided by the modalities that it has; weights are renormalised over them.

    Parameters
    ----------
    encoders
    estimator : dict of str to survival model, survival model, str or None
        Model of a modality by name, or one model for all of them, as in
        `EarlyFusionSurvival`, a `JointFusionSurvival`, or ``"network"``. The others get the
        ``"linear"`` one, or the network of their encoder where that has to learn.
    combine : {"auto", "mean", "weighted", "product", "stacking"}
        Mean of curves, which is ``"auto"``, too; weighted mean, by weights with the least
        out-of-fold integrated Brier score; product of experts, whose log hazards add to that
        of the Kaplan-Meier curve as far as they are independent; or a Cox regression on
        out-of-fold log hazards and presence flags.
    weights
    cv : int, splitter or iterable of splits
        Inner folds of every combination that learns; an int keeps groups whole.
    network
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    models_
    weights_
    combination_
    dependence_
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["crp", "esr"])
    >>> time = rng.exponential(np.exp(-X["crp"]))
    >>> y = pd.DataFrame({"event": time < 2, "time": np.minimum(time, 2)})
    >>> model = af.LateFusionSurvival(
    ...     {"crp": af.TabularEncoder(["crp"]), "esr": af.TabularEncoder(["esr"])},
    ...     af.survival.CoxRegression(alpha=1.0), verbose=0,
    ... )
    >>> model.fit(X, y).predict_median(X.head(2)).shape
    (2,)
    """
