"""Early fusion: features and embeddings side by side, then one model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import clone

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._random import RandomState, torch_seed
from asfusion._tokens import Prepared
from asfusion.encoders._base import Encoder
from asfusion.encoders._given import Encoders
from asfusion.estimators._assembled import Assembled, are_many
from asfusion.estimators._base import (
    MEMORY_GB,
    FusionClassifier,
    FusionEstimator,
    FusionRegressor,
    estimator_class,
)
from asfusion.estimators._blocks import block_of, is_packed, present_of
from asfusion.estimators._documented import documented
from asfusion.estimators._filling import Filling
from asfusion.estimators._named import check_model, is_linear, model_of
from asfusion.estimators._parts import Parts
from asfusion.estimators._penalty import choose_penalty
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._sklearn import fit_part
from asfusion.estimators._streamed_early import (
    StreamedFeatures,
    check_streamable,
    fit_streamed,
    fits_in_passes,
)
from asfusion.estimators._types import ClassWeight, LastModel, Threshold
from asfusion.estimators.views.early import EarlyDrawn
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.nn._asked import precision_asked
from asfusion.targets._base import Target

if TYPE_CHECKING:
    from asfusion.estimators._joint import JointFusion

Scale = Literal["auto", "blocks", "columns", "none"]
_SCALES = ("auto", "blocks", "columns", "none")


class _EarlyFusion(EarlyDrawn, Filling, FusionEstimator):
    """The family, without the task."""

    _family = "early"
    _streams = True
    _local_params = frozenset({"memory_gb"})
    _before_last: ClassVar[str] = "encoders_"

    def __init__(
        self,
        encoders: Encoders = "auto",
        estimator: LastModel = None,
        *,
        scale: Scale = "auto",
        network: JointFusion | None = None,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        self.encoders = encoders
        self.estimator = estimator
        self.scale = scale
        self.network = network
        self.memory_gb = memory_gb
        self.verbose = verbose
        self.random_state = random_state
        self.target = target

    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        check_choice(self.scale, "scale", _SCALES)
        check_network(self.target_, self.network)
        if self.estimator is not None:
            check_model(self.target_, self.estimator, "estimator")
        self.encoders_ = self._fit_encoders(rows)
        for name, encoder in self.encoders_.items():
            if encoder.needs_training:
                self.encoders_[name] = self._train_alone(name, encoder, rows, resume=resume)
        self._fit_last(rows)

    def _fit_last(self, rows: TrainingRows) -> None:
        """Fit the estimator to what the fitted encoders make of the rows."""
        if rows.frame.is_streamed:
            self._fit_last_streamed(rows)
            return
        many = are_many(len(rows), self._n_features())
        blocks = self._blocks(rows.frame, packs=many and fits_in_passes(self, rows.y))
        self._learn_filling(blocks, rows)
        if any(map(is_packed, blocks.values())):
            self._fit_last_assembled(blocks, rows)
            return
        features, present = self._fill(blocks)
        kept = np.flatnonzero(present)
        if len(kept) < len(rows):
            rows, features = rows.take(kept), features[kept]
        self._check_teaching(rows)
        self.estimator_, self.penalty_ = self._fit_head(
            self._scaled(features), rows, self._seed("estimator")
        )

    def _fit_last_assembled(self, blocks: dict[str, Any], rows: TrainingRows) -> None:
        """Do the same for a linear model, of more features than there need be at once."""
        some = np.any([present_of(block) for block in blocks.values()], axis=0)
        kept = np.flatnonzero(some)
        rows = rows if len(kept) == len(rows) else rows.take(kept)
        self._check_teaching(rows)
        features = Assembled(self, blocks, kept)
        self.estimator_, self.penalty_ = fit_streamed(self, features, rows)

    def _fit_last_streamed(self, rows: TrainingRows) -> None:
        """Do the same for rows that are read in pieces."""
        made = StreamedFeatures(self, rows)
        self._set_filling(made.moments())
        features = made.filled()
        rows = rows.take(np.flatnonzero(made.present.any(axis=1)))
        self._check_teaching(rows)
        self.estimator_, self.penalty_ = fit_streamed(self, features, rows, made.spool)

    def _check_teaching(self, rows: TrainingRows) -> None:
        """Raise where the rows that have a modality are too much alike."""
        if not self.target_.can_teach(rows.y):
            msg = (
                f"X: {self.target_.lacks(rows.y, 'with a modality')}. The other rows have no "
                "cell that an encoder reads."
            )
            raise InputError(msg)

    def _check_streamed(self) -> None:
        check_streamable(self._target(), self.estimator, self._check_encoders())

    def _with_last(self, estimator: Any, rows: TrainingRows) -> Self:
        """Return the same fitted encoders with another estimator, fitted to the same rows."""
        other = copy.copy(self)
        other.estimator = estimator
        other._fit_last(rows)
        return other

    def _unseen(self, rows: TrainingRows) -> tuple[NDArray[np.float64], TrainingRows]:
        if any(encoder.needs_training for encoder in self.encoders_.values()):
            return super()._unseen(rows)  # embeddings have seen the targets
        features, present = self._fill(self._blocks(rows.frame))
        rows, features = rows.take(np.flatnonzero(present)), self._scaled(features[present])
        outputs = np.zeros((len(rows), self.n_outputs_))
        for number, (learn, judge) in enumerate(self._inner_folds(rows)):
            part = features[learn], rows.take(learn), self._seed("unseen", number)
            head, _ = self._fit_head(*part)
            outputs[judge] = self.target_.ask_part(head, features[judge])
        return outputs, rows

    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        chosen = self.encoders_ if names is None else {n: self.encoders_[n] for n in names}
        blocks = {name: self._block(name, encoder, frame) for name, encoder in chosen.items()}
        present = np.column_stack([present_of(block) for block in blocks.values()])
        return Parts(blocks, present)

    def _block(self, name: str, encoder: Encoder, frame: Frame, *, packs: bool = False) -> Any:
        if self._skips(encoder):
            nothing = np.full((len(frame), len(self.centers_[name])), np.nan)
            return csr_array(nothing) if encoder.is_sparse else nothing
        where = self._where
        with precision_asked(where["precision"]):
            return block_of(encoder, frame, where["device"], packs=packs)

    def _encode_prepared(self, name: str, prepared: Prepared) -> NDArray[np.float64]:
        return self.encoders_[name].transform_prepared(prepared)

    def _raw(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        # As `_encode` and `_decide`, without keeping the blocks beside what is made of them.
        encoders, many = self.encoders_.items(), are_many(len(frame), self._n_features())
        blocks = {name: self._block(name, e, frame, packs=many) for name, e in encoders}
        if many and not any(map(issparse, blocks.values())):
            return self._raw_in_pieces(blocks)
        features, present = self._fill(blocks)
        return self.target_.ask_part(self.estimator_, self._scaled(features)), present

    def _raw_in_pieces(
        self, blocks: dict[str, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Ask the estimator of a few rows at a time, so that their features are not all there."""
        present = np.any([present_of(block) for block in blocks.values()], axis=0)
        features = Assembled(self, blocks, np.arange(len(present)))
        outputs = np.empty((len(present), self.n_outputs_))
        for rows, part in features.blocks():
            outputs[rows] = self.target_.ask_part(self.estimator_, part)
        return outputs, present

    def _decide(self, parts: Parts) -> NDArray[np.float64]:
        features = self._scaled(self._fill(dict(parts.contents), parts.present)[0])
        return self.target_.ask_part(self.estimator_, features)

    def _fit_head(
        self, features: NDArray[np.float64], rows: TrainingRows, seed: int
    ) -> tuple[Any, float | None]:
        """Return the fitted estimator, and the penalty that was chosen for it, if any was."""
        target, penalty = self.target_, None
        if is_linear(self.estimator):
            known = rows.y, rows.loss_weight, rows.groups
            # Always the same folds: without a seed, too, a linear model gives the same twice.
            penalty = choose_penalty(target, features, *known, seed=0)
            estimator = target.linear(penalty)
        else:
            estimator = model_of(target, self.estimator)
        part = fit_part(estimator, features, rows, target=target, seed=seed, name="estimator")
        return part, penalty

    def _train_alone(
        self, name: str, encoder: Encoder, rows: TrainingRows, *, resume: bool
    ) -> Encoder:
        """Return the encoder with a network trained on this modality alone."""
        alone = network_for(self, self.network, name, encoder)
        alone._fit_rows(rows, resume=resume)
        trained: Encoder = alone.encoders_[name]
        return trained

    @public
    def features(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
        """Return what the estimator reads: the fused feature matrix and its names.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit.

        Returns
        -------
        features : ndarray or csr_array of shape (n_rows, n_fused)
            Features of all modalities, filled where a modality is absent; sparse where an encoder
            gives them so and the estimator reads them so.
        names : ndarray of shape (n_fused,)
            ``modality__feature``, and ``modality__present`` flags.
        """
        features, _ = self._fill(self._blocks(self._read_X(X, reset=False)))
        return self._scaled(features), np.asarray(self.feature_names_, dtype=object)

    # -- features ----------------------------------------------------------------------

    def _blocks(self, frame: Frame, *, packs: bool = False) -> dict[str, Any]:
        where, own = self._where, self.encoders_.items()
        with precision_asked(where["precision"]):
            return {name: block_of(e, frame, where["device"], packs=packs) for name, e in own}

    def _n_features(self) -> int:
        """Return how many features the encoders give, as far as they say before they do."""
        return sum(encoder.n_features for encoder in self.encoders_.values())

    # -- saving ------------------------------------------------------------------------

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters, fitted attributes and backbones, for `save`."""
        state = super()._bundle_state()
        if hasattr(self, "encoders_"):
            state["networks"] = {
                name: dict(encoder.network_.state_dict())
                for name, encoder in self.encoders_.items()
                if hasattr(encoder, "network_")
            }
        if hasattr(getattr(self, "estimator_", None), "known_classes_"):
            state["known_classes"] = self.estimator_.known_classes_
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Rebuild from what `_bundle_state` returned."""
        super()._restore_bundle_state(state)
        for name, weights in state.get("networks", {}).items():
            restore_network(self.encoders_[name], weights)
        if "known_classes" in state:
            self.estimator_.known_classes_ = state["known_classes"]


def restore_network(encoder: Any, weights: dict[str, torch.Tensor]) -> None:
    """Build an encoder's network for the weights that were saved of it."""
    from asfusion.nn._budget import at_most_values

    stored = sum(tensor.numel() for tensor in weights.values())
    with torch_seed(0), at_most_values(stored):
        encoder.network_ = encoder.build(pretrained=False)
    dtype = next(v.dtype for k, v in weights.items() if k.startswith("adapter"))
    encoder.network_.to(torch.float64 if dtype == torch.float64 else torch.float32)
    encoder.network_.load_state_dict(weights)
    encoder.network_.eval()


def network_for(parent: FusionEstimator, template: Any, name: str, encoder: Encoder) -> JointFusion:
    """Return an unfitted network estimator of one modality for the task of `parent`."""
    check_network(parent.target_, template)
    made = estimator_class("joint", parent.target_)() if template is None else clone(template)
    # Class weights are in the rows already.
    made.set_params(encoders={name: encoder}, verbose=parent.verbose)
    adopted: JointFusion = made._adopt(parent)
    return adopted


def check_network(target: Target, template: Any) -> None:
    """Raise unless `template` is a network estimator of the target, or None."""
    if template is None:
        return
    joint = estimator_class("joint", target)
    if not isinstance(template, joint):
        msg = (
            f"network: expected None or a {joint.__name__} with the training settings, got "
            f"{type(template).__name__}."
        )
        raise ConfigurationError(msg)


@documented
class EarlyFusionClassifier(FusionClassifier, _EarlyFusion):
    """Put the features of all modalities side by side and fit one classifier.

    Tables give their prepared features, images and notes the embedding of their
    network: frozen if it is pretrained, otherwise trained first on this modality alone.
    An absent modality is filled with the training mean and marked by a flag.

    Parameters
    ----------
    encoders
    estimator : scikit-learn classifier, str or None
        Any with `predict_proba`: a pipeline, an asfusion network, or by name ``"forest"``,
        ``"boosted"``, ``"adaboost"``, ``"xgboost"``. ``"linear"``, the default, is a logistic
        regression with a ridge penalty, chosen by the log-loss on patients that were left out;
        1 with fewer than 40 patients, or 5 of them outside the commonest class. Other
        estimators read features in their own units unless `scale` says otherwise.
    scale
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
    encoders_
    estimator_ : classifier
        The fitted estimator; its classes are positions in ``classes_``.
    penalty_
    feature_names_
    threshold_
    prior_

    Notes
    -----
    An embedding trained on the same rows looks better to the estimator than it will be on
    new rows. With networks trained from scratch on few rows, compare joint fusion and late
    fusion with ``combine="stacking"``, which do not have this weakness.

    References
    ----------
    .. [1] Westerhuis, Kourti, MacGregor, "Analysis of multiblock and hierarchical PCA and PLS
       models", J Chemometrics 1998, on block scaling.
       https://doi.org/10.1002/(SICI)1099-128X(199809/10)12:5%3C301::AID-CEM515%3E3.0.CO;2-S

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(40, 3)), columns=["crp", "esr", "bmi"])
    >>> y = (X["crp"] + X["bmi"] > 0).astype(int)
    >>> model = af.EarlyFusionClassifier(
    ...     {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])},
    ...     RandomForestClassifier(20), random_state=0,
    ... )
    >>> model.fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """

    def __init__(
        self,
        encoders: Encoders = "auto",
        estimator: LastModel = None,
        *,
        scale: Scale = "auto",
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
            scale=scale,
            network=network,
            memory_gb=memory_gb,
            verbose=verbose,
            random_state=random_state,
            target=target,
        )
        self.class_weight = class_weight
        self.threshold = threshold


@documented
class EarlyFusionRegressor(FusionRegressor, _EarlyFusion):
    """Put the features of all modalities side by side and fit one regressor.

    Tables give their prepared features, images and notes the embedding of their
    network: frozen if it is pretrained, otherwise trained first on this modality alone.
    An absent modality is filled with the training mean and marked by a flag.

    Parameters
    ----------
    encoders
    estimator : scikit-learn regressor, str or None
        Any regressor or pipeline, wrapped for several targets where it needs to be, or by name
        ``"forest"``, ``"boosted"``, ``"adaboost"``, ``"xgboost"``. ``"linear"``, the default, is
        a ridge regression whose penalty is chosen by its error on patients that were left out; 1
        with fewer than 40 of them. Other estimators read features in their own units unless
        `scale` says otherwise.
    scale
    network
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    encoders_
    estimator_ : regressor
        The fitted estimator.
    penalty_
    feature_names_
    prior_

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> model = af.EarlyFusionRegressor().fit(X, X[:, 0] - X[:, 1])
    >>> model.predict(X[:2]).shape
    (2,)
    """
