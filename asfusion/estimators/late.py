"""Late fusion: one model per modality, decisions combined over what a row has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_choice, quoted
from asfusion._frames import Frame
from asfusion._progress import progress
from asfusion._random import RandomState
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder
from asfusion.encoders._given import Encoders
from asfusion.estimators._base import (
    MEMORY_GB,
    FusionClassifier,
    FusionEstimator,
    FusionRegressor,
    columns_of,
    estimator_class,
    forget_checkpoints,
)
from asfusion.estimators._combine import Stacker
from asfusion.estimators._documented import documented
from asfusion.estimators._named import NETWORK, check_model, is_linear
from asfusion.estimators._parts import Parts
from asfusion.estimators._penalty import can_choose
from asfusion.estimators._rows import TrainingRows, cells_present
from asfusion.estimators._splits import inner_splits
from asfusion.estimators._streamed_early import check_streamable
from asfusion.estimators._streams import raw_of
from asfusion.estimators._types import CV, ClassWeight, Combine, ModalityModels, Threshold, Weights
from asfusion.estimators.early import check_network, network_for
from asfusion.estimators.views.late import LateDrawn
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Target
from asfusion.targets._pools import learned_dependence, majority, weighted_mean

if TYPE_CHECKING:
    from asfusion.estimators._joint import JointFusion

_COMBINE = get_args(Combine)


def check_combine(combine: object, target: Target) -> None:
    """Raise unless decisions on a target can be combined so."""
    check_choice(combine, "combine", _COMBINE)
    if combine == "vote" and not target.has_majority:
        msg = (
            "combine: expected one for a target without a majority (numbers, labels, times), got "
            "'vote'."
        )
        raise ConfigurationError(msg)


class _LateFusion(LateDrawn, FusionEstimator):
    """The family, without the task."""

    _family = "late"
    _streams = True
    _local_params = frozenset({"memory_gb"})
    _before_last: ClassVar[str] = "models_"
    # Decisions on rows not seen, their presence and the rows, while fit goes on.
    _judged: tuple[NDArray[np.float64], NDArray[np.bool_], TrainingRows] | None = None

    def __init__(
        self,
        encoders: Encoders = "auto",
        estimator: ModalityModels = None,
        combine: Combine = "auto",
        *,
        weights: Weights = None,
        cv: CV = 5,
        network: JointFusion | None = None,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        self.encoders = encoders
        self.estimator = estimator
        self.combine = combine
        self.weights = weights
        self.cv = cv
        self.network = network
        self.memory_gb = memory_gb
        self.verbose = verbose
        self.random_state = random_state
        self.target = target

    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        check_combine(self.combine, self.target_)
        check_network(self.target_, self.network)
        encoders = self._described(rows)
        self._check_estimators(encoders)
        self.models_ = self._fit_models(encoders, rows, resume=resume)
        if not self.models_:
            msg = "X: expected at least one modality to learn from, got none with data."
            raise InputError(msg)
        self._judged = None
        self._learn_combination(rows)

    def _let_go(self) -> None:
        self._judged = None

    def _with_last(self, combine: Any, rows: TrainingRows) -> Self:
        """Return the same fitted models with another combination, learned from the same rows."""
        other = copy.copy(self)
        other.combine = combine
        check_combine(combine, self.target_)
        other._learn_combination(rows)
        return other

    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        chosen = list(self.models_) if names is None else list(names)
        decisions, present = _decide(self.models_, frame, self.n_outputs_, chosen)
        return Parts({name: decisions[:, m] for m, name in enumerate(chosen)}, present)

    def _encode_prepared(self, name: str, prepared: Prepared) -> NDArray[np.float64]:
        model = self.models_[name]
        content = model._encode_prepared(name, prepared)
        return model._decided(Parts({name: content}, prepared.present.numpy()[:, None]))

    def _decide(self, parts: Parts) -> NDArray[np.float64]:
        decisions = [np.asarray(content) for content in parts.contents.values()]
        return self._combined(np.stack(decisions, axis=1), parts.present)

    def _as_probed(self) -> Self:
        asked = super()._as_probed()
        asked.models_ = {name: model._as_probed() for name, model in self.models_.items()}
        return asked

    def _modality_encoders(self) -> dict[str, Encoder]:
        return {name: model.encoders_[name] for name, model in self.models_.items()}

    # -- parts -------------------------------------------------------------------------

    def _check_estimators(self, encoders: dict[str, Encoder]) -> None:
        if self.estimator is None:
            return
        if not isinstance(self.estimator, Mapping):
            check_model(self.target_, self.estimator, "estimator", NETWORK)
            return
        dropped = self.encoders if isinstance(self.encoders, Mapping) else {}
        unknown = [n for n in self.estimator if n not in encoders and n not in dropped]
        if unknown:
            msg = f"estimator: expected modalities among {quoted(encoders)}, got {quoted(unknown)}."
            raise ConfigurationError(msg)
        given = {name: part for name, part in self.estimator.items() if part is not None}
        for name, estimator in given.items():
            check_model(self.target_, estimator, f"estimator[{name!r}]", NETWORK)

    def _check_streamed(self) -> None:
        target = self._target()
        for name, encoder in self._check_encoders().items():
            estimator = self._estimator_of(name, encoder)
            if not _is_network(estimator):
                check_streamable(target, estimator, {name: encoder})

    def _fit_models(
        self,
        encoders: dict[str, Encoder],
        rows: TrainingRows,
        *,
        resume: bool = False,
        in_fold: bool = False,
    ) -> dict[str, FusionEstimator]:
        """Return a fitted model of each modality that these rows can teach."""
        models = {}
        for name, encoder in encoders.items():
            have = np.flatnonzero(cells_present(rows.frame, columns_of(encoder, rows.frame)))
            some = rows if len(have) == len(rows) else rows.take(have)
            if len(some) < 2 or not self.target_.can_teach(some.y):
                warn_user(
                    f"Modality {name!r}: {self.target_.lacks(some.y, 'that have it')}. It is "
                    "left out."
                )
                continue
            model = self._model_of(name, clone(encoder))
            if in_fold:
                model = self._for_a_fold(name, model)
            model._fit_rows(some, resume=resume)
            models[name] = model
        return models

    def _model_of(self, name: str, encoder: Encoder) -> FusionEstimator:
        """Return the unfitted model of one modality, itself a fusion of one."""
        estimator = self._estimator_of(name, encoder)
        if _is_network(estimator):
            template = self.network if isinstance(estimator, str) else estimator
            return network_for(self, template, name, encoder)
        early = estimator_class("early", self.target_)
        made = early({name: encoder}, estimator, network=self.network, verbose=self.verbose)
        adopted: FusionEstimator = made._adopt(self)
        return adopted

    def _estimator_of(self, name: str, encoder: Encoder) -> Any:
        """Return what was asked for to model a modality."""
        given = self.estimator
        estimator = given.get(name) if isinstance(given, Mapping) else given
        return NETWORK if estimator is None and encoder.needs_training else estimator

    def _for_a_fold(self, name: str, model: FusionEstimator) -> FusionEstimator:
        """Return the model of a modality as an inner fold fits it."""
        penalty = getattr(self.models_[name], "penalty_", None)
        if penalty is not None:
            # Chosen once, by folds of its own: one of ten values says next to nothing of a row,
            # and choosing it again in each fold would cost ten times as much.
            model.set_params(estimator=self.target_.linear(penalty), scale="blocks")
        forget_checkpoints(model)
        return model

    # -- combination -------------------------------------------------------------------

    def _learn_combination(self, rows: TrainingRows) -> None:
        """Set ``weights_`` or ``stacker_`` where the combination has something to learn."""
        names = list(self.models_)
        self.weights_ = dict.fromkeys(names, 1.0 / len(names))
        self.dependence_ = 0.0
        self.combination_ = self._chosen_combination(rows)
        if self.weights is not None:
            self.weights_ = self._given_weights(names)
        elif self.target_.weighs(self.combination_):
            values = self._learned_weights(rows)
            self.weights_ = {name: float(v) for name, v in zip(names, values, strict=True)}
        elif self.target_.tempers(self.combination_):
            self.dependence_ = self._learned_dependence(rows)
        elif self.combination_ == "stacking":
            decisions, present, judged = self._out_of_fold(rows)
            usable = judged.take(np.flatnonzero(present.any(axis=1)))
            decisions, present = decisions[present.any(axis=1)], present[present.any(axis=1)]
            if not self.target_.can_teach(usable.y):
                msg = (
                    f"combine='stacking': {self.target_.lacks(usable.y, 'predicted unseen')}. "
                    "Use combine='mean', or fit on more rows."
                )
                raise InputError(msg)
            self.stacker_ = self._stacker().fit(decisions, present, usable.y, usable.loss_weight)

    def _chosen_combination(self, rows: TrainingRows) -> str:
        """Return what ``combine="auto"`` means here.

        The product of linear models is better calibrated than their mean, which is timid. It was
        not studied for other models, and of networks it would cost five fits more.
        """
        if self.combine != "auto":
            return self.combine
        models = self.models_.values()
        linear = all(is_linear(getattr(model, "estimator", model)) for model in models)
        learns = linear and self.target_.has_sharpness and self.target_.tempers("product")
        some = learns and len(models) > 1 and can_choose(self.target_, rows.y, rows.groups)
        return "product" if some else "mean"

    def _learned_weights(self, rows: TrainingRows) -> NDArray[np.float64]:
        decisions, present, judged = self._out_of_fold(rows)
        return self.target_.pool_weights(decisions, present, judged.y, judged.loss_weight)

    def _learned_dependence(self, rows: TrainingRows) -> float:
        """Return how much of what modalities say is the same; 0 where that cannot be learned."""
        if len(self.models_) < 2 or not can_choose(self.target_, rows.y, rows.groups):
            return 0.0
        decisions, present, judged = self._out_of_fold(rows)
        some = np.flatnonzero(present.any(axis=1))
        if not len(some):
            return 0.0
        decisions, present, judged = decisions[some], present[some], judged.take(some)
        weights = np.asarray(list(self.weights_.values()))

        def loss(dependence: float) -> float:
            told = self.target_.product(decisions, present, self.prior_, weights, dependence)
            return self.target_.deviance(told, judged.y, judged.loss_weight)

        return learned_dependence(loss)

    def _given_weights(self, names: list[str]) -> dict[str, float]:
        given = self.weights
        if self.combine != "weighted":
            msg = f"weights: expected combine='weighted' with them, got {self.combine!r}."
            raise ConfigurationError(msg)
        if not isinstance(given, Mapping) or not set(names) <= set(given):
            msg = f"weights: expected a dict with a weight for each of {quoted(names)}."
            raise ConfigurationError(msg)
        values = [float(given[name]) for name in names]
        if not np.isfinite(values).all() or min(values) < 0 or sum(values) <= 0:
            raise ConfigurationError("weights: expected finite weights >= 0, not all zero.")
        return {name: value / sum(values) for name, value in zip(names, values, strict=True)}

    def _out_of_fold(
        self, rows: TrainingRows
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], TrainingRows]:
        """Return decisions on rows that the deciding models did not see, and those rows."""
        if self._judged is not None:
            return self._judged
        seed = self._seed("folds")
        splits = inner_splits(rows, self.cv, target=self.target_, seed=seed)
        if not splits:
            msg = (
                f"combine={self.combination_!r}: expected enough rows and groups for inner folds, "
                f"got {len(rows)} rows. Use combine='mean' and a number as threshold."
            )
            raise InputError(msg)
        names = list(self.models_)
        parts, judged = [], []
        for learn, judge in progress(splits, "Inner folds", unit="fold"):
            encoders = {name: self.models_[name].encoders[name] for name in names}
            models = self._fit_models(encoders, rows.take(learn), in_fold=True)
            parts.append(_decide(models, rows.frame.take(judge), self.n_outputs_, names))
            judged.append(judge)
        decisions = np.concatenate([part[0] for part in parts])
        present = np.concatenate([part[1] for part in parts])
        places = np.concatenate(judged)
        if rows.frame.is_streamed:  # whose rows are taken as they lie
            order = np.argsort(places)
            decisions, present, places = decisions[order], present[order], places[order]
        self._judged = decisions, present, rows.take(places)
        return self._judged

    def _unseen(self, rows: TrainingRows) -> tuple[NDArray[np.float64], TrainingRows]:
        decisions, present, judged = self._out_of_fold(rows)
        kept = np.flatnonzero(present.any(axis=1))
        decisions, present, judged = decisions[kept], present[kept], judged.take(kept)
        if self.combination_ != "stacking":
            return self._combined(decisions, present), judged
        # The stacker learned from these very rows: it is fitted anew without each fold.
        outputs = np.zeros((len(judged), self.n_outputs_))
        stacker = self._stacker()
        for learn, judge in self._inner_folds(judged):
            weight = judged.loss_weight[learn]
            model = stacker.fit(decisions[learn], present[learn], judged.y[learn], weight)
            outputs[judge] = stacker.predict(model, decisions[judge], present[judge])
        return outputs, judged

    def _stacker(self) -> Stacker:
        return Stacker(self.target_, self.prior_)

    def _combined(
        self, decisions: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        if self.combination_ == "stacking":
            return self._stacker().predict(self.stacker_, decisions, present)
        if self.combination_ == "vote":
            return majority(decisions, present)
        weights = np.asarray(list(self.weights_.values()))
        if self.combination_ == "product":
            known = decisions, present, self.prior_, weights
            return self.target_.product(*known, self.dependence_)
        return weighted_mean(decisions, present, weights)


def _is_network(estimator: Any) -> bool:
    """Return whether a modality is modelled by the network of its encoder."""
    if isinstance(estimator, str):
        return estimator == NETWORK
    return isinstance(estimator, FusionEstimator) and estimator.has_gradients


def _decide(
    models: Mapping[str, FusionEstimator],
    frame: Frame,
    n_outputs: int,
    names: list[str] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return decisions (N, M, K) and presence (N, M); a model that is not there is absent."""
    names = list(models) if names is None else names
    decisions = np.zeros((len(frame), len(names), n_outputs))
    present = np.zeros((len(frame), len(names)), dtype=bool)
    for m, name in enumerate(names):
        if name in models:
            decisions[:, m], present[:, m] = raw_of(models[name], frame)
    return decisions, present


