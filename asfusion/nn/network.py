"""Backbones, the network of one modality, and the network of all of them.

Dimensions: B rows of a batch, T tokens, D width, K outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.nn._lora import add_low_rank, is_low_rank
from asfusion.nn._norms import hold_statistics
from asfusion.nn._placed import known, rows_of, sent

Inputs: TypeAlias = Mapping[str, Tensor]
RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Training: TypeAlias = Literal["full", "lora", "last_block", "frozen"]


_PRETRAINED_RATE = 0.1


def pretrained_rate(mode: Training, *, brought: bool) -> float:
    """Return the factor on a backbone's learning rate: below one for weights that it brought."""
    # What is learned by low-rank matrices is new, whatever it stands beside.
    return _PRETRAINED_RATE if brought and mode != "lora" else 1.0


class Backbone(nn.Module):
    """Turn the tensors of one modality into tokens of width `d_out`.

    A subclass sets `d_out` in its constructor and writes `forward`; one that can be
    fine-tuned in part returns its last block from `last_block`.

    Examples
    --------
    >>> from asfusion.extend import Backbone, Tokens
    >>> class Doubling(Backbone):
    ...     def __init__(self, n_features):
    ...         super().__init__()
    ...         self.d_out = n_features
    ...     def forward(self, inputs):
    ...         return Tokens.single(2 * inputs["x"])
    >>> Doubling(3)({"x": torch.ones(2, 3)}).values.shape
    torch.Size([2, 1, 3])
    """

    d_out: int

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, T, d_out) for inputs of B rows, all of them present."""

    def last_block(self) -> nn.Module:
        """Return the part that is trained when only the last block is."""
        return self

    def auxiliary_loss(self) -> Tensor | None:
        """Return what the last training pass adds to the loss, if anything."""
        return None

    def shrink(self, inputs: Inputs, share: float) -> Inputs:
        """Return inputs in less detail, for the first epochs; unchanged where that is no word."""
        return inputs

    def corrupt(self, inputs: Inputs, present: Tensor) -> Inputs:
        """Return inputs with features of other rows in part; what is no vector of features stays.

        `present` (B,) are the rows that have the modality, from which features come [1]_, on the
        host where it knows them.

        References
        ----------
        .. [1] Bahri et al., "SCARF: Self-Supervised Contrastive Learning using Random Feature
           Corruption", ICLR 2022. https://doi.org/10.48550/arXiv.2106.15147
        """
        return {
            key: _exchanged(value, present)
            if value.dim() == 2 and value.is_floating_point()
            else value
            for key, value in inputs.items()
        }

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return inputs as they might have been taken as well; number 0 is as they are."""
        return inputs


_CORRUPTED = 0.6  # share of the features, as in the paper


def _exchanged(features: Tensor, present: Tensor) -> Tensor:
    """Return features (B, F), some of them taken from rows drawn at random."""
    rows = sent(torch.nonzero(present).flatten(), features.device)
    if len(rows) < 2:
        return features
    shape, device = features.shape, features.device
    others = rows[torch.randint(len(rows), shape, device=device)]
    return torch.where(
        torch.rand(shape, device=device) < _CORRUPTED, features.gather(0, others), features
    )


