"""Backbones for irregular visits: recurrent networks and a transformer that know time.

Dimensions: B rows of a batch, L visits of a row, K values of a visit, D width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens, is_traced
from asfusion.exceptions import ConfigurationError
from asfusion.nn._placed import known
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.text import Finish, RotaryLayer, open_empty_rows

_N_CLOCK = 2
_N_WAVES = 8
_SLOWEST = 100.0  # periods of rotary positions, from one time scale to a hundred


class _Layers(NamedTuple):
    """Which recurrent layers, how many, and how wide."""

    kind: type[nn.Module]
    n_layers: int
    d_hidden: int


class _RecurrentBackbone(Backbone):
    """Recurrent layers over visits in the order of time."""

    def __init__(
        self, layers: _Layers, n_values: int, *, dropout: float, time_scale: float
    ) -> None:
        super().__init__()
        self.d_out = layers.d_hidden
        self.time_scale = time_scale
        self.reader = _VisitReader(n_values, time_scale)
        widths = [self.reader.d_out] + [layers.d_hidden] * (layers.n_layers - 1)
        *lower, top = [layers.kind(width, layers.d_hidden) for width in widths]
        self.layers, self.top = nn.ModuleList(lower), top
        self.dropout = nn.Dropout(dropout)

    def _run(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last state (B, D), time since the last visit, and who has any visit (B,)."""
        inputs = _trim(inputs)
        mask, gaps, last = _clock(inputs, self.time_scale)
        states = self.reader(inputs, gaps)
        for layer in self.layers:
            states = self.dropout(layer(states, gaps, mask)[0])
        _, final = self.top(states, gaps, mask)
        return final, last, mask.any(dim=1)


class GRUVisitBackbone(_RecurrentBackbone):
    """Read visits with a gated recurrent unit that forgets by elapsed time.

    A value that was not measured is the last known one, which decays towards the training
    median; so does the state between visits, and from the last visit to the index date.

    Parameters
    ----------
    n_values : int
        Number of values K of a visit.
    d_hidden : int
        Width D of the state.
    n_layers : int
        Layers, the states of one being the input of the next.
    dropout : float
        Dropout between layers.
    time_scale : float
        Days that count as one unit of time, about the usual time between visits.

    Shape
    -----
    - Input: ``x`` (B, L, K), scaled values, the last known one where none was measured;
      ``known`` (B, L, K) bool; ``since`` (B, L, K), days from the last known value; ``trend``
      (B, L, 2K), mean and slope so far; ``days`` (B, L), at most 0, rising; ``mask``
      (B, L) bool, True = a visit, those first.
    - Output: `Tokens` (B, 1, D).

    Notes
    -----
    After GRU-D [1]_. NOTE[DIFF]: rates of decay are positive by a softplus instead of a
    rectifier, which has no gradient where it is shut; the state decays by the time between
    visits, and the network reads the logarithms of that time and of the time to the
    index date as well, and at each visit the mean and slope so far, since a state that is
    made of sums learns a product of time and value poorly from a few hundred patients.

    References
    ----------
    .. [1] Che et al., "Recurrent neural networks for multivariate time series with missing
       values", Scientific Reports 2018. https://doi.org/10.1038/s41598-018-24271-9

    Examples
    --------
    >>> import torch
    >>> visits = {
    ...     "x": torch.zeros(2, 3, 4), "known": torch.ones(2, 3, 4, dtype=torch.bool),
    ...     "since": torch.zeros(2, 3, 4), "trend": torch.zeros(2, 3, 8),
    ...     "days": torch.tensor([[-90.0, -30.0, 0.0]] * 2),
    ...     "mask": torch.ones(2, 3, dtype=torch.bool),
    ... }
    >>> GRUVisitBackbone(4)(visits).values.shape
    torch.Size([2, 1, 32])
    """

    top: _DecayingGRU

    def __init__(
        self,
        n_values: int,
        *,
        d_hidden: int = 32,
        n_layers: int = 1,
        dropout: float = 0.0,
        time_scale: float = 90.0,
    ) -> None:
        layers = _Layers(_DecayingGRU, n_layers, d_hidden)
        super().__init__(layers, n_values, dropout=dropout, time_scale=time_scale)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return the state at the index date (B, 1, d_out)."""
        final, last, present = self._run(inputs)
        return Tokens.single(self.top.fade(final, last), present=present)


class LSTMVisitBackbone(_RecurrentBackbone):
    """Read visits with a long short-term memory whose short-term part fades with time.

    Parameters
    ----------
    n_values : int
        Number of values K of a visit.
    d_hidden : int
        Width D of the state.
    n_layers : int
        Layers, the states of one being the input of the next.
    dropout : float
        Dropout between layers.
    time_scale : float
        Days that count as one unit of time, about the usual time between visits.

    Shape
    -----
    As `GRUVisitBackbone`.

    Notes
    -----
    After the time-aware LSTM [1]_, whose memory before a visit is split into a long-term part
    and a short-term one that is divided by ``log(e + elapsed)``. NOTE[DIFF]: elapsed time
    is counted in `time_scale`; missing values decay, and trends are read, as in
    `GRUVisitBackbone`.

    References
    ----------
    .. [1] Baytas et al., "Patient subtyping via time-aware LSTM networks", KDD 2017.
       https://doi.org/10.1145/3097983.3097997

    Examples
    --------
    >>> LSTMVisitBackbone(4, d_hidden=8).d_out
    8
    """

    def __init__(
        self,
        n_values: int,
        *,
        d_hidden: int = 32,
        n_layers: int = 1,
        dropout: float = 0.0,
        time_scale: float = 90.0,
    ) -> None:
        layers = _Layers(_TimeAwareLSTM, n_layers, d_hidden)
        super().__init__(layers, n_values, dropout=dropout, time_scale=time_scale)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return the state after the last visit (B, 1, d_out)."""
        final, _, present = self._run(inputs)
        return Tokens.single(final, present=present)


