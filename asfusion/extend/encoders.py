"""Whether an encoder keeps what estimators, explanations and boards rely on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from asfusion._checks import in_words, quoted
from asfusion._frames import Frame
from asfusion._random import torch_seed
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._base import Encoder
from asfusion.encoders._embedding import embed_prepared
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.extend._promises import (
    Promises,
    all_finite,
    are_alike,
    are_equal,
    check_export,
    demand,
    learned_by,
    silent_weights,
)
from asfusion.nn.network import EncoderNetwork

_FEWEST = 4
# Without these nobody knows which rows have the modality.
_BEFORE_ROWS = ("is_a_description", "keeps_rows", "rows_without_cells_are_absent")
_TOLD = 8  # columns that a description names
_WORD = 6  # of so many characters at least is a cell that a description would give away


def check_encoder(
    encoder: Encoder, X: Any, *, unseen: Any = None, unused: Collection[str] = ()
) -> None:
    """Raise unless an encoder keeps its promises on some rows.

    It is fitted and its network is built many times, so a dozen rows are best. Call it in a test
    of your own encoder.

    Parameters
    ----------
    encoder : Encoder
        The description; it is cloned, and stays as it is.
    X : pandas or polars DataFrame
        At least 4 rows that have the modality and one that lacks it.
    unseen : DataFrame, optional
        Rows with other cells, which must change nothing that was learned; by default the second
        half of X is held against what the first half taught.
    unused : collection of str
        Names of weights, or parts of them, that nothing reads and that need not learn.

    Raises
    ------
    ContractError
        If a promise is broken; the message says which, and how to keep it.
    ConfigurationError
        If `encoder` is none.
    InputError
        If X has too few rows to tell.

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [4.0, 12.0, 30.0, 7.0, 1.0, np.nan]})
    >>> check_encoder(af.TabularEncoder("crp", d_out=4), X)
    """
    if not isinstance(encoder, Encoder):
        msg = (
            "encoder: expected an object of a class that inherits from asfusion.Encoder, got "
            f"{in_words(encoder)}."
        )
        raise ConfigurationError(msg)
    case = EncoderCase(encoder, Frame.read(X).to_native(), unseen, tuple(unused))
    for first in _BEFORE_ROWS:
        PROMISES[first](case)
    case.check_rows()
    PROMISES.check(case)


@dataclass(frozen=True)
class EncoderCase:
    """An encoder that is not fitted, and rows to look at it with."""

    described: Encoder
    X: Any
    unseen: Any = None
    unused: tuple[str, ...] = ()

    def fitted(self, X: Any = None) -> Any:
        """Return a copy, fitted to the rows or to some of them."""
        return clone(self.described).fit(self.X if X is None else X)

    def rows(self, where: Any) -> Any:
        """Return the rows at some positions."""
        return Frame.read(self.X).take(np.asarray(where)).to_native()

    def there(self) -> NDArray[np.bool_]:
        """Return which rows have the modality, as the encoder tells it."""
        return np.asarray(self.fitted().prepare(self.X).present.numpy(), dtype=bool)

    def demand(self, kept: object, told: str) -> None:
        """Raise unless a promise is kept."""
        demand(kept, self.described, told)

    def check_rows(self) -> None:
        """Raise where there are too few to look at."""
        there = self.there()
        if there.sum() < _FEWEST or there.all():
            msg = (
                f"X: expected at least {_FEWEST} rows that have the modality and one that lacks "
                f"it, got {int(there.sum())} and {int((~there).sum())}. Give other rows."
            )
            raise InputError(msg)


def network_of(encoder: Encoder) -> EncoderNetwork:
    """Return a new network, as it predicts."""
    with torch_seed(1):
        return encoder.build().eval()


def tokens_of(network: EncoderNetwork, prepared: Prepared, rows: Any = slice(None)) -> Tokens:
    """Return what a network says of some rows."""
    inputs = {name: tensor[rows] for name, tensor in prepared.tensors.items()}
    with torch.no_grad():
        tokens: Tokens = network(Tokens(**inputs) if prepared.is_embedded else inputs)
    return tokens


PROMISES: Promises[EncoderCase] = Promises()


@PROMISES.add
def is_a_description(case: EncoderCase) -> None:
    """Check that the constructor stores parameters and looks at nothing."""
    learned = [name for name in vars(case.described) if name.endswith("_")]
    case.demand(
        not learned,
        f"expected no fitted state before fit, got {quoted(learned)}. Learn in fit, not in the "
        "constructor.",
    )
    fix = "Store each under its own name, unchanged."
    try:
        copied = clone(case.described)
    except RuntimeError:  # which names no parameter that could not stand in a message
        case.demand(False, f"expected the constructor to store its parameters, got others. {fix}")
    try:
        copied.prepare(case.X)
    except NotFittedError:
        return
    case.demand(False, "expected prepare to raise before fit. Call check_is_fitted(self) in it.")


@PROMISES.add
def keeps_rows(case: EncoderCase) -> None:
    """Check that no row is dropped and none is reordered."""
    encoder = case.fitted()
    prepared = encoder.prepare(case.X)
    n_rows = len(Frame.read(case.X))
    case.demand(
        len(prepared) == n_rows,
        f"expected prepare to give {n_rows} rows like X, got {len(prepared)}. Keep rows that lack "
        "the modality, and mark them in `present`.",
    )
    case.demand(
        prepared.present.dtype == torch.bool, "expected `present` of type bool, got another."
    )
    backwards = encoder.prepare(case.rows(np.arange(n_rows)[::-1]))
    there = prepared.present
    same = torch.equal(backwards.present.flip(0), there) and all(
        are_alike(backwards.tensors[name].flip(0)[there], tensor[there], 0.0, 0.0)
        for name, tensor in prepared.tensors.items()
    )
    case.demand(same, "expected prepare to keep the order of rows, got another.")


@PROMISES.add
def rows_without_cells_are_absent(case: EncoderCase) -> None:
    """Check that a row whose own columns are all empty lacks the modality."""
    encoder = case.fitted()
    cells = np.asarray(Frame.read(case.X).present(encoder.columns_))
    present = encoder.prepare(case.X).present.numpy()
    case.demand(
        not present[~cells].any(),
        "expected rows without a cell in its columns to be absent, got present ones. Mark them in "
        "`present`, and impute missing cells of other rows only.",
    )


@PROMISES.add
def gives_tokens(case: EncoderCase) -> None:
    """Check that the network gives finite tokens, at least one for each row that is there."""
    encoder = case.fitted()
    network, prepared = network_of(encoder), encoder.prepare(case.X)
    values, mask = tokens_of(network, prepared)
    wanted = (len(prepared), network.d_out)
    case.demand(
        values.dim() == 3 and (values.shape[0], values.shape[2]) == wanted,
        f"expected values (B, T, D) with B={wanted[0]} and D={wanted[1]}, got "
        f"{tuple(values.shape)}. Tokens.single makes one token of a vector per row.",
    )
    case.demand(
        mask.shape == values.shape[:2] and mask.dtype == torch.bool,
        f"expected a mask (B, T) of type bool, got {tuple(mask.shape)} of {mask.dtype}.",
    )
    case.demand(
        bool(values[prepared.present].isfinite().all()), "expected finite values, got others."
    )
    case.demand(
        bool(mask[prepared.present].any(dim=1).all()),
        "expected at least one real token for each row that is present, got none.",
    )


@PROMISES.add
def rows_do_not_see_each_other(case: EncoderCase) -> None:
    """Check that one row alone gives what it gives among others."""
    encoder = case.fitted()
    network, prepared = network_of(encoder), encoder.prepare(case.X)
    together = tokens_of(network, prepared).pool()
    for row in np.flatnonzero(case.there())[[0, -1]]:
        alone = tokens_of(network, prepared, slice(row, row + 1)).pool()
        case.demand(
            are_alike(alone, together[row : row + 1], 1e-4, 1e-5),
            "expected a row to give the same alone and among others, got a difference. Normalise "
            "within rows, not over a batch.",
        )


@PROMISES.add
def is_exported(case: EncoderCase) -> None:
    """Check that `torch.export` gives the same numbers, for batches of any size."""
    encoder = case.fitted()
    network, prepared = network_of(encoder), encoder.prepare(case.X)
    check_export(network, lambda n: ({k: t[:n] for k, t in prepared.tensors.items()},))


@PROMISES.add
def every_weight_learns(case: EncoderCase) -> None:
    """Check that a gradient reaches every weight that is to learn."""
    encoder = case.fitted()
    with torch_seed(1):
        network = encoder.build().train()
    there = torch.as_tensor(np.flatnonzero(case.there()))
    prepared = encoder.prepare(case.X).take(there)
    pooled = network(dict(prepared.tensors)).pool()
    loss = (pooled * torch.arange(1.0, network.d_out + 1.0)).square().sum()
    own = network.auxiliary_loss()
    (loss if own is None else loss + own).backward()
    silent = [
        name for name in silent_weights(network) if not any(part in name for part in case.unused)
    ]
    case.demand(
        any(p.requires_grad for p in network.parameters()),
        "expected weights that learn, if only those of the adapter, got none.",
    )
    case.demand(
        not silent,
        f"expected a finite gradient for every weight that learns, got none for {quoted(silent)}. "
        "Use them in forward, freeze them, or name them in `unused`.",
    )


@PROMISES.add
def transform_names_its_columns(case: EncoderCase) -> None:
    """Check that `transform` gives a column per name, and NaN for rows without the modality."""
    encoder = case.fitted()
    vectors, names = _dense(encoder.transform(case.X)), encoder.get_feature_names_out()
    wanted = (len(Frame.read(case.X)), len(names))
    case.demand(
        vectors.shape == wanted and vectors.dtype == np.float64,
        f"expected transform to give float64 of shape {wanted}, as get_feature_names_out has "
        f"{len(names)} names, got {vectors.dtype} of shape {vectors.shape}.",
    )
    case.demand(len(set(names)) == len(names), "expected each feature name once, got one twice.")
    there = case.there()
    case.demand(
        np.isnan(vectors[~there]).all() and all_finite(vectors[there]),
        "expected transform to give NaN for exactly the rows that lack the modality, got others. "
        "Impute missing cells, and leave absent rows at NaN.",
    )
    framed = clone(case.described).set_output(transform="pandas").fit(case.X).transform(case.X)
    case.demand(
        list(getattr(framed, "columns", ())) == list(names),
        "expected set_output(transform='pandas') to give a table with the feature names.",
    )


@PROMISES.add
def pandas_and_polars_agree(case: EncoderCase) -> None:
    """Check that a table of the other library gives the same numbers."""
    encoder = case.fitted()
    read = [*encoder.columns_, *encoder._columns_beside()]
    known = Frame.read(case.rows(np.flatnonzero(case.there()))).select(read).to_native()
    left, right = (_dense(case.fitted(one).transform(one)) for one in (known, _as_other(known)))
    case.demand(
        np.array_equal(left, right, equal_nan=True),
        "expected equal numbers for a pandas and a polars table, got others. Read cells by "
        "asfusion.extend.read_strings or read_numbers.",
    )


@PROMISES.add
def unseen_rows_teach_nothing(case: EncoderCase) -> None:
    """Check that rows that `fit` has not seen change nothing that it learned."""
    there = np.flatnonzero(case.there())
    half = case.rows(there[: (len(there) + 1) // 2])
    learned_from, others = (half, case.X) if case.unseen is None else (case.X, case.unseen)
    encoder = case.fitted(learned_from)
    before = copy.deepcopy(learned_by(encoder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such rows may well be odd
        encoder.transform(others)
    after = learned_by(encoder)
    changed = sorted(
        name for name in {**before, **after}
        if not are_equal(before.get(name, _NOTHING), after.get(name, _NOTHING))
    )  # fmt: skip
    case.demand(
        not changed,
        f"expected rows that fit has not seen to change nothing, got another {quoted(changed)}. "
        "Learn in fit, and only read what was learned in prepare and transform.",
    )


@PROMISES.add
def fitting_again_gives_the_same(case: EncoderCase) -> None:
    """Check that nothing of an earlier `fit` stands beside what is new."""
    case.demand(
        are_equal(learned_by(case.fitted()), learned_by(case.fitted().fit(case.X))),
        "expected a second fit to give what the first gave, got another state.",
    )


@PROMISES.add
def is_restored_from_what_it_learned(case: EncoderCase) -> None:
    """Check that a saved one prepares and builds as the one that was fitted."""
    encoder = case.fitted()
    network = network_of(encoder)
    restored = type(case.described).__new__(type(case.described))
    restored._restore_bundle_state(encoder._bundle_state())
    again = restored.build(pretrained=False).eval()
    again.load_state_dict(network.state_dict())
    pairs = zip(
        tokens_of(network, encoder.prepare(case.X)),
        tokens_of(again, restored.prepare(case.X)),
        strict=True,
    )
    case.demand(
        all(are_alike(*pair, 0.0, 0.0) for pair in pairs),
        "expected the same tokens once it was saved and loaded, got others. Keep what fit learns "
        "in attributes that end in an underscore.",
    )


@PROMISES.add
def embeds_by_its_backbone(case: EncoderCase) -> None:
    """Check that `embed` gives the tokens of the backbone."""
    encoder = case.fitted()
    embedded = encoder.embed(case.X)
    network = getattr(encoder, "network_", None) or network_of(encoder)
    by_hand = embed_prepared(network, encoder.prepare(case.X)).tokens()
    case.demand(
        are_alike(embedded.tokens().pool(), by_hand.pool(), 1e-5, 1e-6),
        "expected embed to give the tokens of the backbone, got others. Leave embed as it is.",
    )


@PROMISES.add
def absent_columns_are_named(case: EncoderCase) -> None:
    """Check that rows without its columns are refused by name, in `fit` and later."""
    import pandas as pd

    columns = case.fitted().columns_
    other = pd.DataFrame({"".join(columns) + "_other": np.zeros(3)})
    for what, call in (
        ("fit", clone(case.described).fit), ("transform", case.fitted().transform)
    ):  # fmt: skip
        try:
            call(other)
        except ColumnError:
            continue
        case.demand(
            False,
            f"expected {what} to raise ColumnError without its columns, got none. Read cells by "
            "asfusion.extend.read_strings or read_numbers.",
        )


@PROMISES.add
def tells_what_it_reads(case: EncoderCase) -> None:
    """Check that `describe` names the columns, and shows no cell."""
    encoder = case.fitted()
    told = encoder.describe()
    unnamed = [column for column in encoder.columns_[:_TOLD] if repr(column) not in told]
    case.demand(not unnamed, f"expected describe to name its columns, it lacks {quoted(unnamed)}.")
    cells = [cell for column in encoder.columns_ for cell in Frame.read(case.X).cells(column)]
    shown = [cell for cell in cells if isinstance(cell, str) and len(cell) >= _WORD]
    case.demand(
        not any(cell in told for cell in shown), "expected describe to show no cell, got one."
    )
    counts = {"batch_hint": encoder.batch_hint, "n_features": encoder.n_features}
    for name, fewest in (("batch_hint", 1), ("n_features", 0)):
        case.demand(
            isinstance(counts[name], int) and counts[name] >= fewest,
            f"expected {name} as an integer of at least {fewest}, got {in_words(counts[name])}.",
        )


@PROMISES.add
def has_plain_features(case: EncoderCase) -> None:
    """Check that `plain_features` are numbers without a target, NaN for absent rows."""
    plain = clone(case.described).plain()
    learned = [name for name in vars(plain) if name.endswith("_")]
    case.demand(not learned, "expected plain to give an encoder that is not fitted, got another.")
    features = plain.fit(case.X).plain_features(case.X)
    there = case.there()
    case.demand(
        features.ndim == 2 and len(features) == len(there) and features.dtype == np.float64,
        f"expected plain_features to give float64 (N, D), got {features.dtype} of shape "
        f"{features.shape}.",
    )
    case.demand(
        np.isnan(features[~there]).all() and all_finite(features[there]),
        "expected plain_features to be NaN for exactly the rows that lack the modality.",
    )
    again = clone(plain).fit(case.X).plain_features(case.X)
    row = np.flatnonzero(there)[-1]
    alone = plain.plain_features(case.rows([row]))
    same = np.array_equal(features, again, equal_nan=True)
    case.demand(
        same and np.allclose(alone, features[[row]], rtol=1e-6, atol=1e-9),
        "expected plain_features to be the same each time and for a row alone, got others.",
    )


_NOTHING = object()


def _dense(vectors: Any) -> NDArray[np.float64]:
    """Return a matrix that scikit-learn may have been told to make a table or sparse."""
    dense: NDArray[np.float64] = vectors.toarray() if hasattr(vectors, "toarray") else vectors
    return np.asarray(dense)


def _as_other(table: Any) -> Any:
    """Return a pandas table as one of polars, and the other way round."""
    import polars as pl

    return table.to_pandas() if isinstance(table, pl.DataFrame) else pl.from_pandas(table)
