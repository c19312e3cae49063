"""`check_encoder` and `check_fusion` tell whoever writes one which promise it breaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import asfusion as af
from asfusion.exceptions import ConfigurationError, ContractError, InputError
from asfusion.extend import Prepared, Tokens, check_encoder, check_fusion, read_numbers
from asfusion.extend import encoders as of_encoders
from asfusion.extend import heads as of_heads
from asfusion.fusion import Fusion
from tests.contracts.own_encoders import AlleleFeatures, FrozenAlleles, LearningAlleles

X = pd.DataFrame({"hla": ["B27;B07", "B27;B44", None, "B07;B44", "B08;B35", "B27;B07", None]})


class Eager(AlleleFeatures):
    def __init__(self, column: str, *, d_out: int = 64) -> None:
        super().__init__(column, d_out=d_out)
        self.columns_ = (column,)


class Renaming(AlleleFeatures):
    def __init__(self, column: str, *, d_out: int = 64) -> None:
        super().__init__("".join(list(column)), d_out=d_out)


class Unasked(AlleleFeatures):
    def prepare(self, X: Any) -> Prepared:
        return Prepared({"x": torch.zeros(len(X), 1)}, torch.ones(len(X), dtype=torch.bool))


class Dropping(AlleleFeatures):
    def prepare(self, X: Any) -> Prepared:
        prepared = super().prepare(X)
        return prepared.take(prepared.present)


class Reordering(AlleleFeatures):
    def prepare(self, X: Any) -> Prepared:
        prepared = super().prepare(X)
        x = prepared.tensors["x"]
        return Prepared({"x": torch.sort(x, dim=0).values}, prepared.present)


class Everywhere(AlleleFeatures):
    def prepare(self, X: Any) -> Prepared:
        prepared = super().prepare(X)
        return Prepared(prepared.tensors, torch.ones(len(prepared), dtype=torch.bool))


class Meeting(nn.Module):
    """A backbone whose rows see each other."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.d_out = n

    def forward(self, inputs: Any) -> Tokens:
        x = inputs["x"].float()
        return Tokens.single(x - x.mean(dim=0))

    def auxiliary_loss(self) -> None:
        return None


