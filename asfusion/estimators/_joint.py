"""Joint fusion, whatever the task: what the classifier and the regressor share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._random import torch_seed
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._base import embed_prepared
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.estimators._base import FusionEstimator
from asfusion.estimators._parts import Content, Parts
from asfusion.estimators._rows import TrainingRows, warn_user
from asfusion.estimators._splits import hold_out
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.fusion._base import Fusion
from asfusion.fusion._resolve import resolve_head
from asfusion.nn._budget import at_most_values
from asfusion.nn.network import EncoderNetwork, FusionNetwork
from asfusion.training.halves import decide_rows, encode_rows
from asfusion.training.loop import predict_rows, train
from asfusion.training.losses import row_loss
from asfusion.training.rows import Rows, precision_of
from asfusion.training.settings import Average, RateSchedule, TrainingSettings

_FEW_ROWS = 100  # below this, rows are worth more in training than in validation
_TABLE_BATCH, _BATCH, _VOLUME_BATCH = 128, 32, 8


class JointFusion(FusionEstimator):
    """The family, without the task."""

    _family = "joint"
    has_gradients = True

    def __init__(
        self,
        encoders: Any = "auto",
        fusion: str | Fusion = "concat",
        *,
        max_epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup: float = 0.1,
        clip_norm: float = 1.0,
        dropout: float = 0.0,
        modality_dropout: float = 0.1,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.15,
        patience: int = 10,
        mixup: float = 0.0,
        schedule: RateSchedule = "cosine",
        head_first: int = 0,
        layer_decay: float = 1.0,
        progressive_resizing: bool = False,
        average_weights: Average | None = None,
        test_time_views: int = 1,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        checkpoint: str | Path | None = None,
        verbose: int = 1,
        random_state: Any = None,
        target: Any = None,
    ) -> None:
        self.encoders = encoders
        self.fusion = fusion
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.mixup = mixup
        self.schedule = schedule
        self.head_first = head_first
        self.layer_decay = layer_decay
        self.progressive_resizing = progressive_resizing
        self.average_weights = average_weights
        self.test_time_views = test_time_views
        self.precision = precision
        self.device = device
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state
        self.target = target

    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        check_number(self.dropout, "dropout", minimum=0.0, maximum=1.0)
        check_integer(self.test_time_views, "test_time_views", minimum=1)
        head = resolve_head(self.fusion)
        self.encoders_ = self._fit_encoders(rows)
        modalities, present = self._tensors(rows.frame)
        rows, modalities = self._drop_empty(rows, modalities, present)
        settings = self._settings(modalities)
        data = Rows(modalities, self._targets(rows), _unit_mean(rows.loss_weight))
        learn, validation = self._validation(rows, data)
        with torch_seed(self._seed("network")):
            self.network_ = self._build(head, pretrained=True)
            self._start_at_prior()
        self.history_ = train(
            self.network_,
            learn,
            validation,
            loss=row_loss(self.target_.loss, settings),
            settings=settings,
            checkpoint=self._checkpoint_file(),
            resume=resume,
        )
        self._share_networks()

    def _raw(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        if self.test_time_views > 1:  # tokens are averaged, between encoding and deciding
            return super()._raw(frame)
        modalities, present = self._tensors(frame)
        n_rows = len(frame)
        rows = Rows(modalities, torch.zeros(n_rows), torch.ones(n_rows))
        outputs = predict_rows(self.network_, rows, device=self.device)
        return self._scores(outputs), present

    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        contents: dict[str, Content] = {}
        present = []
        for name in self.encoders_ if names is None else names:
            encoder = self.encoders_[name]
            rows = encoder.embed(frame) if encoder.is_frozen else encoder.prepare(frame)
            contents[name] = self._encode_prepared(name, rows)
            present.append(rows.present.numpy())
        return Parts(contents, np.column_stack(present))

    def _encode_prepared(self, name: str, prepared: Prepared) -> Tokens:
        network = cast(EncoderNetwork, self.network_.encoders[name])
        if network.training_mode == "frozen" and not prepared.is_embedded:
            prepared = embed_prepared(network, prepared)
        views = self.test_time_views
        return encode_rows(network, prepared, device=self.device, n_views=views)

    def _decide(self, parts: Parts) -> NDArray[np.float64]:
        tokens = {
            name: cast(Tokens, content).keep(torch.from_numpy(parts.present[:, m].copy()))
            for m, (name, content) in enumerate(parts.contents.items())
        }
        return self._scores(decide_rows(self.network_, tokens, device=self.device))

    def _scores(self, outputs: torch.Tensor) -> NDArray[np.float64]:
        return np.asarray(self.target_.activate(outputs, self.scaling_).numpy())

    def _tensors(self, frame: Frame) -> tuple[dict[str, Prepared], NDArray[np.bool_]]:
        """Return each modality's rows, embedded where the backbone is frozen."""
        modalities = {
            name: encoder.embed(frame) if encoder.is_frozen else encoder.prepare(frame)
            for name, encoder in self.encoders_.items()
        }
        present = torch.stack([prepared.present for prepared in modalities.values()])
        return modalities, present.any(dim=0).numpy()

    def _drop_empty(
        self, rows: TrainingRows, modalities: dict[str, Prepared], present: NDArray[np.bool_]
    ) -> tuple[TrainingRows, dict[str, Prepared]]:
        """Leave out rows without any modality: there is nothing to learn from them."""
        if present.all():
            return rows, modalities
        kept = np.flatnonzero(present)
        if len(kept) < 2:
            msg = f"X: expected at least 2 rows with a modality to fit, got n_samples={len(kept)}."
            raise InputError(msg)
        if len(self.encoders_) > 1:
            warn_user(f"{len(rows) - len(kept)} training row(s) have no modality and are not used.")
        taken = {name: part.take(torch.from_numpy(kept)) for name, part in modalities.items()}
        return rows.take(kept), taken

    def _settings(self, modalities: dict[str, Prepared]) -> TrainingSettings:
        if self.batch_size == "auto":
            only_tables = precision_of(modalities) == torch.float64
            volumes = any("voxels" in part.tensors for part in modalities.values())
            batch_size = _TABLE_BATCH if only_tables else _VOLUME_BATCH if volumes else _BATCH
        else:
            batch_size = self.batch_size
        return TrainingSettings(
            max_epochs=self.max_epochs,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            modality_dropout=self.modality_dropout,
            patience=self.patience,
            mixup=self.mixup,
            schedule=self.schedule,
            head_first=self.head_first,
            layer_decay=self.layer_decay,
            progressive_resizing=self.progressive_resizing,
            average_weights=self.average_weights,
            precision=self.precision,
            device=self.device,
            seed=self._seed("training"),
            **self._loss_settings(),
        )

    def _loss_settings(self) -> dict[str, Any]:
        """Return the settings of the loss that only classes have."""
        return {}

    def _targets(self, rows: TrainingRows) -> torch.Tensor:
        self.scaling_ = self.target_.scaling(rows.y, rows.sample_weight)
        return torch.from_numpy(self.target_.to_network(rows.y, self.scaling_))

    def _validation(self, rows: TrainingRows, data: Rows) -> tuple[Rows, Rows | None]:
        """Split off whole groups to decide when to stop, if that is wanted."""
        fraction = check_number(
            self.validation_fraction, "validation_fraction", minimum=0, maximum=0.5, exclusive=True
        )
        wanted = self.early_stopping
        if self.average_weights == "swa" and wanted is True:
            msg = (
                "early_stopping: expected 'auto' or False with average_weights='swa', which "
                "averages the last epochs, got True. Use average_weights='ema'."
            )
            raise ConfigurationError(msg)
        if wanted == "auto":
            enough = len(rows) >= _FEW_ROWS and not self._is_wide(len(rows))
            wanted = enough and self.average_weights != "swa"
        elif not isinstance(wanted, bool | np.bool_):
            msg = f"early_stopping: expected True, False or 'auto', got {wanted!r}."
            raise ConfigurationError(msg)
        if not wanted:
            return data, None
        seed = self._seed("validation")
        split = hold_out(rows, fraction, target=self.target_, seed=seed)
        if split is None:
            warn_user(
                "Too few rows or groups to hold out for early stopping: all are learned from."
            )
            return data, None
        learn, validate = (data.take(torch.from_numpy(part)) for part in split)
        return learn, validate

    def _is_wide(self, n_rows: int) -> bool:
        """Return whether tables have more features than there are rows, as omics do.

        There, each row that is held out is missed, and a handful of them is a poor judge of
        when to stop.
        """
        kinds = (TabularEncoder, GenotypeEncoder)
        tables = [e for e in self.encoders_.values() if isinstance(e, kinds)]
        return sum(len(table.feature_names_) for table in tables) > n_rows

    def _build(self, head: Fusion, *, pretrained: bool) -> FusionNetwork:
        networks = {
            name: encoder.build(pretrained=pretrained) for name, encoder in self.encoders_.items()
        }
        head.build({name: network.d_out for name, network in networks.items()})
        return FusionNetwork(
            networks, head, d_fused=head.d_out, n_outputs=self.n_outputs_, dropout=self.dropout
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
            network = self._build(resolve_head(self.fusion), pretrained=False)
        model.network_ = network.to(next(self.network_.parameters()).dtype).eval()
        return model

    def _checkpoint_file(self) -> Path | None:
        if self.checkpoint is None:
            return None
        name = "joint" if len(self.encoders_) > 1 else next(iter(self.encoders_))
        folder = Path(self.checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.ckpt"

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters, fitted attributes and weights, for `save`."""
        state = super()._bundle_state()
        if hasattr(self, "network_"):
            weights = self.network_.state_dict()
            dtype = str(next(self.network_.head.parameters()).dtype).removeprefix("torch.")
            state |= {"network": dict(weights), "dtype": dtype}
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Rebuild from what `_bundle_state` returned."""
        super()._restore_bundle_state(state)
        if "network" in state:
            stored = sum(tensor.numel() for tensor in state["network"].values())
            with torch_seed(0), at_most_values(stored):
                self.network_ = self._build(resolve_head(self.fusion), pretrained=False)
            self.network_.to(getattr(torch, check_choice(state["dtype"], "dtype", _DTYPES)))
            self.network_.load_state_dict(state["network"])
            self.network_.eval()
            self._share_networks()


_DTYPES = ("float32", "float64")


def _unit_mean(weights: NDArray[np.float64]) -> torch.Tensor:
    """Return weights with mean one, so that the learning rate keeps its meaning."""
    return torch.from_numpy(weights / weights.mean())
