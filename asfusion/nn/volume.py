"""Volume backbones: stacks of slices to tokens, by 3-D networks or slice by slice.

Dimensions: B patients, S sequences, Z Y X voxels, P positions, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from asfusion._checks import quoted, suggestion
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.nn import _monai
from asfusion.nn._norms import use_group_norm
from asfusion.nn._placed import known, positions_there
from asfusion.nn._weights import load_weights, read_weights
from asfusion.nn.image import ImageBackbone, shrink_images
from asfusion.nn.network import Backbone, Inputs

VOLUME_BACKBONES: Final = (
    "compact_3d",
    *(f"{name}_3d" for name in _monai.RESNETS),
    "densenet121_3d",
)
"""Names of 3-D networks; all start untrained."""

_COMPACT_SHAPE, _SHAPE = (16, 96, 96), (16, 128, 128)
_SMALLEST = 32  # voxels in the plane
# Grey values of a stack between its darkest and brightest half percent, about.
_MEAN, _STD = [0.25], [0.25]


class VolumeBackbone(Backbone):
    """Pass each sequence of a patient through one shared 3-D network.

    Parameters
    ----------
    body : nn.Module
        Network from volumes (B, 1, Z, Y, X) to a feature map (B, D, z, y, x), with ``d_out``
        and ``last_block()``.
    n_sequences : int
        Sequences S of a patient.
    mean, std : sequence of float
        Grey value in [0, 1] that becomes 0, and how much of it becomes 1.
    pool : bool
        Whether a sequence becomes one token, the mean of its positions.
    augment : nn.Module, optional
        Applied to volumes in [0, 1] while the backbone, or its last block, learns; the
        sequences of a patient are moved alike.

    Shape
    -----
    - Input: ``voxels`` (B, S, Z, Y, X), uint8 from 0 to 255 or floating from 0 to 1, and
      ``mask`` (B, S), bool, which sequences there are.
    - Output: `Tokens` (B, S, D) with `pool`, else (B, S * P, D), one per position.

    Notes
    -----
    One body reads all sequences: a T1 and a STIR of one joint share their anatomy, and a few
    hundred patients are too few for two networks. A factor and a shift per sequence and
    channel, learned from one and zero, tell them apart afterwards.

    Examples
    --------
    >>> import torch
    >>> backbone = VolumeBackbone(CompactCNN3d(), n_sequences=2, mean=[0.25], std=[0.25])
    >>> voxels = torch.zeros(3, 2, 8, 32, 32, dtype=torch.uint8)
    >>> mask = torch.tensor([[True, True], [True, False], [False, True]])
    >>> backbone({"voxels": voxels, "mask": mask}).values.shape
    torch.Size([3, 2, 64])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        n_sequences: int,
        mean: Sequence[float],
        std: Sequence[float],
        pool: bool = True,
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.d_out = int(body.d_out)  # type: ignore[arg-type]
        self.pool = pool
        self.augment = augment
        self.factor = nn.Parameter(torch.ones(n_sequences, self.d_out))
        self.shift = nn.Parameter(torch.zeros(n_sequences, self.d_out))
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, S or S * P, d_out)."""
        volumes, mask = self._to_unit(inputs["voxels"]), inputs["mask"]
        learns = self.training or self.last_block().training
        if self.augment is not None and learns:
            volumes = self.augment.train()(volumes)
        flat = ((volumes - self.mean) / self.std).flatten(0, 1).unsqueeze(1)
        # Black stacks that stand for absent ones would move batch statistics; in evaluation
        # rows do not see each other, and the graph stays free of data-dependent shapes.
        there = positions_there(known(inputs, "mask"), flat.device) if learns else None
        positions = self._positions(flat if there is None else flat[there])
        if there is not None:
            whole = positions.new_zeros(len(flat), *positions.shape[1:])
            positions = whole.index_copy(0, there, positions)
        b, s = mask.shape
        values = positions.reshape(b, s, -1, self.d_out) * self.factor[:, None]
        values = (values + self.shift[:, None]).flatten(1, 2)
        return Tokens(values, mask.repeat_interleave(values.shape[1] // s, dim=1))

    def of_sequence(self, volumes: Tensor, sequence: int) -> Tensor:
        """Return the tokens (B, 1 or P, d_out) of volumes (B, Z, Y, X) of one sequence."""
        normal = (self._to_unit(volumes) - self.mean) / self.std
        positions = self._positions(normal.unsqueeze(1))
        tokens: Tensor = positions * self.factor[sequence] + self.shift[sequence]
        return tokens

    def _positions(self, volumes: Tensor) -> Tensor:
        """Return one vector per position (B, P, D), or their mean (B, 1, D)."""
        maps = self.body(volumes).flatten(2).transpose(1, 2)
        return maps.mean(dim=1, keepdim=True) if self.pool else maps  # type: ignore[no-any-return]

    def _to_unit(self, voxels: Tensor) -> Tensor:
        dtype = self.mean.dtype
        return voxels.to(dtype) if voxels.is_floating_point() else voxels.to(dtype) / 255.0

    def shrink(self, inputs: Inputs, share: float) -> Inputs:
        """Return volumes with rows and columns `share` as many; slices are few already."""
        voxels = inputs["voxels"]
        sides = [max(min(_SMALLEST, n), round(n * share)) for n in voxels.shape[3:]]
        if sides == list(voxels.shape[3:]):
            return inputs
        size = (voxels.shape[2], *sides)
        small = nn.functional.interpolate(self._to_unit(voxels), size=size, mode="area")
        return {**inputs, "voxels": small}

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return volumes as augmentation could have moved them, all in the same way."""
        if number == 0 or self.augment is None:
            return inputs
        moved = self.augment.view(self._to_unit(inputs["voxels"]), number)  # type: ignore[operator]
        return {**inputs, "voxels": moved}

    def last_block(self) -> nn.Module:
        """Return the last stage of the network."""
        return self.body.last_block()  # type: ignore[operator,no-any-return]

    def map_layer(self) -> nn.Module:
        """Return what gives the last feature map (B, D, z, y, x)."""
        return self.body


class CompactCNN3d(nn.Module):
    """A small residual network for a few hundred stacks of thick slices.

    Three residual stages of 16 to 64 channels, 0.2 million weights. Stem and first stage
    halve rows and columns alone, since slices are few and far apart.

    Parameters
    ----------
    channels : int
        Channels C of the volumes.
    widths : sequence of int
        Channels of the stem and of each stage; multiples of 8.

    Shape
    -----
    - Input: (B, C, Z, Y, X), normalised.
    - Output: (B, widths[-1], ceil(Z / 4), ceil(Y / 16), ceil(X / 16)) for four widths.

    References
    ----------
    .. [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
       https://doi.org/10.1109/CVPR.2016.90

    Examples
    --------
    >>> import torch
    >>> CompactCNN3d()(torch.zeros(2, 1, 16, 64, 64)).shape
    torch.Size([2, 64, 4, 4, 4])
    """

    def __init__(self, channels: int = 1, widths: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.d_out = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv3d(
                channels, widths[0], (3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2), bias=False
            ),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(),
        )
        self.stages = nn.Sequential(
            *(
                _Residual3d(d_in, d_out, depth_step=1 if i == 0 else 2)
                for i, (d_in, d_out) in enumerate(itertools.pairwise(widths))
            )
        )

    def forward(self, volumes: Tensor) -> Tensor:
        """Return the feature map (B, d_out, z, y, x)."""
        return self.stages(self.stem(volumes))  # type: ignore[no-any-return]

    def last_block(self) -> nn.Module:
        """Return the last residual stage."""
        return self.stages[-1]


class _Residual3d(nn.Module):
    """Two convolutions beside a shortcut; the first halves rows and columns."""

    def __init__(self, d_in: int, d_out: int, *, depth_step: int) -> None:
        super().__init__()
        step = (depth_step, 2, 2)
        self.branch = nn.Sequential(
            nn.Conv3d(d_in, d_out, 3, stride=step, padding=1, bias=False),
            nn.BatchNorm3d(d_out),
            nn.ReLU(),
            nn.Conv3d(d_out, d_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(d_out),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool3d(step, ceil_mode=True),
            nn.Conv3d(d_in, d_out, 1, bias=False),
            nn.BatchNorm3d(d_out),
        )
        self.relu = nn.ReLU()

    def forward(self, volumes: Tensor) -> Tensor:
        return self.relu(self.branch(volumes) + self.shortcut(volumes))  # type: ignore[no-any-return]


def describe_volume_backbone(
    name: str, *, n_sequences: int = 1, shape: Sequence[int] | None = None, norm: str = "batch"
) -> dict[str, Any]:
    """Return all that is needed to build a 3-D backbone again.

    Parameters
    ----------
    name : str
        One of `VOLUME_BACKBONES`.
    n_sequences : int
        Sequences of a patient.
    shape : sequence of three int, optional
        Voxels along Z, Y and X; by default (16, 96, 96) for ``"compact_3d"`` and
        (16, 128, 128) otherwise.
    norm : {"batch", "frozen", "group"}
        Whether group norms stand where batch norms were.

    Returns
    -------
    dict
        Plain values.

    Raises
    ------
    ConfigurationError
        If there is no such backbone.

    Examples
    --------
    >>> describe_volume_backbone("compact_3d")["shape"]
    [16, 96, 96]
    """
    if name not in VOLUME_BACKBONES:
        msg = (
            f"backbone: expected one of {quoted(VOLUME_BACKBONES, limit=8)}, got {name!r}."
            f"{suggestion(name, VOLUME_BACKBONES)} SliceEncoder reads slices by 2-D networks."
        )
        raise ConfigurationError(msg)
    compact = name == "compact_3d"
    plan: dict[str, Any] = {
        "kind": name,
        "n_sequences": n_sequences,
        "shape": list(shape or (_COMPACT_SHAPE if compact else _SHAPE)),
        "mean": _MEAN,
        "std": _STD,
        "norm": norm,
    }
    return plan if compact else {**plan, "model": _monai.network_config(name.removesuffix("_3d"))}


def build_volume_backbone(
    plan: Mapping[str, Any],
    *,
    pool: bool = True,
    augment: nn.Module | None = None,
    weights: str | None = None,
    download: bool = False,
) -> VolumeBackbone:
    """Return a new backbone from what `describe_volume_backbone` returned.

    Parameters
    ----------
    plan : mapping
        The description.
    pool : bool
        Whether a sequence becomes one token.
    augment : nn.Module, optional
        Applied while the backbone learns.
    weights : str, optional
        A safetensors file (or folder, or name on the hub) with weights of the same network,
        or of its 2-D sister, which are then inflated.
    download : bool
        Whether weights that are not on this machine may be fetched from the hub.

    Returns
    -------
    VolumeBackbone
        In float32; what is not pretrained starts from the current torch seed.

    Raises
    ------
    ConfigurationError
        If weights cannot be read.
    MissingDependencyError
        If MONAI is not installed.

    Examples
    --------
    >>> build_volume_backbone(describe_volume_backbone("compact_3d")).d_out
    64
    """
    body: nn.Module
    if plan["kind"] == "compact_3d":
        body = CompactCNN3d()
    else:
        body = _monai.build_body(plan["model"], dims=3, channels=1)
    if weights is not None:
        load_weights(body, read_weights(weights, download=download))
    if plan["norm"] == "group":
        use_group_norm(body)
    return VolumeBackbone(
        body,
        n_sequences=int(plan["n_sequences"]),
        mean=plan["mean"],
        std=plan["std"],
        pool=pool,
        augment=augment,
    )


# -- slice by slice --------------------------------------------------------------------


class SliceBackbone(Backbone):
    """Pass each slice through a 2-D network: one token per slice.

    Parameters
    ----------
    images : ImageBackbone
        The network of a single slice, one token each.
    augment : nn.Module, optional
        Applied to stacks in [0, 1] while the backbone learns: slices of a patient are moved
        alike.

    Shape
    -----
    - Input: ``voxels`` (B, S, Z, Y, X), uint8 or floating from 0 to 1, and ``mask``
      (B, S, Z), bool, which slices there are.
    - Output: `Tokens` (B, S * Z, D), slice after slice.

    Examples
    --------
    >>> import torch
    >>> from asfusion.nn.image import build_image_backbone, describe_image_backbone
    >>> backbone = SliceBackbone(build_image_backbone(describe_image_backbone("compact")))
    >>> mask = torch.ones(2, 1, 3, dtype=torch.bool)
    >>> voxels = torch.zeros(2, 1, 3, 32, 32, dtype=torch.uint8)
    >>> backbone({"voxels": voxels, "mask": mask}).values.shape
    torch.Size([2, 3, 128])
    """

    def __init__(self, images: ImageBackbone, augment: nn.Module | None = None) -> None:
        super().__init__()
        self.images = images
        self.augment = augment
        self.d_out = images.d_out

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, S * Z, d_out)."""
        voxels, mask = inputs["voxels"], inputs["mask"].flatten(1)
        learns = self.training or self.last_block().training
        if self.augment is not None and learns:
            voxels = self.augment.train()(self.images._to_unit(voxels))
        slices = voxels.flatten(0, 2).unsqueeze(1)
        # As in `VolumeBackbone`.
        there = positions_there(known(inputs, "mask"), slices.device) if learns else None
        vectors = self.images({"pixels": slices if there is None else slices[there]}).values[:, 0]
        if there is not None:
            whole = vectors.new_zeros(len(slices), self.d_out)
            vectors = whole.index_copy(0, there, vectors)
        return Tokens(vectors.reshape(*mask.shape, self.d_out), mask)

    def of_sequence(self, volumes: Tensor, sequence: int) -> Tensor:
        """Return the tokens (B, Z, d_out) of volumes (B, Z, Y, X) of one sequence."""
        vectors: Tensor = self.images({"pixels": volumes.flatten(0, 1).unsqueeze(1)}).values[:, 0]
        return vectors.reshape(*volumes.shape[:2], self.d_out)

    def shrink(self, inputs: Inputs, share: float) -> Inputs:
        """Return slices with sides `share` as long, if the network reads any size."""
        voxels = inputs["voxels"]
        side = max(_SMALLEST, round(voxels.shape[-1] * share))
        if side >= voxels.shape[-1] or not getattr(self.images.body, "reads_any_size", True):
            return inputs
        flat = self.images._to_unit(voxels).flatten(0, 1)
        small = shrink_images(flat, side)
        return {**inputs, "voxels": small.reshape(*voxels.shape[:3], side, side)}

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return slices as augmentation could have moved them, all in the same way."""
        if number == 0 or self.augment is None:
            return inputs
        unit = self.images._to_unit(inputs["voxels"])
        return {**inputs, "voxels": self.augment.view(unit, number)}  # type: ignore[operator]

    def map_layer(self) -> nn.Module | None:
        """Return what gives the last feature map (B * Z, D, h, w); None if that is patches."""
        return self.images.map_layer()

    def last_block(self) -> nn.Module:
        """Return the last stage of the network of a slice."""
        return self.images.last_block()


class GatedAttentionPool(nn.Module):
    """Sum the slices of each sequence, weighted by what a small network thinks of each.

    Parameters
    ----------
    d_in : int
        Width D of the tokens.
    n_sequences, n_slices : int
        Sequences S of a patient, and most slices Z of a sequence.
    d_hidden : int
        Width of the network that weighs.

    Shape
    -----
    - Input: `Tokens` (B, T, D) of up to S * Z slices, sequence after sequence; slices that
      are cut at the end count as absent.
    - Output: `Tokens` (B, S, D), masked where a sequence has no slice.

    References
    ----------
    .. [1] Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning",
       ICML 2018. https://doi.org/10.48550/arXiv.1802.04712

    Examples
    --------
    >>> import torch
    >>> pool = GatedAttentionPool(4, n_sequences=1, n_slices=3)
    >>> tokens = Tokens(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))
    >>> pool(tokens).values.shape, pool.weights(tokens).sum(dim=2).shape
    (torch.Size([2, 1, 4]), torch.Size([2, 1]))
    """

    def __init__(self, d_in: int, *, n_sequences: int, n_slices: int, d_hidden: int = 32) -> None:
        super().__init__()
        self.n_sequences, self.n_slices = n_sequences, n_slices
        self.value = nn.Linear(d_in, d_hidden)
        self.gate = nn.Linear(d_in, d_hidden)
        self.score = nn.Linear(d_hidden, 1)

    def weights(self, tokens: Tokens) -> Tensor:
        """Return the weight of each slice (B, S, Z); those of a sequence add up to one."""
        return self._weights(*self._by_sequence(tokens))

    def forward(self, tokens: Tokens) -> Tokens:
        """Return one token per sequence (B, S, D)."""
        values, mask = self._by_sequence(tokens)
        pooled = (self._weights(values, mask).unsqueeze(-1) * values).sum(dim=2)
        return Tokens(pooled, mask.any(dim=2))

    def _by_sequence(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return clean values (B, S, Z, D) and the mask (B, S, Z)."""
        length = self.n_sequences * self.n_slices
        missing = length - tokens.mask.shape[1]
        values = nn.functional.pad(tokens.clean_values(), (0, 0, 0, missing))
        mask = nn.functional.pad(tokens.mask, (0, missing))
        shape = (mask.shape[0], self.n_sequences, self.n_slices)
        return values.reshape(*shape, values.shape[2]), mask.reshape(shape)

    def _weights(self, values: Tensor, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.value(values)) * torch.sigmoid(self.gate(values))
        scores = self.score(hidden).squeeze(-1)
        # A finite floor: a sequence without any slice gets even weights, not NaN.
        floor = torch.full_like(scores, torch.finfo(scores.dtype).min)
        weights = torch.softmax(torch.where(mask, scores, floor), dim=2)
        return torch.where(mask, weights, torch.zeros_like(weights))