@documented
class LateFusionClassifier(FusionClassifier, _LateFusion):
    """Fit one classifier per modality and combine their probabilities.

    Each row is decided by the modalities that it has; weights are renormalised over them.
    Several encoders of one column, each with another backbone, make an ensemble of networks.

    Parameters
    ----------
    encoders
    estimator : dict of str to classifier, classifier, str or None
        Model of a modality by name, or one model for all of them: any scikit-learn
        classifier with `predict_proba` or the name of one, as in `EarlyFusionClassifier` (on the
        encoder's features or embedding), ``"network"`` (that of the encoder), or a
        `JointFusionClassifier` (which trains it with its settings). The others get the
        ``"linear"`` one, or the network of their encoder where that has to learn.
    combine : {"auto", "mean", "vote", "weighted", "product", "stacking"}
        ``"auto"`` is the product of linear models, from 40 patients on, and the mean of others.
        Mean of probabilities; one vote per modality, where the mean decides between equals;
        weighted mean, by weights with the least out-of-fold
        log-loss; product of experts over the class prior [2]_, as far as they are independent:
        how far is learned out of fold, on at least 40 patients; or a logistic regression on
        out-of-fold log-odds and presence flags.
    weights
    cv : int, splitter or iterable of splits
        Inner folds of every combination that learns; an int keeps groups whole.
    network
    class_weight
    threshold
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    classes_
    models_
    weights_
    combination_
    dependence_
    threshold_
    prior_

    References
    ----------
    .. [1] Huang et al., "Fusion of medical imaging and electronic health records using
       deep learning", npj Digital Medicine 2020. https://doi.org/10.1038/s41746-020-00341-z
    .. [2] Hinton, "Training products of experts by minimizing contrastive divergence",
       Neural Computation 2002. https://doi.org/10.1162/089976602760128018

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(40, 3)), columns=["crp", "esr", "bmi"])
    >>> y = (X["crp"] + X["bmi"] > 0).astype(int)
    >>> model = af.LateFusionClassifier(
    ...     {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])},
    ...     RandomForestClassifier(20), combine="product", random_state=0,
    ... )
    >>> model.fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """

    def __init__(
        self,
        encoders: Encoders = "auto",
        estimator: ModalityModels = None,
        combine: Combine = "auto",
        *,
        weights: Weights = None,
        cv: CV = 5,
        network: JointFusion | None = None,
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        super().__init__(
            encoders,
            estimator,
            combine,
            weights=weights,
            cv=cv,
            network=network,
            memory_gb=memory_gb,
            verbose=verbose,
            random_state=random_state,
            target=target,
        )
        self.class_weight = class_weight
        self.threshold = threshold


@documented
class LateFusionRegressor(FusionRegressor, _LateFusion):
    """Fit one regressor per modality and combine their predictions.

    Each row is decided by the modalities that it has; weights are renormalised over them.

    Parameters
    ----------
    encoders
    estimator : dict of str to regressor, regressor, str or None
        Model of a modality by name, or one model for all of them: any scikit-learn
        regressor or the name of one, as in `EarlyFusionRegressor`, ``"network"``, or a
        `JointFusionRegressor` (which trains the encoder's network with its settings). The others
        get the ``"linear"`` one, or the network of their encoder where that has to learn.
    combine : {"auto", "mean", "weighted", "product", "stacking"}
        Mean, which is ``"auto"``, too; ``"weighted"`` and ``"product"`` weigh each modality by one
        over its out-of-fold squared error, which is the product of Gaussian experts; or a ridge
        regression on out-of-fold predictions and presence flags.
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
    prior_

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> model = af.LateFusionRegressor(random_state=0).fit(X, X[:, 0] - X[:, 1])
    >>> model.predict(X[:2]).shape
    (2,)
    """
