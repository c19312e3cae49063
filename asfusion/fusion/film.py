"""Feature-wise linear modulation: one modality steers how the others are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from asfusion._checks import check_choice, check_number, in_words
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion, masked_mean, presence


class FiLM(Fusion):
    """Let one modality scale and shift the tokens of the others, such as a table those of a film.

    Tokens are projected to one width. Each modality is conditioned by those that `by` names,
    itself excepted: from their means a small network reads a scale and a shift per coordinate,
    for all tokens of that modality [1]_, [2]_. Where no conditioning modality is present, the
    scale is one and the shift zero. Tokens then pass a nonlinearity, are averaged over each
    modality and over the modalities that are present, the conditioning ones too, and are mixed.

    Parameters
    ----------
    d_out : int
        Width of tokens inside and of the fused vector.
    by : str or list of str, optional
        Modalities that condition the others, such as ``"labs"``. By default each modality is
        conditioned by all others. A single modality is conditioned by none, whatever `by` names.
    dropout : float
        Dropout before the mixing layer.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if `by` names what is no modality, or nothing.

    Notes
    -----
    NOTE[DIFF]: both papers steer feature maps within the image's network; here encoders know
    nothing of each other, and what is steered are their tokens, which are regions of an image
    with ``pool=False``. Scale and shift come from the conditioning modalities alone; DAFT [2]_
    reads the image for them too. Of several that are present, the mean conditions.

    References
    ----------
    .. [1] Perez et al., "FiLM: visual reasoning with a general conditioning layer", AAAI 2018.
       https://doi.org/10.1609/aaai.v32i1.11671
    .. [2] Wolf et al., "DAFT: a universal module to interweave tabular data and 3D images in
       CNNs", NeuroImage 2022. https://doi.org/10.1016/j.neuroimage.2022.119505

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.FiLM(d_out=8, by="labs").build({"labs": 4, "mri": 6})
    >>> labs, mri = Tokens.single(torch.zeros(2, 4)), Tokens.single(torch.zeros(2, 6))
    >>> head({"labs": labs, "mri": mri}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self, *, d_out: int = 64, by: str | Sequence[str] | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__(d_out=d_out)
        self.by = by
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create projections, what is read of conditioning modalities, and the mixing layer."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        named = self._conditioning(dims)
        self.sources = {name: [one for one in named if one != name] for name in dims}
        read = {one for sources in self.sources.values() for one in sources}
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.read = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, self.d_out), nn.SiLU())
                for name, width in dims.items()
                if name in read
            }
        )
        self.steer = nn.ModuleDict(
            {name: self._neutral() for name, sources in self.sources.items() if sources}
        )
        self.mix = nn.Sequential(
            nn.Dropout(self.dropout), nn.Linear(self.d_out, self.d_out), nn.SiLU()
        )

    def _conditioning(self, dims: Mapping[str, int]) -> list[str]:
        """Return the modalities that condition others, in the order of `dims`."""
        if self.by is None:
            return list(dims)
        asked = [self.by] if isinstance(self.by, str) else self.by
        if not isinstance(asked, list | tuple) or not asked:
            msg = (
                "FiLM, by: expected the name of a modality such as 'labs', a list of at least one, "
                f"or None for all, got {in_words(self.by)}."
            )
            raise ConfigurationError(msg)
        if len(dims) == 1:  # as where each modality gets a network of its own
            return []
        named = {check_choice(name, "FiLM, by", dims) for name in asked}
        return [name for name in dims if name in named]

    def _neutral(self) -> nn.Linear:
        """Return a layer to scale and shift that starts at scale one and shift zero."""
        layer = nn.Linear(self.d_out, 2 * self.d_out)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    def modulation(self, tokens: Mapping[str, Tokens]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return scale and shift (B, d_out) of the modalities that others condition, by name."""
        read = {name: layer(tokens[name].pool()) for name, layer in self.read.items()}
        return {name: self._scale_and_shift(name, read, tokens) for name in self.steer}

    def _scale_and_shift(
        self, name: str, read: Mapping[str, Tensor], tokens: Mapping[str, Tokens]
    ) -> tuple[Tensor, Tensor]:
        sources = self.sources[name]
        present = presence({one: tokens[one] for one in sources})
        told = masked_mean(torch.stack([read[one] for one in sources], dim=1), present)
        change = self.steer[name](told)
        change = torch.where(present.any(dim=1, keepdim=True), change, torch.zeros_like(change))
        scale, shift = change.chunk(2, dim=1)
        return 1.0 + scale, shift

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mixed mean (B, d_out) of the modalities, steered by each other."""
        changes = self.modulation(tokens)
        parts = []
        for name, t in tokens.items():
            values = self.project[name](t.values)
            if name in changes:
                scale, shift = changes[name]
                values = scale.unsqueeze(1) * values + shift.unsqueeze(1)
            parts.append(Tokens(nn.functional.silu(values), t.mask).pool())
        mean = masked_mean(torch.stack(parts, dim=1), presence(tokens))
        return self.mix(mean)  # type: ignore[no-any-return]