class TransformerVisitBackbone(Backbone):
    """Read visits with a small transformer whose positions are days.

    Attention between two visits depends on the days between them, by rotary positions [1]_;
    each visit also carries learned waves of the time to the index date, as in multi-time
    attention [2]_. A row becomes the mean of its visits.

    Parameters
    ----------
    n_values : int
        Number of values K of a visit.
    d_hidden : int
        Width D; an even multiple of `n_heads`.
    n_layers : int
        Transformer layers.
    n_heads : int
        Attention heads.
    dropout : float
        Dropout inside the layers.
    time_scale : float
        Days that count as one unit of time, about the usual time between visits.

    Shape
    -----
    As `GRUVisitBackbone`.

    Raises
    ------
    ConfigurationError
        If `d_hidden` is not an even multiple of `n_heads`.

    References
    ----------
    .. [1] Su et al., "RoFormer: enhanced transformer with rotary position embedding",
       Neurocomputing 2024. https://doi.org/10.1016/j.neucom.2023.127063
    .. [2] Shukla and Marlin, "Multi-time attention networks for irregularly sampled time
       series", ICLR 2021. https://doi.org/10.48550/arXiv.2101.10318

    Examples
    --------
    >>> TransformerVisitBackbone(4, d_hidden=8).d_out
    8
    """

    def __init__(
        self,
        n_values: int,
        *,
        d_hidden: int = 32,
        n_layers: int = 1,
        n_heads: int = 2,
        dropout: float = 0.0,
        time_scale: float = 90.0,
    ) -> None:
        super().__init__()
        if d_hidden % (2 * n_heads):
            msg = (
                f"d_hidden: expected a multiple of {2 * n_heads} for {n_heads} attention heads, "
                f"got {d_hidden}."
            )
            raise ConfigurationError(msg)
        self.d_out = d_hidden
        self.time_scale = time_scale
        self.d_head = d_hidden // n_heads
        self.reader = _VisitReader(n_values, time_scale)
        self.waves = _Waves()
        self.first = nn.Linear(self.reader.d_out + _N_WAVES, d_hidden)
        self.layers = nn.ModuleList(
            RotaryLayer(d_hidden, n_heads, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_hidden)
        self.finish = Finish(d_hidden, pool=True)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return the mean over visits (B, 1, d_out)."""
        inputs = _trim(inputs)
        mask, gaps, _ = _clock(inputs, self.time_scale)
        read = self.reader(inputs, gaps)
        when = inputs["days"].to(read.dtype) / self.time_scale
        sequence = self.first(torch.cat([read, self.waves(when)], dim=-1))
        visible = open_empty_rows(mask)
        angles = self._angles(when)
        for layer in self.layers:
            sequence = layer(sequence, visible, angles)
        tokens: Tokens = self.finish(self.norm(sequence), mask)
        return tokens

    def last_block(self) -> nn.Module:
        """Return the last transformer layer."""
        return self.layers[-1]

    def _angles(self, when: Tensor) -> Tensor:
        """Return the angle of each visit and pair of features (B, 1, L, d_head / 2), in radians."""
        pairs = torch.arange(0, self.d_head, 2, device=when.device, dtype=when.dtype) / self.d_head
        return (when.unsqueeze(-1) * _SLOWEST**-pairs).unsqueeze(1)


class _VisitReader(nn.Module):
    """What a network reads of each visit: values, what is known, trends, clocks (B, L, D)."""

    def __init__(self, n_values: int, time_scale: float) -> None:
        super().__init__()
        self.time_scale = time_scale
        self.d_out = 4 * n_values + _N_CLOCK
        # A softplus of minus two: a value that is not measured again halves in some five units.
        self.rates = nn.Parameter(torch.full((n_values,), -2.0))

    def forward(self, inputs: Inputs, gaps: Tensor) -> Tensor:
        dtype = self.rates.dtype
        x, known = inputs["x"].to(dtype), inputs["known"]
        fade = torch.exp(-nn.functional.softplus(self.rates) * inputs["since"] / self.time_scale)
        values = torch.where(known, x, x * fade.to(dtype))
        age = -inputs["days"].to(dtype) / self.time_scale
        clocks = torch.stack([torch.log1p(gaps), torch.log1p(age)], dim=-1)
        return torch.cat([values, known.to(dtype), inputs["trend"].to(dtype), clocks], dim=-1)


class _DecayingGRU(nn.Module):
    """A GRU over visits whose state decays between them."""

    def __init__(self, d_in: int, d_hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(d_in, 3 * d_hidden)
        self.state = nn.Linear(d_hidden, 3 * d_hidden)
        self.rates = nn.Parameter(torch.linspace(-4.0, 0.0, d_hidden))

    def fade(self, state: Tensor, elapsed: Tensor) -> Tensor:
        """Return the state (B, D) after some time (B,) without a visit."""
        return state * torch.exp(-nn.functional.softplus(self.rates) * elapsed.unsqueeze(-1))

    def forward(self, sequence: Tensor, gaps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return states after each visit (B, L, D), and after the last one (B, D)."""
        read = self.inputs(sequence)
        state = sequence.new_zeros(sequence.shape[0], self.state.in_features)
        states = []
        for place in range(sequence.shape[1]):
            before = self.fade(state, gaps[:, place])
            reset, update, own = read[:, place].chunk(3, dim=-1)
            reset_h, update_h, own_h = self.state(before).chunk(3, dim=-1)
            kept = torch.sigmoid(update + update_h)
            new = torch.tanh(own + torch.sigmoid(reset + reset_h) * own_h)
            after = kept * before + (1.0 - kept) * new
            state = torch.where(mask[:, place, None], after, state)
            states.append(state)
        return torch.stack(states, dim=1), state


class _TimeAwareLSTM(nn.Module):
    """An LSTM over visits whose short-term memory fades between them."""

    def __init__(self, d_in: int, d_hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(d_in, 4 * d_hidden)
        self.state = nn.Linear(d_hidden, 4 * d_hidden)
        self.short_term = nn.Linear(d_hidden, d_hidden)
        with torch.no_grad():
            self.inputs.bias[d_hidden : 2 * d_hidden] += 1.0  # begin by remembering

    def forward(self, sequence: Tensor, gaps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return states after each visit (B, L, D), and after the last one (B, D)."""
        read = self.inputs(sequence)
        share = 1.0 / torch.log(math.e + gaps)
        state = sequence.new_zeros(sequence.shape[0], self.state.in_features)
        memory = torch.zeros_like(state)
        states = []
        for place in range(sequence.shape[1]):
            short = torch.tanh(self.short_term(memory))
            adjusted = memory - short + short * share[:, place, None]
            gates = read[:, place] + self.state(state)
            enter, keep, out, own = gates.chunk(4, dim=-1)
            after = torch.sigmoid(keep) * adjusted + torch.sigmoid(enter) * torch.tanh(own)
            there = mask[:, place, None]
            memory = torch.where(there, after, memory)
            state = torch.where(there, torch.sigmoid(out) * torch.tanh(after), state)
            states.append(state)
        return torch.stack(states, dim=1), state


class _Waves(nn.Module):
    """Learned waves of continuous time (..., 8), of periods from one unit to a hundred."""

    def __init__(self) -> None:
        super().__init__()
        steps = torch.arange(_N_WAVES) / (_N_WAVES - 1)
        self.frequencies = nn.Parameter(2.0 * math.pi * _SLOWEST**-steps)
        self.phases = nn.Parameter(torch.zeros(_N_WAVES))

    def forward(self, when: Tensor) -> Tensor:
        return torch.sin(when.unsqueeze(-1) * self.frequencies + self.phases)


def _trim(inputs: Inputs) -> Inputs:
    """Return inputs without the places that are padding in every row."""
    if is_traced():
        return inputs  # an exported graph must not depend on the data
    mask = known(inputs, "mask")
    length = max(1, int(mask.sum(dim=1).amax())) if len(mask) else 1
    return {name: tensor[:, :length] for name, tensor in inputs.items()}


def _clock(inputs: Inputs, time_scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mask, the time since the visit before (B, L), and that since the last (B,)."""
    mask, days = inputs["mask"], inputs["days"]
    gaps = torch.diff(days, dim=1, prepend=days[:, :1])
    gaps = torch.where(mask, gaps, torch.zeros_like(gaps)) / time_scale
    # Days rise to the last visit, and padding must not count as the index date.
    latest = torch.where(mask, days, torch.full_like(days, -torch.inf)).amax(dim=1)
    last = torch.where(mask.any(dim=1), -latest, torch.zeros_like(latest)) / time_scale
    return mask, gaps.clamp(min=0.0), last.clamp(min=0.0)