class EncoderNetwork(nn.Module):
    """A backbone followed by an adapter to the width that fusion expects.

    Parameters
    ----------
    backbone : Backbone
        The modality's own network, width ``backbone.d_out``.
    d_out : int
        Width of the tokens that leave the adapter.
    dropout : float
        Dropout before the adapter's linear layer.
    training_mode : {"full", "lora", "last_block", "frozen"}
        Which part of the backbone learns; ``"lora"`` puts low-rank matrices beside its linear
        layers, which alone learn. A frozen part stays in evaluation mode, so that batch
        statistics of a frozen layer never move.
    learning_rate_scale : float
        Factor on the learning rate of the backbone; below one for pretrained weights.
    hold_statistics : bool
        Whether batch norms of the backbone keep their running statistics while their scale
        and shift learn: those of a few images are worse than those of the pretraining.
    pooling : nn.Module, optional
        From `Tokens` to fewer `Tokens`, behind the adapter; it learns also where the backbone
        is frozen.

    Attributes
    ----------
    waits : bool
        Whether the backbone is held still for now, while what is behind it learns.

    Shape
    -----
    - Input: tensors of B rows, or `Tokens` (B, T, backbone.d_out) embedded before.
    - Output: `Tokens` (B, T, d_out).

    Examples
    --------
    >>> from asfusion.extend import EncoderNetwork, MLPBackbone
    >>> network = EncoderNetwork(MLPBackbone(3, d_hidden=8), d_out=4)
    >>> network({"x": torch.zeros(2, 3)}).values.shape
    torch.Size([2, 1, 4])
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        d_out: int,
        dropout: float = 0.0,
        training_mode: Training = "full",
        learning_rate_scale: float = 1.0,
        hold_statistics: bool = False,
        pooling: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if training_mode == "lora":
            add_low_rank(backbone)
        self.backbone = backbone
        self.adapter = nn.Sequential(
            nn.LayerNorm(backbone.d_out), nn.Dropout(dropout), nn.Linear(backbone.d_out, d_out)
        )
        self.d_out = d_out
        self.training_mode = training_mode
        self.learning_rate_scale = learning_rate_scale
        self.hold_statistics = hold_statistics
        self.pooling = pooling
        self.waits = False
        self._freeze()

    def _freeze(self) -> None:
        learns, by_rank = self.training_mode == "full", self.training_mode == "lora"
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(learns or (by_rank and is_low_rank(name)))
        if self.training_mode == "last_block":
            for parameter in self.backbone.last_block().parameters():
                parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> EncoderNetwork:
        """Set training mode on the parts that learn; frozen parts stay in evaluation."""
        super().train(mode)
        if self.training_mode in ("last_block", "frozen") or self.waits:
            self.backbone.eval()
        if self.training_mode == "last_block" and not self.waits:
            self.backbone.last_block().train(mode)
        if self.hold_statistics:
            hold_statistics(self.backbone)
        return self

    def drop_at_least(self, share: float) -> None:
        """Raise dropout, within the backbone and before the adapter, where it is less."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = max(module.p, share)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.adapter.parameters()).device

    def embed(self, inputs: Inputs) -> Tokens:
        """Return the backbone's tokens (B, T, backbone.d_out)."""
        if self.training_mode == "frozen" or (self.waits and self.training):
            with torch.no_grad():
                tokens: Tokens = self.backbone(inputs)
            return tokens
        return self.backbone(inputs)  # type: ignore[no-any-return]

    def forward(self, inputs: Inputs | Tokens) -> Tokens:
        """Return tokens (B, T, d_out)."""
        tokens = inputs if isinstance(inputs, Tokens) else self.embed(inputs)
        adapted = Tokens(self.adapter(tokens.clean_values()), tokens.mask)
        return adapted if self.pooling is None else self.pooling(adapted)

    def auxiliary_loss(self) -> Tensor | None:
        """Return the backbone's own loss of the last training pass, if it has one."""
        return self.backbone.auxiliary_loss()


class Mix(NamedTuple):
    """How rows of a batch are blended: `share` of a row, and the rest of its partner.

    Parameters
    ----------
    share : float
        From 0 to 1.
    partner : Tensor of shape (B,), int64
        Position of each row's partner.
    """

    share: float
    partner: Tensor


class Alone(NamedTuple):
    """What one modality says by itself, and of which rows.

    Parameters
    ----------
    outputs : Tensor of shape (B, K)
        Beyond the prior; zeros for rows that lack the modality.
    present : Tensor of shape (B,), bool
        Rows that have it.
    """

    outputs: Tensor
    present: Tensor


