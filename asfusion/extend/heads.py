"""Whether a fusion head keeps what networks, explanations and exports rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from asfusion._checks import in_words, quoted
from asfusion._random import torch_seed
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.extend._promises import Promises, are_alike, check_export, demand
from asfusion.fusion._base import Fusion
from asfusion.fusion._resolve import resolve_head

DIMS = MappingProxyType({"labs": 4, "mri": 6, "notes": 5})
_N_ROWS = 5


def check_fusion(head: Fusion, dims: Mapping[str, int] = DIMS) -> None:
    """Raise unless a fusion head keeps its promises on tokens that are drawn.

    Call it in a test of your own head, with dropout at zero and a small `d_out`.

    Parameters
    ----------
    head : Fusion
        The description, not built; it stays as it is.
    dims : mapping of str to int
        Token width of each of at least two modalities, for a head that knows them by name.

    Raises
    ------
    ContractError
        If a promise is broken; the message says which, and how to keep it.
    ConfigurationError
        If `head` is none, or there are fewer than two modalities.

    Examples
    --------
    >>> from asfusion import fusion
    >>> check_fusion(fusion.Gated(d_out=8))
    """
    if not isinstance(head, Fusion):
        msg = (
            "head: expected an object of a class that inherits from asfusion.fusion.Fusion, got "
            f"{in_words(head)}."
        )
        raise ConfigurationError(msg)
    if not isinstance(dims, Mapping) or len(dims) < 2:
        msg = f"dims: expected a dict of at least 2 names to widths, got {in_words(dims)}."
        raise ConfigurationError(msg)
    PROMISES.check(HeadCase(head, dict(dims)))


@dataclass(frozen=True)
class HeadCase:
    """A head that is not built, and the modalities to build it for."""

    described: Fusion
    dims: Mapping[str, int] = field(default_factory=lambda: dict(DIMS))

    def built(self) -> Fusion:
        """Return a built copy in evaluation mode, none of whose weights is at zero."""
        with torch_seed(0):
            head = resolve_head(self.described).build(self.dims)
            for parameter in head.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        return head.eval()

    def tokens(self, n_rows: int = _N_ROWS, present: Tensor | None = None) -> dict[str, Tokens]:
        """Return tokens of each modality: one, or several."""
        generator = torch.Generator().manual_seed(0)
        tokens = {}
        for place, (name, width) in enumerate(self.dims.items()):
            n_tokens = 1 if place == 0 else place + 2
            values = torch.randn(n_rows, n_tokens, width, generator=generator)
            one = Tokens(values, torch.ones(n_rows, n_tokens, dtype=torch.bool))
            tokens[name] = one if present is None else one.keep(present[:, place])
        return tokens

    def partly(self, n_rows: int = _N_ROWS) -> Tensor:
        """Return presence (B, M) in which each row lacks a modality or more, but not all."""
        n_all = len(self.dims)
        rows, places = torch.arange(n_rows)[:, None], torch.arange(n_all)[None]
        return (rows + places) % n_all != 0

    def demand(self, kept: object, told: str) -> None:
        """Raise unless a promise is kept."""
        demand(kept, self.described, told)


PROMISES: Promises[HeadCase] = Promises()


@PROMISES.add
def is_a_description(case: HeadCase) -> None:
    """Check that the constructor stores hyperparameters and makes no layer."""
    head = case.described
    case.demand(
        not list(head.parameters()),
        "expected no weights before build, got some. Make the layers in make_layers.",
    )
    again = type(head)(**head.get_params())
    case.demand(
        repr(again) == repr(head),
        "expected the constructor to store each hyperparameter as it is, got another.",
    )


@PROMISES.add
def gives_its_width(case: HeadCase) -> None:
    """Check that the fused vectors have the width that the head says."""
    found, wanted = case.built()(case.tokens()), (_N_ROWS, case.described.d_out)
    case.demand(
        tuple(found.shape) == wanted,
        f"expected fused vectors of shape {wanted}, got {tuple(found.shape)}. Return (B, d_out).",
    )


@PROMISES.add
def absent_values_mean_nothing(case: HeadCase) -> None:
    """Check that values at masked places change neither the result nor a gradient, NaN included."""
    head, present = case.built(), case.partly()
    clean = case.tokens(present=present)
    dirty = {}
    for place, (name, tokens) in enumerate(clean.items()):
        values = tokens.values.clone()
        values[~present[:, place]] = math.nan
        dirty[name] = Tokens(values.requires_grad_(), tokens.mask)
    got = head(dirty)
    fix = "Weigh by the mask, or select by torch.where."
    told = f"expected values at masked places to change nothing, got another result. {fix}"
    case.demand(are_alike(got, head(clean)), told)
    got.square().sum().backward()
    for place, tokens in enumerate(dirty.values()):
        grad = tokens.values.grad
        known = grad is None or bool(grad.isfinite().all() and not grad[~present[:, place]].any())
        case.demand(known, f"expected no gradient at masked places, got one. {fix}")
    learned = [p.grad for p in head.parameters() if p.grad is not None]
    case.demand(
        all(bool(grad.isfinite().all()) for grad in learned),
        f"expected finite gradients beside NaN at masked places, got others. {fix}",
    )


@PROMISES.add
def padding_changes_nothing(case: HeadCase) -> None:
    """Check that more masked tokens give the same vectors."""
    head, tokens = case.built(), case.tokens()
    padded = {
        name: Tokens(
            torch.cat([t.values, torch.full_like(t.values, 9.0)], dim=1),
            torch.cat([t.mask, torch.zeros_like(t.mask)], dim=1),
        )
        for name, t in tokens.items()
    }
    case.demand(
        are_alike(head(padded), head(tokens)),
        "expected padding to change nothing, got another result. Average over real tokens "
        "only: tokens.pool().",
    )


@PROMISES.add
def order_of_modalities_changes_nothing(case: HeadCase) -> None:
    """Check that the order of the dict of tokens does not matter."""
    head, tokens = case.built(), case.tokens()
    backwards = {name: tokens[name] for name in reversed(tokens)}
    case.demand(
        torch.equal(head(backwards), head(tokens)),
        "expected the order of modalities to change nothing, got another result. Go through "
        "self.dims, not through the tokens as given.",
    )


@PROMISES.add
def rows_do_not_see_each_other(case: HeadCase) -> None:
    """Check that one row alone gives what it gives among others."""
    head, tokens = case.built(), case.tokens()
    alone = head({name: Tokens(t.values[2:3], t.mask[2:3]) for name, t in tokens.items()})
    case.demand(
        are_alike(alone, head(tokens)[2:3]),
        "expected a row to give the same alone and among others, got a difference. Normalise "
        "within rows, not over a batch.",
    )


@PROMISES.add
def what_nobody_has_counts_as_where_somebody_has_it(case: HeadCase) -> None:
    """Check that a modality that no row of a batch has is as one that only these rows lack."""
    head = case.built()
    for place, name in enumerate(case.dims):
        present = torch.ones(_N_ROWS, len(case.dims), dtype=torch.bool)
        present[:-1, place] = False
        tokens = case.tokens(present=present)
        nobody = {key: Tokens(t.values[:-1], t.mask[:-1]) for key, t in tokens.items()}
        case.demand(
            are_alike(head(nobody), head(tokens)[:-1]),
            f"expected rows without {name!r} to give the same whether others have it or not, got "
            "a difference. Let nothing depend on whether anybody in the batch has it.",
        )


@PROMISES.add
def a_row_without_any_modality_is_finite(case: HeadCase) -> None:
    """Check that rows that lack everything give one finite vector."""
    nothing = torch.zeros(_N_ROWS, len(case.dims), dtype=torch.bool)
    out = case.built()(case.tokens(present=nothing))
    case.demand(
        bool(out.isfinite().all()) and are_alike(out, out[:1].expand_as(out)),
        "expected one finite vector for all rows without any modality, got others. Divide by "
        "counts of at least one; a softmax over nothing is NaN.",
    )


@PROMISES.add
def every_present_modality_counts(case: HeadCase) -> None:
    """Check that another value of a modality gives another vector."""
    head, tokens = case.built(), case.tokens()
    for name in case.dims:
        changed = {**tokens, name: Tokens(tokens[name].values + 1.0, tokens[name].mask)}
        case.demand(
            not are_alike(head(changed), head(tokens)),
            f"expected every present modality to count, got the same without regard to {name!r}.",
        )


@PROMISES.add
def every_weight_learns(case: HeadCase) -> None:
    """Check that a gradient reaches every weight."""
    head = case.built().train()
    several = torch.cat([torch.ones(1, len(case.dims), dtype=torch.bool), case.partly(4)])
    head(case.tokens(present=several)).square().sum().backward()
    still = [n for n, p in head.named_parameters() if p.grad is None or not bool(p.grad.any())]
    case.demand(
        not still,
        f"expected a gradient for every weight, got none for {quoted(still)}. Use them in fuse, or "
        "leave them out of make_layers.",
    )


@PROMISES.add
def learns_in_mixed_precision(case: HeadCase) -> None:
    """Check that a step in half precision gives finite gradients."""
    head = case.built().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(case.tokens())
        own = head.auxiliary_loss()
    total = out.float().square().sum()
    (total if own is None else total + own).backward()
    learned = [p.grad for p in head.parameters() if p.grad is not None]
    case.demand(
        all(bool(grad.isfinite().all()) for grad in learned),
        "expected finite gradients in mixed precision, got others. Take logarithms, exponentials "
        "and sums of many in float32.",
    )


@PROMISES.add
def is_exported(case: HeadCase) -> None:
    """Check that `torch.export` gives the same numbers, for batches of any size."""
    present = case.partly(8)
    present[3] = False
    check_export(case.built(), lambda n: (case.tokens(n, present[:n]),))