class Idle(Meeting):
    """A backbone with a weight that nothing reads."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.idle = nn.Linear(1, 1)

    def forward(self, inputs: Any) -> Tokens:
        return Tokens.single(inputs["x"].float())


class Flat(Meeting):
    def forward(self, inputs: Any) -> Tokens:
        return Tokens(inputs["x"].float()[:, None], torch.zeros(len(inputs["x"]), 1, dtype=bool))


def by(backbone: type) -> type:
    class Built(AlleleFeatures):
        def build(self, *, pretrained: bool = True) -> Any:
            return af.extend.EncoderNetwork(backbone(len(self.alleles_)), d_out=self.d_out)

    return Built


class Filling(AlleleFeatures):
    def transform(self, X: Any) -> Any:
        return np.nan_to_num(super().transform(X))


class Unnamed(AlleleFeatures):
    def get_feature_names_out(self, input_features: Any = None) -> Any:
        return super().get_feature_names_out()[1:]


class Growing(AlleleFeatures):
    def transform(self, X: Any) -> Any:
        self.n_seen_ = getattr(self, "n_seen_", 0) + len(self.prepare(X))
        return super().transform(X)


class Forgetful(AlleleFeatures):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        super().fit(X)
        self.known = self.alleles_[::-1]
        return self

    def prepare(self, X: Any) -> Prepared:
        prepared = super().prepare(X)
        if hasattr(self, "known"):
            return prepared
        return Prepared({"x": 1 - prepared.tensors["x"]}, prepared.present)


class Silent(AlleleFeatures):
    def describe(self, columns: Any = ()) -> str:
        return "alleles"


class Telling(AlleleFeatures):
    def describe(self, columns: Any = ()) -> str:
        return "'hla': such as B27;B07"


class Careless(AlleleFeatures):
    def _cells(self, X: Any) -> Any:
        native = getattr(X, "to_native", lambda: X)()
        return [None] * len(native) if self.column not in native else super()._cells(X)


BROKEN = [
    ("is_a_description", Eager, "expected no fitted state before fit, got 'columns_'"),
    ("is_a_description", Renaming, "expected the constructor to store its parameters"),
    ("is_a_description", Unasked, "expected prepare to raise before fit"),
    ("keeps_rows", Dropping, "expected prepare to give 7 rows like X, got 5"),
    ("keeps_rows", Reordering, "expected prepare to keep the order of rows"),
    ("rows_without_cells_are_absent", Everywhere, "expected rows without a cell in its columns"),
    ("gives_tokens", by(Flat), "expected at least one real token for each row that is present"),
    ("rows_do_not_see_each_other", by(Meeting), "the same alone and among others"),
    ("every_weight_learns", by(Idle), "got none for 'backbone.idle.weight', 'backbone.idle.bias'"),
    ("transform_names_its_columns", Filling, "NaN for exactly the rows that lack the modality"),
    ("transform_names_its_columns", Unnamed, "get_feature_names_out has 4 names, got float64 of"),
    ("unseen_rows_teach_nothing", Growing, "got another 'n_seen_'"),
    ("is_restored_from_what_it_learned", Forgetful, "the same tokens once it was saved and loaded"),
    ("tells_what_it_reads", Silent, "expected describe to name its columns, it lacks 'hla'"),
    ("tells_what_it_reads", Telling, "expected describe to show no cell"),
    ("absent_columns_are_named", Careless, "expected fit to raise ColumnError without its columns"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("promise", "kind", "told"), BROKEN, ids=[f"{p} {k.__name__}" for p, k, _ in BROKEN]
)
def test_an_encoder_that_breaks_a_promise_is_told_so(promise: str, kind: Any, told: str) -> None:
    case = of_encoders.EncoderCase(kind("hla", d_out=4), X)
    with pytest.raises(ContractError, match=f"^{kind.__name__}: .*{told}"):
        of_encoders.PROMISES[promise](case)


@pytest.mark.parametrize("kind", [AlleleFeatures, LearningAlleles, FrozenAlleles])
def test_encoders_of_ones_own_are_checked_by_one_call(kind: Any, monkeypatch: Any) -> None:
    monkeypatch.delitem(of_encoders.PROMISES, "is_exported")  # which the contract does at length
    encoder = kind("hla", d_out=4)
    check_encoder(encoder, X)
    assert not [name for name in vars(encoder) if name.endswith("_")]


def test_the_first_promise_that_is_broken_ends_the_check() -> None:
    for kind, told in ((Dropping, "prepare to give 7 rows"), (Everywhere, "rows without a cell")):
        with pytest.raises(ContractError, match=f"{kind.__name__}: expected {told}"):
            check_encoder(kind("hla"), X)


def test_rows_are_enough_to_tell() -> None:
    with pytest.raises(InputError, match="X: expected at least 4 rows that have the modality and"):
        check_encoder(AlleleFeatures("hla"), X.dropna())
    with pytest.raises(ConfigurationError, match="encoder: expected an object of a class that inh"):
        check_encoder(AlleleFeatures, X)  # type: ignore[arg-type]


class Own(Fusion):
    """Sum what the modalities say; the others break that in one place each."""

    def make_layers(self, dims: Any) -> None:
        self.say = nn.ModuleDict({name: nn.Linear(d, self.d_out) for name, d in dims.items()})

    def said(self, tokens: Any) -> Any:
        return {n: self.say[n](t.pool()) * t.present[:, None] for n, t in tokens.items()}

    def fuse(self, tokens: Any) -> Any:
        return sum(self.said(tokens).values())


class Wide(Own):
    def fuse(self, tokens: Any) -> Any:
        return torch.cat([*self.said(tokens).values()], dim=1)


class Padded(Own):
    def fuse(self, tokens: Any) -> Any:
        return sum(self.say[n](t.values.mean(dim=1)) for n, t in tokens.items())


class Together(Own):
    def fuse(self, tokens: Any) -> Any:
        fused = super().fuse(tokens)
        return fused - fused.mean(dim=0)


class Dividing(Own):
    def fuse(self, tokens: Any) -> Any:
        return super().fuse(tokens) / sum(t.present for t in tokens.values())[:, None]


class Deaf(Own):
    def fuse(self, tokens: Any) -> Any:
        return self.said(tokens)["labs"]


class Spare(Own):
    def make_layers(self, dims: Any) -> None:
        super().make_layers(dims)
        self.spare = nn.Linear(2, 2)


class Built(Own):
    def __init__(self, *, d_out: int = 8) -> None:
        super().__init__(d_out=d_out)
        self.layer = nn.Linear(2, 2)


class Doubling(Own):
    def __init__(self, *, d_out: int = 8, times: int = 1) -> None:
        super().__init__(d_out=d_out)
        self.times = 2 * times


BROKEN_HEADS = [
    ("gives_its_width", Wide, r"expected fused vectors of shape \(5, 8\), got \(5, 24\)"),
    ("padding_changes_nothing", Padded, "expected padding to change nothing"),
    ("rows_do_not_see_each_other", Together, "the same alone and among others"),
    ("a_row_without_any_modality_is_finite", Dividing, "expected one finite vector for all rows"),
    ("every_present_modality_counts", Deaf, "got the same without regard to 'mri'"),
    ("every_weight_learns", Spare, "got none for 'spare.weight', 'spare.bias'"),
    ("is_a_description", Built, "expected no weights before build"),
    ("is_a_description", Doubling, "expected the constructor to store each hyperparameter"),
]


@pytest.mark.parametrize(
    ("promise", "kind", "told"), BROKEN_HEADS, ids=[f"{p} {k.__name__}" for p, k, _ in BROKEN_HEADS]
)
def test_a_head_that_breaks_a_promise_is_told_so(promise: str, kind: Any, told: str) -> None:
    with pytest.raises(ContractError, match=f"^{kind.__name__}: .*{told}"):
        of_heads.PROMISES[promise](of_heads.HeadCase(kind(d_out=8)))


def test_a_head_of_ones_own_is_checked_by_one_call(monkeypatch: Any) -> None:
    monkeypatch.delitem(of_heads.PROMISES, "is_exported")
    head = Own(d_out=3)
    check_fusion(head, {"blood": 2, "film": 3})
    assert not head.dims
    with pytest.raises(ContractError, match="Wide: expected fused vectors"):
        check_fusion(Wide(d_out=8))
    with pytest.raises(
        ConfigurationError, match="head: expected an object of a class that inherits"
    ):
        check_fusion("gated")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="dims: expected a dict of at least 2 names"):
        check_fusion(head, {"labs": 4})


def test_columns_are_read_of_any_table() -> None:
    with pytest.raises(InputError, match="X: expected the column 'crp' in X"):
        read_numbers(X, "crp")
    with pytest.raises(InputError, match="X: expected the columns 'crp', 'esr' in X"):
        af.extend.read_numbers(X, ["crp", "esr"])
    with pytest.raises(InputError, match="X: expected the column 'hl' in X, .* Did you mean 'hla'"):
        af.extend.read_strings(X, "hl")


def test_a_room_offers_its_names_and_no_other() -> None:
    with pytest.raises(AttributeError, match="No asfusion.extend attribute check_head"):
        af.extend.check_head  # noqa: B018
