"""Several labels at once, by early, joint and late fusion."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags

from asfusion._door import public
from asfusion.estimators._documented import documented
from asfusion.estimators.early import _EarlyFusion
from asfusion.estimators.late import _LateFusion
from asfusion.targets._base import Target
from asfusion.targets.labels import Labels

Floats = NDArray[np.float64]


class FusionMultilabel:
    """What several labels add to a family."""

    target_: Any
    _face: ClassVar[str] = "multilabel"
    _usual_target: ClassVar[type[Target]] = Labels
    _task_attributes: tuple[str, ...] = ("prior_", "n_outputs_", "target_")

    @public
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each label.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows, n_labels)
            In the order of ``target_.names_``. Labels do not exclude each other: rows do not
            sum to one.
        """
        return np.asarray(self._outputs(X))  # type: ignore[attr-defined]

    @public
    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return which labels are likelier than not.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows, n_labels)
            1 or 0.
        """
        outputs = self._outputs(X)  # type: ignore[attr-defined]
        return np.asarray(self.target_.shaped(outputs))

    def __sklearn_tags__(self) -> Tags:
        """Say that y is needed, and has columns."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags


@documented
class EarlyFusionMultilabel(FusionMultilabel, _EarlyFusion):
    """Put the features of all modalities side by side and fit one classifier for each label.

    A row teaches the labels that it has; labels may be missing in `y`.

    Parameters
    ----------
    encoders
    estimator : scikit-learn classifier, str or None
        Any with `predict_proba`, or by name ``"forest"``, ``"boosted"``, ``"adaboost"``,
        ``"xgboost"``; a copy is fitted for each label. ``"linear"``, the default, is a logistic
        regression with a ridge penalty, one for all labels, chosen by the log-loss on patients
        that were left out; 1 with fewer than 40 of them.
    scale
    network
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    encoders_
    estimator_ : PerLabel
        The fitted classifiers.
    penalty_
    feature_names_
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["crp", "esr"])
    >>> y = (X > 0).astype(float).rename(columns={"crp": "uveitis", "esr": "psoriasis"})
    >>> y.iloc[::5, 1] = np.nan  # not asked
    >>> af.EarlyFusionMultilabel(verbose=0).fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """


@documented
class LateFusionMultilabel(FusionMultilabel, _LateFusion):
    """Fit one model per modality and combine what they say of each label.

    Parameters
    ----------
    encoders
    estimator : dict of str to classifier, classifier, str or None
        Model of a modality by name, or one model for all of them, as in `EarlyFusionMultilabel`,
        or ``"network"``. The others get the ``"linear"`` one, or the network of their encoder
        where that has to learn.
    combine : {"auto", "mean", "weighted", "product", "stacking"}
        ``"auto"`` is the product of linear models, from 40 patients on, and the mean of others.
        Mean of probabilities; weighted mean with the least out-of-fold log-loss; product of
        experts over the prior of each label, as far as they are independent; or a logistic
        regression on out-of-fold log odds.
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
    >>> from sklearn.linear_model import LogisticRegression
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["crp", "esr"])
    >>> y = (X > 0).astype(float).rename(columns={"crp": "uveitis", "esr": "psoriasis"})
    >>> model = af.LateFusionMultilabel(
    ...     {"crp": af.TabularEncoder(["crp"]), "esr": af.TabularEncoder(["esr"])},
    ...     LogisticRegression(), verbose=0,
    ... )
    >>> model.fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """
