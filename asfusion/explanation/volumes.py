"""What each voxel of a patient's series adds to a prediction, on the voxels of the files.

Dimensions: B volumes, T tokens, D width, S sequences, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._checks import quoted
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._series import SeriesEncoder
from asfusion.encoders.slices import SliceEncoder
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._curves import Parts
from asfusion.explanation._game import Game
from asfusion.explanation._gradients import map_layer, worth_of_tokens
from asfusion.explanation._part_games import number_blocks
from asfusion.explanation.images import ImageAttribution, attribute_image
from asfusion.imaging.volumes.grid import to_eight_bits, window_of
from asfusion.imaging.volumes.series import read_series
from asfusion.show import page as _html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_MOST_VOLUMES = 8


@dataclass(frozen=True, eq=False, repr=False)
class VolumeAttribution:
    """What the voxels of one patient's series add to an output.

    ``attribution["mri_stir"]`` is the `ImageAttribution` of one sequence, on the voxels of its
    files and with their spacing in mm.

    Parameters
    ----------
    maps : mapping of str to ImageAttribution
        Attribution (Z, Y, X) of each sequence that the patient has, the others being as they
        are.
    attention : mapping of str to ndarray of shape (Z,)
        What each slice weighs in its sequence, for encoders that attend to slices.
    elsewhere : float, default=0.0
        What of the modality's value no voxel holds, in units of the output: what series
        without content are worth against none at all, and the method's gap. `total` and
        `elsewhere` add up to the modality's value.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.zeros((3, 4, 4))
    >>> values[1, 2, 2] = 0.5
    >>> stir = ImageAttribution(values, np.zeros((3, 4, 4)), "occlusion")
    >>> attribution = VolumeAttribution({"mri_stir": stir})
    >>> attribution
    VolumeAttribution(mri_stir: 3 x 4 x 4, total=0.5, method='occlusion')
    >>> attribution.strongest, attribution["mri_stir"].values[1].sum()
    ('mri_stir', np.float64(0.5))
    """

    maps: Mapping[str, ImageAttribution]
    attention: Mapping[str, Floats] = field(default_factory=dict)
    elsewhere: float = 0.0

    def __getitem__(self, column: str) -> ImageAttribution:
        """Return the attribution of one sequence."""
        if column not in self.maps:
            msg = f"VolumeAttribution: expected one of {quoted(self.maps)}, got {column!r}."
            raise ConfigurationError(msg)
        return self.maps[column]

    @property
    def total(self) -> float:
        """Sum over all voxels of all sequences, in units of the output."""
        return sum(part.total for part in self.maps.values())

    @property
    def gap(self) -> float | None:
        """The largest gap that a sequence leaves unexplained; None for methods without one."""
        gaps = [part.gap for part in self.maps.values() if part.gap is not None]
        return max(gaps, key=abs) if gaps else None

    @property
    def method(self) -> str:
        """How the values were found."""
        return next(iter(self.maps.values())).method

    @property
    def strongest(self) -> str:
        """The sequence that holds most attribution of either sign."""
        return max(self.maps, key=lambda name: float(np.abs(self.maps[name].values).sum()))

    def __repr__(self) -> str:
        shapes = [
            f"{name}: {' x '.join(map(str, part.values.shape))}" for name, part in self.maps.items()
        ]
        rest = f", elsewhere={self.elsewhere:.3g}" if self.elsewhere else ""
        words = f"total={self.total:.3g}{rest}, method={self.method!r}"
        return f"VolumeAttribution({', '.join(shapes)}, {words})"

    def plot(self, ax: Axes | None = None, limit: float | None = None) -> Axes:
        """Draw the strongest slice of the strongest sequence.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        limit : float, optional
            Value of full colour, of either sign, in units of the output.

        Returns
        -------
        Axes
            What was drawn on.
        """
        drawn = self.maps[self.strongest].plot(ax, limit)
        drawn.set_title(f"{self.strongest}, {drawn.get_title()}", fontsize=10)
        return drawn

    def montage(self, n: int = 9, column: str | None = None) -> Figure:
        """Draw slices of one sequence on one scale.

        Parameters
        ----------
        n : int
            How many slices, evenly spaced from the first to the last.
        column : str, optional
            Which sequence; the strongest by default.

        Returns
        -------
        Figure
            With one panel per slice.
        """
        name = self.strongest if column is None else column
        figure = self[name].montage(n)
        figure.suptitle(name, fontsize=10)
        return figure

    def _repr_html_(self) -> str:
        pages = "".join(part._repr_html_() for part in self.maps.values())
        if not self.elsewhere:
            return pages
        unit = next((part.unit for part in self.maps.values()), "units of the output")
        words = f"In no voxel (having it at all): {self.elsewhere:+.4g} {unit}."
        return pages + _html.paragraph(words)


def attribute_row(
    game: Game,
    row: int,
    name: str,
    encoder: SeriesEncoder,
    prepared: Prepared,
    paths: Mapping[str, str | None],
    method: Any,
) -> VolumeAttribution:
    """Return what the voxels of one row add to its output.

    Parameters
    ----------
    game : Game
        Outcomes of coalitions of modalities.
    row : int
        Position of the row, which has the modality.
    name : str
        The modality.
    encoder : SeriesEncoder
        Its encoder.
    prepared : Prepared
        The row, alone.
    paths : mapping of str to str or None
        The row's series, by column.
    method : str
        How voxels are attributed.

    Returns
    -------
    VolumeAttribution
        On the voxels of the files.

    Raises
    ------
    ConfigurationError
        If Grad-CAM is asked of a network that has no feature map.
    """
    n_sequences = len(encoder.columns_)
    there = prepared.tensors["mask"][0].reshape(n_sequences, -1).any(dim=1)
    maps: dict[str, ImageAttribution] = {}
    for s, column in enumerate(encoder.columns_):
        path = paths[column]
        if path is None or not bool(there[s]):
            continue
        found = _on_grid(game, row, name, prepared, s, method)
        maps[column] = _on_files(found, encoder, path)
    held = sum(part.total for part in maps.values())
    rest = game.own_value(row, name) - held
    return VolumeAttribution(maps, _attention(encoder, prepared, paths), elsewhere=rest)


def blocks_of_row(game: Game, row: int, name: str, prepared: Prepared, method: Any) -> Parts:
    """Return blocks of the voxels that a network reads of a row, to be made black or put in."""
    n_sequences = prepared.tensors["voxels"].shape[1]
    there = prepared.tensors["mask"][0].reshape(n_sequences, -1).any(dim=1)
    sequences = torch.nonzero(there).flatten().tolist()
    blocks = number_blocks(prepared.tensors["voxels"].shape[2:])
    maps = [_on_grid(game, row, name, prepared, s, method).values for s in sequences]
    values = [np.bincount(blocks.ravel(), part.ravel()) for part in maps]
    worth, numbers = game.marginal(row, name), torch.from_numpy(blocks)

    def some(masks: NDArray[np.bool_]) -> Floats:
        b = len(masks)
        tensors = {k: v.expand(b, *v.shape[1:]).clone() for k, v in prepared.tensors.items()}
        shown = torch.from_numpy(masks).reshape(b, len(sequences), -1)[:, :, numbers]
        tensors["voxels"][:, sequences] *= shown
        return worth(*game.encode(name, Prepared(tensors, torch.ones(b, dtype=torch.bool))))

    def play(masks: NDArray[np.bool_]) -> Floats:
        starts = range(0, len(masks), _MOST_VOLUMES)
        return np.concatenate([some(masks[start : start + _MOST_VOLUMES]) for start in starts])

    return Parts(np.concatenate(values), play)


def _on_grid(
    game: Game, row: int, name: str, prepared: Prepared, sequence: int, method: Any
) -> ImageAttribution:
    """Return the attribution of one sequence on the voxels that the network reads."""
    image = prepared.tensors["voxels"][0, sequence][None].to(torch.float32) / 255.0
    if method == "occlusion":
        return attribute_image(
            _black_box(game, row, name, prepared, sequence), image, method=method
        )
    forward = _worth_of_sequence(game, row, name, prepared, sequence)
    layer = map_layer(game, name) if method == "grad_cam" else None
    return attribute_image(forward, image, method=method, layer=layer, batch_size=4)


def _worth_of_sequence(
    game: Game, row: int, name: str, prepared: Prepared, sequence: int
) -> Callable[[Tensor], Tensor]:
    """Return the worth of volumes (B, 1, Z, Y, X) in place of one sequence of the row."""
    worth = worth_of_tokens(game, row, name)
    network: Any = game.model.network_.encoders[name]  # type: ignore[attr-defined, unused-ignore]
    backbone = network.backbone
    with torch.no_grad():
        values, mask = backbone(dict(prepared.tensors))
    n = values.shape[1] // prepared.tensors["voxels"].shape[1]
    before, after = values[:, : sequence * n], values[:, (sequence + 1) * n :]

    def forward(volumes: Tensor) -> Tensor:
        b = len(volumes)
        own = backbone.of_sequence(volumes[:, 0], sequence)
        parts = [before.expand(b, -1, -1), own, after.expand(b, -1, -1)]
        return worth(network(Tokens(torch.cat(parts, dim=1), mask.expand(b, -1))))

    return forward


def _black_box(
    game: Game, row: int, name: str, prepared: Prepared, sequence: int
) -> Callable[[Tensor], Tensor]:
    worth = game.marginal(row, name)

    def forward(volumes: Tensor) -> Tensor:
        b = len(volumes)
        tensors = {k: v.expand(b, *v.shape[1:]).clone() for k, v in prepared.tensors.items()}
        eight = (volumes[:, 0].detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
        tensors["voxels"][:, sequence] = eight
        rows = Prepared(tensors, torch.ones(b, dtype=torch.bool))
        return torch.from_numpy(worth(*game.encode(name, rows)))

    return forward


def _on_files(found: ImageAttribution, encoder: SeriesEncoder, path: str) -> ImageAttribution:
    """Return an attribution on the voxels of the series that it is about, sums kept."""
    volume = read_series(path, on_gap=encoder.on_gap)
    window = window_of(volume.values) if encoder.window == "auto" else encoder.window
    return ImageAttribution(
        values=encoder.grid_of(volume).spread(found.values),
        image=to_eight_bits(volume.values, window) / 255.0,
        method=found.method,
        gap=found.gap,
        spacing_mm=volume.spacing,
        unit=found.unit,
    )


def _attention(
    encoder: SeriesEncoder,
    prepared: Prepared,
    paths: Mapping[str, str | None],
) -> dict[str, Floats]:
    """Return what each slice of the files weighs in its sequence, if anything attends to them."""
    if not isinstance(encoder, SliceEncoder):
        return {}
    weights = encoder.attention_of(prepared)[0]
    found: dict[str, Floats] = {}
    for s, column in enumerate(encoder.columns_):
        path = paths[column]
        if path is not None and weights[s].any():
            axis = encoder.grid_of(read_series(path, on_gap=encoder.on_gap)).axes[0]
            found[column] = axis.T @ weights[s]
    return found
