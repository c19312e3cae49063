"""Early fusion: features and embeddings side by side, then one model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import clone

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._random import torch_seed
from asfusion._tokens import Prepared
from asfusion.encoders._base import Encoder
from asfusion.estimators._base import (
    MEMORY_GB,
    FusionClassifier,
    FusionEstimator,
    FusionRegressor,
    estimator_class,
)
from asfusion.estimators._documented import documented
from asfusion.estimators._named import check_model, is_linear, model_of
from asfusion.estimators._parts import Parts
from asfusion.estimators._penalty import choose_penalty
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._sklearn import fit_part
from asfusion.estimators._sparse import center_and_spread as sparse_moments
from asfusion.estimators._sparse import present_rows, reads_sparse, side_by_side, with_stand_in
from asfusion.estimators._streamed_early import (
    Moments,
    StreamedFeatures,
    check_some,
    check_streamable,
    fit_streamed,
)
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Target

if TYPE_CHECKING:
    from asfusion.estimators._joint import JointFusion

Scale = Literal["auto", "blocks", "columns", "none"]
_SCALES = ("auto", "blocks", "columns", "none")
_VALUES_AT_ONCE = 2**20  # of a block, while means and spreads are learned


class _EarlyFusion(FusionEstimator):
    """The family, without the task."""

    _family = "early"
    _streams = True
    _local_params = frozenset({"memory_gb"})
    _before_last: ClassVar[str] = "encoders_"

    def __init__(
        self,
        encoders: Any = "auto",
        estimator: Any = None,
        *,
        scale: Scale = "auto",
        network: Any = None,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: Any = None,
        target: Any = None,
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
        blocks = self._blocks(rows.frame)
        self._learn_filling(blocks, rows)
        features, present = self._fill(blocks)
        kept = np.flatnonzero(present)
        if len(kept) < len(rows):
            rows, features = rows.take(kept), features[kept]
        self._check_teaching(rows)
        self.estimator_, self.penalty_ = self._fit_head(
            self._scaled(features), rows, self._seed("estimator")
        )

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
        present = np.column_stack([_present(block) for block in blocks.values()])
        return Parts(blocks, present)

    def _block(self, name: str, encoder: Encoder, frame: Frame) -> Any:
        if self._skips(encoder):
            nothing = np.full((len(frame), len(self.centers_[name])), np.nan)
            return csr_array(nothing) if encoder.is_sparse else nothing
        return _block(encoder, frame, self._device())

    def _encode_prepared(self, name: str, prepared: Prepared) -> NDArray[np.float64]:
        return self.encoders_[name].transform_prepared(prepared)

    def _raw(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        # As `_encode` and `_decide`, without keeping the blocks beside what is made of them.
        blocks = {name: self._block(name, e, frame) for name, e in self.encoders_.items()}
        features, present = self._fill(blocks)
        return self.target_.ask_part(self.estimator_, self._scaled(features)), present

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

    def _blocks(self, frame: Frame) -> dict[str, Any]:
        device = self._device()
        return {name: _block(e, frame, device) for name, e in self.encoders_.items()}

    def _device(self) -> str:
        """Return where backbones compute: where the networks of the template do."""
        return "auto" if self.network is None else str(self.network.device)

    def _learn_filling(self, blocks: dict[str, NDArray[np.float64]], rows: TrainingRows) -> None:
        """Learn what stands in for an absent modality, and the scale of each feature."""
        moments: Moments = {}
        for name, block in blocks.items():
            present = _present(block)
            check_some(name, present)
            known = block, present, rows.sample_weight[present]
            found = (sparse_moments if issparse(block) else _center_and_spread)(*known)
            moments[name] = *found, bool(present.all())
        self._set_filling(moments)

    def _set_filling(self, moments: Moments) -> None:
        """Take over centre and spread of each modality, and whether it is never absent."""
        self.centers_, self.scales_, names = {}, {}, []
        self.flagged_ = []
        for name, (center, spread, is_full) in moments.items():
            self.centers_[name] = center
            self.scales_[name] = self._scale_of(name, spread)
            own = self.encoders_[name].get_feature_names_out()
            names += [f"{name}__{feature}" for feature in own]
            if not is_full:
                self.flagged_.append(name)
        self.feature_names_ = [*names, *(f"{name}__present" for name in self.flagged_)]

    def _scale_of(self, name: str, spread: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each feature of a modality is divided by."""
        if self.encoders_[name].is_sparse and self.scale != "columns":
            # Counted words weigh what they do: each with a variance of one, rare words would weigh
            # most. Together they have a variance of one, too.
            spread = np.full(len(spread), np.sqrt(np.square(spread).sum() / max(1, len(spread))))
        # What varies by rounding alone becomes zero: a model that scales it once more would make a
        # feature of it.
        scale = np.where(spread > 1e-12, spread, np.inf)
        # Each modality brings total variance one, however many features it has: a wide embedding
        # does not drown a handful of labs in a penalised model.
        return scale if self.scale == "columns" else scale * np.sqrt(len(spread))

    def _fill(
        self, blocks: dict[str, Any], kept: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return features side by side, means standing for absent modalities, with flags.

        Where `kept` (N, M) says no, a modality is absent, too. The blocks are taken out of
        `blocks` one by one, so that a large table is not kept twice.
        """
        present = {name: _present(block) for name, block in blocks.items()}
        if kept is not None:
            present = {name: present[name] & kept[:, m] for m, name in enumerate(blocks)}
        some = np.asarray(np.any(list(present.values()), axis=0))
        sparse = [name for name, block in blocks.items() if issparse(block)]
        for name in sparse:
            stand_in = None if name in self.flagged_ else self.centers_[name]
            blocks[name] = with_stand_in(blocks[name], present[name], stand_in)
        if sparse and self._reads_sparse():
            return self._stacked(blocks, present), some
        blocks.update((name, blocks[name].toarray()) for name in sparse)
        if kept is None and len(blocks) == 1 and not self.flagged_:
            name, own = next(iter(blocks.items()))
            # What nobody else holds needs no copy.
            if self.encoders_[name]._gives_away and own.flags.writeable:
                own = blocks.pop(name)
                own[~present[name]] = self.centers_[name]
                return own, some
        width = sum(block.shape[1] for block in blocks.values())
        kind = np.result_type(*blocks.values())
        features = np.empty((len(some), width + len(self.flagged_)), kind)
        start = 0
        for name, there in present.items():
            block = blocks.pop(name)
            own = features[:, start : start + block.shape[1]]
            own[:] = block
            if name not in sparse:
                own[~there] = self.centers_[name]
            start += block.shape[1]
        for place, name in enumerate(self.flagged_, start):
            features[:, place] = present[name]
        return features, some

    def _stacked(self, blocks: dict[str, Any], present: dict[str, NDArray[np.bool_]]) -> csr_array:
        """Return features side by side as a sparse matrix, scaled already."""
        parts = []
        for name, there in present.items():
            block = blocks.pop(name)
            if not issparse(block):
                block = np.where(there[:, None], block, self.centers_[name])
                block = (
                    (block - self.centers_[name]) / self.scales_[name] if self._scales else block
                )
            elif self._scales:
                block = csr_array(block / self.scales_[name])
            parts.append(block)
        flags = [present[name] for name in self.flagged_]
        return side_by_side([*parts, np.column_stack(flags).astype(np.float64)] if flags else parts)

    def _scaled(self, features: Any) -> Any:
        """Return features as the estimator reads them: in units, or scaled, in place."""
        if issparse(features) or not self._scales:
            return features
        # What is sparse is not centred, so that it is the same wherever it is stacked.
        own = self.encoders_.items()
        shifts = [np.where(e.is_sparse, 0.0, self.centers_[name]) for name, e in own]
        center = np.concatenate([*shifts, np.zeros(len(self.flagged_))])
        scale = np.concatenate([*self.scales_.values(), np.ones(len(self.flagged_))])
        for rows in _few_rows(features):
            part = features[rows]
            part -= center
            part /= scale
        return features

    @property
    def _scales(self) -> bool:
        """Whether the estimator reads scaled features."""
        return self.scale != "none" and (self.scale != "auto" or is_linear(self.estimator))

    def _reads_sparse(self) -> bool:
        """Return whether the estimator takes a sparse matrix."""
        given = None if is_linear(self.estimator) else model_of(self.target_, self.estimator)
        return reads_sparse(self.target_.linear() if given is None else given)

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


def _block(encoder: Encoder, frame: Frame, device: str) -> Any:
    """Return the features (N, D) of a modality, dense or sparse, NaN in rows without it."""
    if encoder.is_sparse:
        return encoder._sparse_vectors(frame)
    # Which may be a table, where scikit-learn is told so; sums depend on how it lies in memory.
    return np.ascontiguousarray(encoder._vectors(frame, device))


def _present(block: Any) -> NDArray[np.bool_]:
    """Return which rows of an encoder's `transform` have the modality."""
    if issparse(block):
        return present_rows(block)
    absent = np.isnan(block[:, :1]).all(axis=1)  # most rows have their first feature
    some = np.flatnonzero(absent)
    absent[some] = np.isnan(block[some]).all(axis=1)
    return np.asarray(~absent)


def _few_rows(block: NDArray[np.float64]) -> Iterator[slice]:
    """Yield rows that fit into the processor's cache together."""
    step = max(1, _VALUES_AT_ONCE // max(1, block.shape[1]))
    return (slice(start, start + step) for start in range(0, len(block), step))


def _center_and_spread(
    block: NDArray[np.float64], present: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted mean and standard deviation of each feature over the present rows."""
    center = _mean(block, present, weights)
    return center, np.sqrt(_mean(block, present, weights, about=center))


def _mean(
    block: NDArray[np.float64],
    present: NDArray[np.bool_],
    weights: NDArray[np.float64],
    about: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the weighted mean of each feature, or of its squares about a centre.

    A few rows at a time, added one after the other as numpy adds those of a matrix.
    """
    total, start = np.zeros(block.shape[1]), 0
    everywhere, is_weighted = bool(present.all()), bool((weights != 1.0).any())
    # One column alone is added in another order, which parts of it would change.
    for rows in _few_rows(block) if block.shape[1] > 1 else [slice(0, len(block))]:
        part = block[rows] if everywhere else block[rows][present[rows]]
        part = part.astype(np.float64)  # a copy, which is written to
        if about is not None:
            part -= about
            np.square(part, out=part)
        if is_weighted:
            part *= weights[start : start + len(part), None]
        start += len(part)
        if len(part):
            part[0] += total
            total = part.sum(axis=0)
    return np.asarray(total / weights.sum())


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
        encoders: Any = "auto",
        estimator: Any = None,
        *,
        scale: Scale = "auto",
        network: Any = None,
        class_weight: Any = None,
        threshold: Any = 0.5,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: Any = None,
        target: Any = None,
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
