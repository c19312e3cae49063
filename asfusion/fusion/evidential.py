"""Evidential fusion: opinions of modalities, combined by Dempster's rule, and their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion, RowLoss

_START = -2.0  # log evidence per class, so that untrained modalities hardly say anything
_SMALL = 1.0  # up to here, evidence is computed by expm1
# The penalty does not grow beyond: the likelihood alone pulls such evidence down, and logarithms of
# the gamma function still have digits in float32.
_MOST = math.log(1e4)


class Evidential(Fusion):
    r"""Let each modality bring evidence for classes, and say how much is unknown.

    The network of a modality gives evidence of zero or more for each class, the parameters of
    a Dirichlet distribution: an opinion, which is a belief in each class and the mass of what is
    unknown. Opinions are combined by Dempster's rule. An absent modality knows nothing, and
    drops out exactly. Predicted are the belief in a class and its share, by the class frequencies
    of the training rows, of what is unknown; so a row without any modality gets those.

    `uncertainty` (of a fitted estimator: ``model.uncertainty(X)``) is the mass of what is unknown:
    1 where all is absent, less with each modality, and more where modalities contradict each
    other than where they agree.

    Only for classes. Modalities meet as decisions: that two of them *together* mean something
    cannot be seen.

    Parameters
    ----------
    d_out : int, optional
        Number of classes, which is the width of the fused vector. In an estimator leave it out:
        None is the number that the target has.
    d_hidden : int
        Width of the network of each modality.
    penalty : float
        Weight in the loss of evidence for classes that a row is not of (nats); without it,
        evidence would grow wherever the right class has the most.
    dropout : float
        Dropout in the network of each modality.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out), logarithms of Dirichlet parameters over `d_out`, whose softmax
      is the expected probability if classes are equally frequent; zeros for a row without
      any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if the number of classes is not known, or not that of the target; in an
        estimator, if the target is not one of several classes.

    Notes
    -----
    With evidence e for K classes, Dempster's rule for such opinions is a product,
    :math:`1 + e_k / K = \prod_m (1 + e_{mk} / K)`, so their logarithms are summed, exactly and
    in any order. As in the paper [1]_, two opinions that contradict each other leave less
    unknown than one of them alone.

    NOTE[DIFF]: the likelihood is that of the expected probability [2]_ in place of the expected
    logarithm, so that focal loss and label smoothing stay what they are; evidence is an
    exponential, so that a single modality can be sure. The paper adds the same loss for each
    modality alone; here every other row in training, drawn at random, is judged by one of its
    modalities, which comes to the same. The penalty is not raised over the epochs, and what
    is unknown is shared out by class frequencies [3]_ in place of evenly.

    References
    ----------
    .. [1] Han et al., "Trusted multi-view classification with dynamic evidential fusion", IEEE
       TPAMI 2023. https://doi.org/10.1109/TPAMI.2022.3171983
    .. [2] Sensoy et al., "Evidential deep learning to quantify classification uncertainty",
       NeurIPS 2018. https://doi.org/10.48550/arXiv.1806.01768
    .. [3] Jøsang, "Subjective Logic", Springer 2016. https://doi.org/10.1007/978-3-319-42337-1

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Evidential(d_out=3).build({"labs": 4}).eval()
    >>> nothing = Tokens.single(torch.zeros(2, 4), present=torch.zeros(2, dtype=torch.bool))
    >>> head.uncertainty({"labs": nothing}).tolist()
    [1.0, 1.0]
    """

    decides = True

    def __init__(
        self,
        *,
        d_out: int | None = None,
        d_hidden: int = 32,
        penalty: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.d_out = d_out  # type: ignore[assignment]  # known once it is built
        self.d_hidden = d_hidden
        self.penalty = penalty
        self.dropout = dropout

    def check_target(self, target: Any) -> None:
        """Refuse what is not one of several classes."""
        if target.loss != "classes":
            msg = (
                f"fusion: Evidential expected a target of classes, got {type(target).__name__}. "
                "Evidence is for one class among several: use another head, such as 'gated'."
            )
            raise ConfigurationError(msg)

    def build(self, dims: Mapping[str, int], n_outputs: int | None = None) -> Self:
        """Create the layers, for as many classes as there are outputs.

        Parameters
        ----------
        dims : mapping of str to int
            Token width of each modality.
        n_outputs : int, optional
            Number of classes of the model.

        Returns
        -------
        Evidential
            This head, with `d_out` set.

        Raises
        ------
        ConfigurationError
            If the number of classes is not known, or `d_out` is another.
        """
        self._check_parameters()
        wanted = self.d_out if n_outputs is None else n_outputs
        if wanted is None or self.d_out not in (None, wanted):
            needed = "the number of classes" if wanted is None else f"None or {wanted} (classes)"
            msg = (
                f"Evidential: expected d_out={needed}, got {self.d_out}. An estimator knows its "
                "classes: leave d_out out there, and give it elsewhere."
            )
            raise ConfigurationError(msg)
        self.d_out = wanted
        return super().build(dims, n_outputs)

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create the network of each modality, which says little before it has learned."""
        check_integer(self.d_out, "d_out", minimum=2)
        self.witness = nn.ModuleDict({name: self._make_witness(w) for name, w in dims.items()})

    def _check_parameters(self) -> None:
        check_integer(self.d_hidden, "d_hidden", minimum=1)
        check_number(self.penalty, "penalty", minimum=0.0)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)

    def _make_witness(self, width: int) -> nn.Module:
        last = nn.Linear(self.d_hidden, self.d_out)
        nn.init.constant_(last.bias, _START)
        return nn.Sequential(
            nn.Linear(width, self.d_hidden), nn.SiLU(), nn.Dropout(self.dropout), last
        )

    def opinions(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return ``log(1 + e / K)`` of the evidence of each modality (B, M, K); zeros where absent.

        Modalities are in the order of `dims`.
        """
        said = [self._opinion(name, tokens[name]) for name in self.dims]
        return torch.stack(said, dim=1)

    def _opinion(self, name: str, tokens: Tokens) -> Tensor:
        said = functional.softplus(self.witness[name](tokens.pool()))
        return torch.where(tokens.present.unsqueeze(1), said, torch.zeros_like(said))

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the combined opinion (B, d_out): Dempster's rule is a sum of logarithms."""
        opinions = self.opinions(tokens)
        return (_some_alone(opinions) if self.training else opinions).sum(dim=1)

    def uncertainty(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mass of what is unknown (B,), from 0 to 1."""
        # K / S, where the Dirichlet parameters, K in all without evidence, sum to S.
        return 1.0 / (1.0 + torch.expm1(self.opinions(tokens).sum(dim=1)).sum(dim=1))

    def output_layer(self, n_outputs: int) -> nn.Module:
        """Return the layer that shares what is unknown out among the classes."""
        return _BaseRates(n_outputs)

    def row_loss(self, loss: RowLoss, output: nn.Module) -> RowLoss:
        """Return the loss of the target, and that of evidence for the wrong classes."""
        return _Penalised(loss, self.penalty, output) if self.penalty else loss


def _some_alone(opinions: Tensor) -> Tensor:
    """Return opinions (B, M, K) of which every other row, at random, keeps a single one."""
    said = (opinions > 0).any(dim=2)
    drawn = said * (1.0 + torch.rand(said.shape, device=said.device))
    one = functional.one_hot(drawn.argmax(dim=1), said.shape[1]).bool()
    alone = torch.rand(len(said), 1, device=said.device) < 0.5
    return opinions * (one | ~alone).unsqueeze(2)


class _BaseRates(nn.Module):
    """From the combined opinion to log Dirichlet parameters ``e + K a``, a the class frequencies.

    ``bias`` holds log frequencies, as the bias of a linear layer does; it is set, not learned.
    """

    bias: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(n_classes))

    def rates(self) -> Tensor:
        """Return the class frequencies (K,)."""
        return self.bias.softmax(dim=0)

    def forward(self, opinion: Tensor) -> Tensor:
        """Return log parameters (B, K), whose softmax is the expected probability."""
        return _log_parameters(opinion, self.rates())


class _Penalised:
    """A loss of rows that also counts evidence for classes that a row is not of."""

    def __init__(self, loss: RowLoss, weight: float, output: nn.Module) -> None:
        self.loss, self.weight, self.output = loss, weight, output

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one loss per row (B,)."""
        rates: Callable[[], Tensor] = self.output.rates  # type: ignore[assignment]
        nothing = outputs.shape[1] * rates().to(outputs.dtype)
        right = functional.one_hot(targets, outputs.shape[1]).bool()
        misled = torch.where(right, nothing, outputs.clamp(max=_MOST).exp())
        return self.loss(outputs, targets) + self.weight * _divergence(misled, nothing)


def _log_parameters(opinion: Tensor, rates: Tensor) -> Tensor:
    """Return ``log(e + K a)`` from ``log(1 + e / K)``, for as much or little evidence as may be."""
    # Each formula is good where the other is not, and clamped there, for the gradient's sake.
    little = torch.log(torch.expm1(opinion.clamp(max=_SMALL)) + rates)
    much = opinion.clamp(min=_SMALL)
    much = much + torch.log1p((rates - 1.0) * torch.exp(-much))
    return math.log(len(rates)) + torch.where(opinion < _SMALL, little, much)


def _divergence(parameters: Tensor, start: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (B,) of Dirichlet distributions, in nats."""
    total, total_start = parameters.sum(dim=1), start.sum()
    volumes = torch.lgamma(start).sum() - torch.lgamma(parameters).sum(dim=1)
    expected = torch.digamma(parameters) - torch.digamma(total).unsqueeze(1)
    return (
        torch.lgamma(total)
        - torch.lgamma(total_start)
        + volumes
        + ((parameters - start) * expected).sum(dim=1)
    )