class FusionNetwork(nn.Module):
    """Encode each modality, fuse what is present, and predict.

    Parameters
    ----------
    encoders : mapping of str to EncoderNetwork
        One network per modality.
    fusion : nn.Module
        Built fusion head, ``{name: Tokens} -> (B, D)``.
    d_fused : int
        Width D of the fused vector.
    n_outputs : int
        Number of outputs K (classes or targets).
    dropout : float
        Dropout on the fused vector.
    hybrid : bool
        Whether it predicts by the mean of what the fused vector says and of what the modalities
        say each by itself (on average over those that a row has), as an ensemble of joint and
        late fusion does. Training sees them apart.

    Attributes
    ----------
    unimodal : nn.ModuleDict
        A linear layer for each of several modalities, which says nothing until it learns.
    keeps_apart : bool
        Whether `apart` holds what each modality said in the last pass.
    apart : dict of str to Alone
        Empty unless it is asked for.

    Shape
    -----
    - Input: ``{name: tensors or Tokens}`` of B rows and ``{name: present (B,)}``.
    - Output: (B, K).
    """

    def __init__(
        self,
        encoders: Mapping[str, EncoderNetwork],
        fusion: nn.Module,
        *,
        d_fused: int,
        n_outputs: int,
        dropout: float = 0.0,
        hybrid: bool = False,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.dropout = nn.Dropout(dropout)
        make = getattr(fusion, "output_layer", None)  # plain modules of torch have none
        self.head = nn.Linear(d_fused, n_outputs) if make is None else make(n_outputs)
        several = encoders if len(encoders) > 1 else {}
        self.unimodal = nn.ModuleDict(
            {name: _silent(network.d_out, n_outputs) for name, network in several.items()}
        )
        self.hybrid = hybrid and bool(self.blended)
        self.keeps_apart = False
        self.apart: dict[str, Alone] = {}

    @property
    def blended(self) -> list[str]:
        """Modalities whose vectors the head mixes; none of one alone, or where the head decides."""
        decides = getattr(self.fusion, "decides", False)  # plain modules of torch have none
        return [] if decides else list(self.unimodal)

    def encode(
        self, inputs: Mapping[str, Inputs | Tokens], present: Mapping[str, Tensor]
    ) -> dict[str, Tokens]:
        """Return the tokens of each modality, absent rows masked."""
        return {name: self.encode_one(name, inputs[name], present) for name in self.encoders}

    def encode_one(
        self, name: str, inputs: Inputs | Tokens, present: Mapping[str, Tensor]
    ) -> Tokens:
        """Return the tokens of one modality, absent rows masked."""
        return _encode_present(self.encoders[name], inputs, present[name], known(present, name))

    def predict(self, tokens: Mapping[str, Tokens], mix: Mix | None = None) -> Tensor:
        """Return outputs (B, K) from encoded modalities: fusion and heads alone.

        With `mix`, rows are blended with others after fusion.
        """
        fused = self.fusion(tokens)
        alone = self._alone(tokens) if self.hybrid or self.keeps_apart else {}
        if self.keeps_apart:  # only then: an exported network assigns nothing
            self.apart = alone
        if mix is not None:
            fused = mix.share * fused + (1.0 - mix.share) * fused[mix.partner]
        outputs: Tensor = self.head(self.dropout(fused) if self.dropout.p else fused)
        if self.training or not self.hybrid:
            return outputs
        return (outputs + self.head.bias + mean_present(alone)) / 2

    def _alone(self, tokens: Mapping[str, Tokens]) -> dict[str, Alone]:
        """Return what each modality says by itself beyond the prior; zeros where it is absent."""
        return {
            name: Alone(head(tokens[name].pool()), tokens[name].present)
            for name, head in self.unimodal.items()
        }

    def forward(
        self,
        inputs: Mapping[str, Inputs | Tokens],
        present: Mapping[str, Tensor],
        mix: Mix | None = None,
    ) -> Tensor:
        """Return outputs (B, K)."""
        return self.predict(self.encode(inputs, present), mix)

    def row_loss(self, loss: RowLoss) -> RowLoss:
        """Return the loss of rows by which it learns: that of the target, if the head agrees."""
        own = getattr(self.fusion, "row_loss", None)
        return loss if own is None else own(loss, self.head)

    def auxiliary_loss(self) -> Tensor | None:
        """Return the sum of the losses of encoders and head, or None if there are none."""
        losses = [_own_loss(part) for part in (*self.encoders.values(), self.fusion)]
        own = [loss for loss in losses if loss is not None]
        return torch.stack(own).sum() if own else None


def mean_present(alone: Mapping[str, Alone]) -> Tensor:
    """Return the mean outputs (B, K) over the modalities that each row has; zeros for none."""
    outputs = torch.stack([part.outputs for part in alone.values()]).sum(dim=0)
    counts = torch.stack([part.present for part in alone.values()]).sum(dim=0).clamp(min=1)
    return outputs / counts.unsqueeze(1).to(outputs.dtype)


def _silent(d_in: int, n_outputs: int) -> nn.Linear:
    """Return a linear layer that says nothing yet."""
    layer = nn.Linear(d_in, n_outputs, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _own_loss(part: nn.Module) -> Tensor | None:
    """Return what a part adds to the loss; plain modules of torch have no such method."""
    ask = getattr(part, "auxiliary_loss", None)
    return None if ask is None else ask()


def _encode_present(
    network: nn.Module, inputs: Inputs | Tokens, present: Tensor, host: Tensor
) -> Tokens:
    """Encode the rows that have the modality and mask the others.

    In training, only present rows pass: zeros standing for absent rows would move
    batch statistics. In evaluation rows do not see each other, so all pass at once
    and the graph stays free of data-dependent shapes.
    """
    if isinstance(inputs, Tokens) or not network.training or bool(host.all()):
        return network(inputs).keep(present)  # type: ignore[no-any-return]
    rows = torch.nonzero(host).flatten()
    if len(rows) < 2:
        # Batch statistics of a single row are not defined: this row passes as in evaluation.
        network.eval()
        tokens: Tokens = network(inputs)
        network.train()
        return tokens.keep(present)
    where = sent(rows, present.device)
    some: Tokens = network(rows_of(inputs, rows, where))
    values = some.values.new_zeros(len(present), *some.values.shape[1:])
    mask = some.mask.new_zeros(len(present), some.mask.shape[1])
    return Tokens(values.index_copy(0, where, some.values), mask.index_copy(0, where, some.mask))
