"""Joint fusion, whatever the task: what the classifier and the regressor share."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, in_words
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._random import RandomState, torch_seed
from asfusion._splits import Split
from asfusion._tokens import Prepared, Tokens
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder
from asfusion.encoders._cache import stack_embeddings
from asfusion.encoders._embedding import embed_prepared
from asfusion.encoders._given import Encoders
from asfusion.estimators._base import MEMORY_GB, FusionEstimator
from asfusion.estimators._parts import Content, Parts
from asfusion.estimators._private import check_private, is_private, learn_privately
from asfusion.estimators._rows import TrainingRows, check_some
from asfusion.estimators._splits import hold_out
from asfusion.estimators._types import Head
from asfusion.estimators._unlabelled import Unlabelled, divide
from asfusion.estimators.views.joint import JointDrawn
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.fusion._base import Fusion
from asfusion.fusion._resolve import resolve_head
from asfusion.nn._asked import precision_asked
from asfusion.nn._budget import at_most_values
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.targets._base import Target
from asfusion.training.apart import LossWeights
from asfusion.training.blending import gradient_blend
from asfusion.training.contrastive import pretrain
from asfusion.training.halves import decide_rows, encode_rows, predict_rows
from asfusion.training.loop import train
from asfusion.training.losses import row_loss, usual_smoothing
from asfusion.training.options import TrainingOptions
from asfusion.training.rows import Rows, batch_sizes
from asfusion.training.settings import TrainingSettings, dropout_of
from asfusion.training.weights import set_weights, weights_of

# Below this, rows are worth more in training than in validation (`benchmarks/choose_joint.py`).
_FEW_ROWS, _FEW_FILMS = 1000, 100
_EPOCHS = 100  # where the validation loss decides when to stop
_STEPS, _LEAST_EPOCHS = 120, 40  # where it does not
_ROWS_PER_FEATURE = 10  # with fewer, networks are sure of what is chance


class JointFusion(JointDrawn, FusionEstimator):
    """The family, without the task.

    `fit` has three phases, which those who learn in several places call one by one: `_plan`
    decides what stands before there are weights, `_build` makes the network from the model's
    seed or from weights that come from elsewhere, and `_learn` goes on from where the weights
    are and returns them. A model with a plan and no network saves and loads as such; others
    read their own rows by it (`_tensors_of`) and learn.
    """

    _family = "joint"
    _streams = True
    _local_params = frozenset({"checkpoint", "device", "memory_gb"})
    has_gradients = True
    # Rows without y, while a fit that learns from them goes on.
    _unlabelled: Unlabelled | None = None

    def __init__(
        self,
        encoders: Encoders = "auto",
        fusion: Head = "concat",
        *,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        modality_dropout: float = 0.2,
        early_stopping: bool | Literal["auto"] = "auto",
        training: TrainingOptions | None = None,
        pretrain: Literal["contrastive"] | None = None,
        test_time_views: int = 1,
        device: str = "auto",
        checkpoint: str | Path | None = None,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        self.encoders = encoders
        self.fusion = fusion
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.modality_dropout = modality_dropout
        self.early_stopping = early_stopping
        self.training = training
        self.pretrain = pretrain
        self.test_time_views = test_time_views
        self.device = device
        self.checkpoint = checkpoint
        self.memory_gb = memory_gb
        self.verbose = verbose
        self.random_state = random_state
        self.target = target

    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        rows, modalities = self._plan(rows)
        self._build()
        self._initialise(rows, modalities, resume=resume)
        self._learn(rows, modalities, resume=resume)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also those of parts and training options.

        Raises
        ------
        ConfigurationError
            If a part is named that is not there, or that has no parameters.
        """
        asked = any(name.startswith("training__") for name in params)
        if asked and params.get("training", self.training) is None:
            params = {**params, "training": TrainingOptions()}
        return super().set_params(**params)

    def _read_training(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> TrainingRows:
        self._unlabelled = None
        if self.pretrain is None:
            return super()._read_training(X, y, groups, sample_weight)
        check_choice(self.pretrain, "pretrain", ("contrastive",))
        known, others = divide(X, y, groups, sample_weight)
        rows = super()._read_training(*known)
        if len(others.patients):
            self._unlabelled = others._replace(frame=self._read_X(others.frame, reset=False))
        return rows

    def _check_streamed(self) -> None:
        if self.pretrain is not None:
            msg = (
                "pretrain: expected None for rows that are read in pieces, got "
                f"{in_words(self.pretrain)}. Leave it out, or pass X.collect()."
            )
            raise ConfigurationError(msg)

    def _adopt(self, parent: FusionEstimator) -> Self:
        check_private(self, part=True)
        self._unlabelled = getattr(parent, "_unlabelled", None)
        return super()._adopt(parent)

    def _let_go(self) -> None:
        self._unlabelled = None

    def _fit_encoders(self, rows: TrainingRows) -> dict[str, Encoder]:
        """Return encoders that were fitted to all rows, also those without y."""
        encoders = super()._fit_encoders(rows)
        if self.pretrain is None:
            return encoders
        others = self._check_unlabelled(encoders)
        frame = rows.frame.stack(others.frame)
        weight = np.append(rows.sample_weight, np.ones(len(others.frame)))
        return {name: e.fit(frame, sample_weight=weight) for name, e in encoders.items()}

    def _check_unlabelled(self, encoders: Mapping[str, Encoder]) -> Unlabelled:
        if len(encoders) < 2:
            msg = (
                f"pretrain='contrastive': expected at least two modalities, got {len(encoders)}. "
                "It learns which of their contents belong together."
            )
            raise ConfigurationError(msg)
        if self._unlabelled is None:
            msg = (
                "pretrain='contrastive': expected rows whose y is missing, got none. Add them to X "
                "and y, or leave pretrain out."
            )
            raise InputError(msg)
        return self._unlabelled

    def _pretrain(self, rows: TrainingRows) -> None:
        """Let the encoders learn from all rows, without y."""
        others = self._check_unlabelled(self.encoders_)
        modalities, _ = self._tensors(rows.frame.stack(others.frame))
        patients = np.append(others.labelled[rows.origin], others.patients)
        pretrain(
            self.network_,
            modalities,
            torch.from_numpy(patients),
            settings=self._settings(len(patients)),
        )

    # -- the phases of fit -------------------------------------------------------------

    def _plan(self, rows: TrainingRows) -> tuple[TrainingRows, dict[str, Prepared]]:
        """Fit what stands before there are weights; return the rows that can be learned from.

        Outputs, prior and seed are those of `_begin`.
        """
        check_integer(self.test_time_views, "test_time_views", minimum=1)
        self._check_stopping()
        check_private(self)
        resolve_head(self.fusion).check_target(self.target_)
        self.encoders_ = self._fit_encoders(rows)
        rows, modalities = self._tensors_of(rows)
        self.scaling_ = self.target_.scaling(rows.y, rows.sample_weight)
        self._settings(len(rows))  # what cannot be is told before a network is built
        return rows, modalities

    def _tensors_of(self, rows: TrainingRows) -> tuple[TrainingRows, dict[str, Prepared]]:
        """Return the rows that have a modality, and their tensors, by the plan."""
        modalities, present = self._tensors(rows.frame)
        return self._drop_empty(rows, modalities, present)

    def _build(self, weights: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Make the network of the plan, from the model's seed or with weights of another."""
        with torch_seed(self._seed("network")):
            self.network_ = self._new_network(pretrained=True)
        if weights is None:
            self._start_at_prior()
        else:
            set_weights(self.network_, weights)

    def _learn(
        self, rows: TrainingRows, modalities: dict[str, Prepared], *, resume: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Train from where the weights are, and return what training can change, by name."""
        data = self._rows_to_learn(rows, modalities)
        weights = self._loss_weights(rows, data)
        self.history_ = self._train(rows, data, weights, resume=resume)
        self._settle(rows, data)
        self._share_networks()
        return weights_of(self.network_)

    def _initialise(
        self, rows: TrainingRows, modalities: dict[str, Prepared], *, resume: bool = False
    ) -> None:
        """Move the encoders to where joint training starts, if that is not at random."""
        if self.pretrain is not None:
            self._pretrain(rows)
        if self._options().initialise == "unimodal" and len(self.encoders_) > 1:
            data = self._rows_to_learn(rows, modalities)
            alone = LossWeights.each_alone(list(self.encoders_))
            self._train(rows, data, alone, resume=resume, part="-unimodal")

    def _rows_to_learn(self, rows: TrainingRows, modalities: dict[str, Prepared]) -> Rows:
        targets = torch.from_numpy(self.target_.to_network(rows.y, self.scaling_))
        return Rows(modalities, targets, _unit_mean(rows.loss_weight))

    def _train(
        self,
        rows: TrainingRows,
        data: Rows,
        weights: LossWeights,
        *,
        resume: bool,
        part: str = "",
    ) -> list[dict[str, float]]:
        """Train the network by losses that count so, and return a record for each epoch."""
        settings = self._settings(len(rows))
        if settings.privacy is not None:
            return learn_privately(self, rows, data, settings)
        loss = row_loss(self.target_.loss, settings)
        learn, validation = self._validation(rows, data)
        return train(
            self.network_,
            learn,
            validation,
            loss=self.network_.row_loss(loss) if weights.fused else loss,
            settings=settings,
            checkpoint=self._checkpoint_file(part),
            resume=resume,
            weights=weights,
        )

    def _loss_weights(self, rows: TrainingRows, data: Rows) -> LossWeights:
        """Return how much the losses of the modalities count, learned if that is asked for."""
        settings = self._settings(len(rows))
        equal = LossWeights.of(settings, self.network_.blended)
        if settings.unimodal_losses != "gradient_blend" or not equal.unimodal:
            return equal
        split = self._held_out(rows)
        if split is None:
            warn_user("unimodal_losses: too few rows or groups to hold out. All count the same.")
            return equal
        learn, judge = (data.take(torch.from_numpy(part)) for part in split)
        loss = row_loss(self.target_.loss, settings)
        return gradient_blend(self.network_, learn, judge, loss=loss, settings=settings)

    def _settle(self, rows: TrainingRows, data: Rows) -> None:
        """Let a target that needs it learn from the outputs of the trained network."""
        if not self.target_.needs_settling:
            return
        outputs = predict_rows(self.network_, data, **self._where)
        self.target_.settle(outputs.double().numpy(), rows.y, rows.loss_weight)

    # -- predicting --------------------------------------------------------------------

    def _raw(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        # Views are averaged between encoding and deciding; and there the network keeps its
        # precision, whatever is absent.
        if self.test_time_views > 1 or self._skips_content:
            return super()._raw(frame)
        modalities, present = self._tensors(frame)
        return self._outputs_of(modalities, len(frame)), present

    def _outputs_of(self, modalities: dict[str, Prepared], n_rows: int) -> NDArray[np.float64]:
        """Return outputs (N, K) of rows that are tensors already."""
        rows = Rows(modalities, torch.zeros(n_rows), torch.ones(n_rows))
        return self._scores(predict_rows(self.network_, rows, **self._where))

    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        contents: dict[str, Content] = {}
        present = []
        for name in self.encoders_ if names is None else names:
            encoder = self.encoders_[name]
            rows = self._rows_of(encoder, frame)
            contents[name] = self._encode_prepared(name, rows)
            present.append(rows.present.numpy())
        return Parts(contents, np.column_stack(present))

    def _encode_prepared(self, name: str, prepared: Prepared) -> Tokens:
        network = cast(EncoderNetwork, self.network_.encoders[name])
        if network.training_mode == "frozen" and not prepared.is_embedded:
            with precision_asked(self._where["precision"]):
                prepared = embed_prepared(network, prepared, device=self.device)
        return encode_rows(network, prepared, n_views=self.test_time_views, **self._where)

    def _decide(self, parts: Parts) -> NDArray[np.float64]:
        outputs = decide_rows(self.network_, self._tokens_of(parts), **self._where)
        return self._scores(outputs)

    def _tokens_of(self, parts: Parts) -> dict[str, Tokens]:
        """Return the tokens of encoded rows, absent ones masked."""
        return {
            name: cast(Tokens, content).keep(torch.from_numpy(parts.present[:, m].copy()))
            for m, (name, content) in enumerate(parts.contents.items())
        }

    def _scores(self, outputs: torch.Tensor) -> NDArray[np.float64]:
        return np.asarray(self.target_.activate(outputs, self.scaling_).numpy())

    @public
    def uncertainty(self, X: Any) -> NDArray[np.float64]:
        """Return how little is known of each row, by the measure of the fusion head.

        Of `asfusion.fusion.Evidential` it is the mass that no evidence speaks for, of
        `asfusion.fusion.GaussianExperts` the share of the prior's variance that is left.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,)
            From 0 to 1; 1 where a row has no modality.

        Raises
        ------
        ConfigurationError
            If the head has no such measure.
        """
        check_is_fitted(self)
        parts = self._encode(self._read_X(X, reset=False))
        with torch.no_grad():
            found = cast(Fusion, self.network_.fusion).uncertainty(self._tokens_of(parts))
        return np.asarray(found.double().numpy())

    # -- parts of the phases -----------------------------------------------------------

    def _tensors(self, frame: Frame) -> tuple[dict[str, Prepared], NDArray[np.bool_]]:
        """Return each modality's rows, embedded where the backbone is frozen."""
        modalities = {name: self._rows_of(e, frame) for name, e in self.encoders_.items()}
        present = torch.stack([prepared.present for prepared in modalities.values()])
        return modalities, present.any(dim=0).numpy()

    def _rows_of(self, encoder: Encoder, frame: Frame) -> Prepared:
        if self._skips(encoder):
            (name,) = (name for name, own in self.encoders_.items() if own is encoder)
            width = cast(EncoderNetwork, self.network_.encoders[name]).backbone.d_out
            nothing = stack_embeddings([None] * len(frame), width)
            return Prepared.embedded(nothing, torch.zeros(len(frame), dtype=torch.bool))

        def read(rows: Frame) -> Prepared:
            if not encoder.is_frozen:
                return encoder.prepare(rows)
            with precision_asked(self._where["precision"]):
                return encoder.embed(rows, self.device)

        prepared: Prepared = frame.read_by(read)
        return prepared

    @property
    def _where(self) -> dict[str, Any]:
        """Where networks compute what is not learned from, and in which precision."""
        return {"device": self.device, "precision": self._options().precision}

    def _drop_empty(
        self, rows: TrainingRows, modalities: dict[str, Prepared], present: NDArray[np.bool_]
    ) -> tuple[TrainingRows, dict[str, Prepared]]:
        """Leave out rows without any modality: there is nothing to learn from them."""
        if present.all():
            return rows, modalities
        kept = np.flatnonzero(present)
        if not len(kept):
            for name, part in modalities.items():
                check_some(name, self.encoders_[name], part.present.numpy())
        if len(kept) < 2:
            msg = f"X: expected at least 2 rows with a modality to fit, got n_samples={len(kept)}."
            raise InputError(msg)
        if len(self.encoders_) > 1:
            warn_user(f"{len(rows) - len(kept)} training row(s) have no modality and are not used.")
        taken = {name: part.take(torch.from_numpy(kept)) for name, part in modalities.items()}
        return rows.take(kept), taken

    def _settings(self, n_rows: int) -> TrainingSettings:
        if self.batch_size == "auto":
            batch_size = min(encoder.batch_hint for encoder in self.encoders_.values())
        else:
            batch_size = self.batch_size
        return TrainingSettings(
            max_epochs=self._n_epochs(n_rows, batch_size),
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            modality_dropout=self.modality_dropout,
            device=self.device,
            seed=self._seed("training"),
            **self._options().get_params(),
            **self._loss_settings(n_rows),
        )

    def _n_epochs(self, n_rows: int, batch_size: int) -> int:
        """Return the number of epochs: as many as make enough steps, where nothing else ends it."""
        if self.max_epochs != "auto":
            return self.max_epochs
        if is_private(self):
            return int(self._options().privacy.epochs)
        if self._stops_early(n_rows) or self._learns_content:
            return _EPOCHS
        n_steps = len(batch_sizes(n_rows, batch_size))
        return min(_EPOCHS, max(_LEAST_EPOCHS, math.ceil(_STEPS / n_steps)))

    @property
    def _learns_content(self) -> bool:
        """Whether a network learns from images, words or visits rather than from features."""
        return any(encoder.needs_training for encoder in self.encoders_.values())

    def _loss_settings(self, n_rows: int) -> dict[str, Any]:
        """Return the settings of the loss that only some targets have."""
        few = n_rows < _ROWS_PER_FEATURE * self._n_features
        return {"label_smoothing": usual_smoothing(self.target_.loss, few=few)}

    def _options(self) -> TrainingOptions:
        if self.training is None:
            return TrainingOptions()
        if isinstance(self.training, TrainingOptions):
            return self.training
        msg = (
            "training: expected None or asfusion.TrainingOptions, such as "
            f"asfusion.TrainingOptions(mixup=0.2), got {type(self.training).__name__}."
        )
        raise ConfigurationError(msg)

    def _check_stopping(self) -> None:
        wanted = self.early_stopping
        if wanted != "auto" and not isinstance(wanted, bool | np.bool_):
            msg = f"early_stopping: expected True, False or 'auto', got {in_words(wanted)}."
            raise ConfigurationError(msg)
        if self._options().average_weights == "swa" and wanted is True:
            msg = (
                "early_stopping: expected 'auto' or False with average_weights='swa', which "
                "averages the last epochs, got True. Use average_weights='ema'."
            )
            raise ConfigurationError(msg)

    def _stops_early(self, n_rows: int) -> bool:
        if self.early_stopping != "auto" or is_private(self):
            return self.early_stopping is not False and not is_private(self)
        few = _FEW_FILMS if self._learns_content else _FEW_ROWS
        enough = n_rows >= few and not self._is_wide(n_rows)
        return enough and self._options().average_weights != "swa"

    def _validation(self, rows: TrainingRows, data: Rows) -> tuple[Rows, Rows | None]:
        """Split off whole groups to decide when to stop, if that is wanted."""
        if not self._stops_early(len(rows)):
            return data, None
        split = self._held_out(rows)
        if split is None:
            warn_user(
                "Too few rows or groups to hold out for early stopping: all are learned from."
            )
            return data, None
        learn, validate = (data.take(torch.from_numpy(part)) for part in split)
        return learn, validate

    def _held_out(self, rows: TrainingRows) -> Split | None:
        """Return positions to learn from and to validate on, None where rows are too few."""
        fraction, seed = self._options().validation_fraction, self._seed("validation")
        return hold_out(rows, fraction, target=self.target_, seed=seed)

    def _is_wide(self, n_rows: int) -> bool:
        """Return whether tables have more features than there are rows, as omics do.

        There, each row that is held out is missed, and a handful of them is a poor judge of
        when to stop.
        """
        return self._n_features > n_rows

    @property
    def _n_features(self) -> int:
        return sum(encoder.n_features for encoder in self.encoders_.values())

    def _new_network(self, *, pretrained: bool) -> FusionNetwork:
        """Return an untrained network from the current torch seed."""
        head = resolve_head(self.fusion)
        networks = {
            name: encoder.build(pretrained=pretrained) for name, encoder in self.encoders_.items()
        }
        dims = {name: network.d_out for name, network in networks.items()}
        head.build(dims, n_outputs=self.target_.n_network_outputs)
        n_blended = 1 if head.decides else len(networks)
        dropout = dropout_of(self._options(), n_blended)
        for name, encoder in self.encoders_.items():
            if not encoder.needs_training:
                networks[name].drop_at_least(dropout)
        return FusionNetwork(
            networks,
            head,
            d_fused=head.d_out,
            n_outputs=self.target_.n_network_outputs,
            dropout=dropout,
            hybrid=self._options().unimodal_losses != 0.0,
        )

    def _start_at_prior(self) -> None:
        """Let the untrained network predict the prior, so that rare classes start rare."""
        with torch.no_grad():
            self.network_.head.bias.copy_(torch.as_tensor(self.target_.start(self.prior_)))

    def _share_networks(self) -> None:
        """Let each fitted encoder's `transform` use the network trained here."""
        for name, encoder in self.encoders_.items():
            encoder.network_ = self.network_.encoders[name]  # type: ignore[assignment]

    def _untrained(self) -> Self:
        """Return the same model with a network whose weights are drawn anew."""
        model = copy.copy(self)
        with torch_seed(0):
            network = self._new_network(pretrained=False)
        model.network_ = network.to(next(self.network_.parameters()).dtype).eval()
        return model

    def _as_probed(self) -> Self:
        """Return the same model on the CPU, with one view of each row."""
        asked = super()._as_probed()
        asked.test_time_views, asked.device = 1, "cpu"
        return asked

    def _checkpoint_file(self, part: str = "") -> Path | None:
        if self.checkpoint is None:
            return None
        name = "joint" if len(self.encoders_) > 1 else next(iter(self.encoders_))
        folder = Path(self.checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}{part}.ckpt"

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters, fitted attributes and weights, for `save`."""
        state = super()._bundle_state()
        if hasattr(self, "network_"):
            weights = self.network_.state_dict()
            dtype = str(self.network_.head.bias.dtype).removeprefix("torch.")
            state |= {"network": dict(weights), "dtype": dtype}
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Rebuild from what `_bundle_state` returned."""
        super()._restore_bundle_state(state)
        if "network" in state:
            stored = sum(tensor.numel() for tensor in state["network"].values())
            with torch_seed(0), at_most_values(stored):
                self.network_ = self._new_network(pretrained=False)
            self.network_.to(getattr(torch, check_choice(state["dtype"], "dtype", _DTYPES)))
            self.network_.load_state_dict(state["network"])
            self.network_.eval()
            self._share_networks()


_DTYPES = ("float32", "float64")


def _unit_mean(weights: NDArray[np.float64]) -> torch.Tensor:
    """Return weights with mean one, so that the learning rate keeps its meaning."""
    return torch.from_numpy(weights / weights.mean())
