"""TabularEncoder: a scikit-learn transformer that knows a missing cell from a missing table."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from asfusion._frames import Frame
from asfusion.bundle.objects import load_bundle, save_bundle
from asfusion.encoders.tabular import TabularEncoder
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.nn.tabular import MLPBackbone, TabNetBackbone

CELLS = {
    "crp": [4.0, None, 12.0, None, 8.0],
    "sex": ["f", "m", None, None, "f"],
    "b27": [True, False, True, None, True],
}
PRESENT = [True, True, True, False, True]


def _table(module: ModuleType = pd, **other: Any) -> Any:
    return module.DataFrame({**CELLS, **other})


@parametrize_with_checks([TabularEncoder()])
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)


# ------------------------------------------------------------------ missing


def test_a_missing_cell_is_not_a_missing_table(df_module: ModuleType) -> None:
    X = _table(df_module)
    encoder = TabularEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == [
        *("crp", "crp_missing", "sex_f", "sex_m", "sex_missing", "b27", "b27_missing")
    ]
    prepared = encoder.prepare(X)
    assert prepared.present.tolist() == PRESENT
    features = prepared.tensors["x"].numpy()
    assert features[1].tolist() == [0, 1, 0, 1, 0, 0, 0]  # CRP is imputed, and flagged
    assert not features[3].any()  # nothing is imputed where there is no table
    vectors = encoder.transform(X)
    assert np.isnan(vectors).all(axis=1).tolist() == [not p for p in PRESENT]
    np.testing.assert_array_equal(vectors[PRESENT], features[PRESENT])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8))
def test_presence_is_any_known_cell(known: list[list[bool]]) -> None:
    encoder = TabularEncoder().fit(_table())
    columns = zip(CELLS, zip(*known, strict=True), strict=True)
    first = {name: CELLS[name][0] for name in CELLS}
    X = pd.DataFrame({k: [first[k] if there else None for there in row] for k, row in columns})
    assert encoder.prepare(X).present.tolist() == [any(row) for row in known]
    vectors = encoder.transform(X)
    assert np.isfinite(vectors).all(axis=1).tolist() == [any(row) for row in known]


def test_columns_outside_the_table_make_no_row_present(df_module: ModuleType) -> None:
    X = _table(df_module, note=["text"] * 5)
    assert TabularEncoder(list(CELLS)).fit(X).prepare(X).present.tolist() == PRESENT


def test_all_rows_may_lack_the_table_at_prediction(df_module: ModuleType) -> None:
    encoder = TabularEncoder().fit(_table(df_module))
    empty = df_module.DataFrame({name: [None, None] for name in CELLS})
    assert np.isnan(encoder.transform(empty)).all()
    assert encoder.transform(_table(df_module)[:0]).shape == (0, 7)


# ------------------------------------------------------------------ what X may be


@pytest.mark.parametrize("columns", [None, ["crp", "sex", "b27"]])
def test_containers_agree(columns: list[str] | None) -> None:
    encoder = TabularEncoder(columns).fit(_table(pd))
    expected = encoder.transform(_table(pd))
    for X in (_table(pl), pa.table(CELLS), Frame.read(_table(pl)), _table().convert_dtypes()):
        np.testing.assert_array_equal(encoder.transform(X), expected)
        np.testing.assert_array_equal(clone(encoder).fit(X).transform(X), expected)


def test_one_column_may_go_by_its_name(df_module: ModuleType) -> None:
    encoder = TabularEncoder("crp").fit(_table(df_module))
    assert encoder.columns_ == ("crp",)
    assert encoder.feature_names_in_.tolist() == ["crp"]
    assert encoder.transform(_table(df_module)).shape == (5, 2)


def test_named_columns_are_found_in_any_order(df_module: ModuleType) -> None:
    encoder = TabularEncoder(["b27", "crp"]).fit(_table(df_module))
    assert encoder.columns_ == ("b27", "crp")
    other = df_module.DataFrame({name: CELLS[name] for name in ("sex", "crp", "b27")})
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(_table(df_module)))


def test_all_columns_must_come_back_as_they_were(df_module: ModuleType) -> None:
    encoder = TabularEncoder().fit(_table(df_module))
    turned = df_module.DataFrame({name: CELLS[name] for name in reversed(CELLS)})
    with pytest.raises(ValueError, match="must be in the same order"):
        encoder.transform(turned)
    with pytest.raises(ValueError, match="unseen at fit time:\n- esr"):
        encoder.transform(_table(df_module, esr=[1.0] * 5))
    with pytest.raises(ColumnError, match="TabularEncoder: expected the column 'b27' in X"):
        encoder.transform(df_module.DataFrame({"crp": [1.0], "sex": ["f"]}))


def test_columns_of_an_array_have_numbers() -> None:
    array = np.asarray([[1.0, 5.0, np.nan], [2.0, 7.0, np.nan], [4.0, np.nan, 1.0]])
    encoder = TabularEncoder(["x2", "x0"]).fit(array)
    assert encoder.get_feature_names_out().tolist() == ["x2", "x2_missing", "x0"]
    assert encoder.n_features_in_ == 3
    np.testing.assert_array_equal(encoder.transform(array.tolist()), encoder.transform(array))
    with pytest.raises(ColumnError, match="expected the column 'x3' in X"):
        TabularEncoder(["x3"]).fit(array)


def test_arrays_and_tables_may_take_turns_with_a_warning() -> None:
    array = np.arange(8.0).reshape(4, 2)
    table = pd.DataFrame(array, columns=["crp", "esr"])
    named, bare = TabularEncoder().fit(table), TabularEncoder().fit(array)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(named.transform(array), named.transform(table))
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        np.testing.assert_array_equal(bare.transform(table), bare.transform(array))
    refitted = named.fit(array)
    assert not hasattr(refitted, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 3 features, but TabularEncoder is expecting 2"):
        refitted.transform(np.ones((1, 3)))
    framed = clone(named).fit(table).fit(Frame.read(array))
    assert not hasattr(framed, "feature_names_in_") and framed.n_features_in_ == 2


def test_output_may_be_a_table() -> None:
    out = TabularEncoder(["crp"]).set_output(transform="pandas").fit_transform(_table())
    assert list(out.columns) == ["crp", "crp_missing"]


# ------------------------------------------------------------------ learning


@pytest.mark.filterwarnings("ignore:Column.* no value in any training row")
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(lambda w: any(w[:3])))
def test_a_weight_counts_rows(weights: list[int]) -> None:
    X = _table()
    by_weight = TabularEncoder(max_categories=1).fit(X, sample_weight=weights)
    rows = np.repeat(np.arange(5), weights)
    repeated = TabularEncoder(max_categories=1).fit(X.iloc[rows].reset_index(drop=True))
    assert by_weight.plan_ == repeated.plan_


def test_rows_of_no_weight_may_hold_anything() -> None:
    X = _table(crp=[4.0, None, 12.0, None, np.inf])
    encoder = TabularEncoder().fit(X, sample_weight=[1, 1, 1, 1, 0])
    assert encoder.plan_ == TabularEncoder().fit(_table()[:4]).plan_


@pytest.mark.filterwarnings("ignore:Column 'sex'.*none of the cells has a level")
def test_test_rows_teach_nothing(df_module: ModuleType) -> None:
    encoder = TabularEncoder().fit(_table(df_module))
    before, expected = json.dumps(encoder.plan_), encoder.transform(_table(df_module))
    poisoned = _table(df_module, crp=[1e300] * 5, sex=["other"] * 5, b27=[None] * 5)
    assert np.isfinite(encoder.transform(poisoned)).all()
    assert json.dumps(encoder.plan_) == before
    np.testing.assert_array_equal(encoder.transform(_table(df_module)), expected)


@pytest.mark.parametrize(("network", "kind"), [("mlp", MLPBackbone), ("tabnet", TabNetBackbone)])
def test_the_network_reads_prepared_rows(network: Any, kind: type) -> None:
    encoder = TabularEncoder(network=network, d_hidden=6, n_layers=3, d_out=4).fit(_table())
    built = encoder.build().eval()
    assert isinstance(built.backbone, kind)
    assert built.backbone.d_out == 6 and built.d_out == 4
    tokens = built(encoder.prepare(_table()).tensors)
    assert tokens.values.shape == (5, 1, 4)
    assert torch.isfinite(tokens.values).all()
    assert not encoder.is_frozen and not encoder.needs_training
    parts = built.backbone.blocks if network == "mlp" else built.backbone.steps.att_transformers
    assert len(parts) == 3
    assert encoder.embed(_table()).tokens().present.tolist() == PRESENT


def test_refit_forgets_the_old_network() -> None:
    encoder = TabularEncoder().fit(_table())
    encoder.embed(_table())
    assert hasattr(encoder, "network_")
    assert not hasattr(encoder.fit(_table()), "network_")


def test_what_was_learned_can_be_saved(tmp_path: Path) -> None:
    encoder = TabularEncoder(["crp", "sex"], d_out=4).fit(_table())
    save_bundle(encoder, tmp_path / "labs.asf")
    restored = load_bundle(tmp_path / "labs.asf", lambda _: TabularEncoder, max_bytes=1 << 20)
    assert restored.get_params() == encoder.get_params()
    assert restored.feature_names_in_.tolist() == ["crp", "sex"]
    np.testing.assert_array_equal(restored.transform(_table()), encoder.transform(_table()))
    network = restored.build(pretrained=False)
    network.load_state_dict(encoder.build().state_dict(), strict=True)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"network": "forest"},
            "network: expected one of 'mlp', 'tabnet', 'ft_transformer', 'tabm', 'resnet', got",
        ),
        (
            {"number_embedding": "bins"},
            "number_embedding: expected one of 'none', 'piecewise_linear'",
        ),
        (
            {"network": "tabnet", "number_embedding": "periodic"},
            "number_embedding: expected 'none' with network='tabnet'",
        ),
        ({"d_hidden": 0}, "d_hidden: expected an integer of at least 1"),
        ({"n_layers": 1.5}, "n_layers: expected an integer of at least 1"),
        ({"d_out": True}, "d_out: expected an integer of at least 1"),
        ({"max_categories": 0}, "max_categories: expected an integer of at least 1"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 0.99\]"),
        ({"columns": []}, "columns: expected None, a column name, or a list of different ones"),
        ({"columns": ""}, "columns: expected None, a column name, or a list of different ones"),
        ({"columns": ["crp", "crp"]}, "columns: expected None, a column name, or a list"),
        ({"columns": [1]}, "columns: expected None, a column name, or a list"),
        ({"columns": 1}, "columns: expected None, a column name, or a list"),
    ],
)
def test_unusable_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TabularEncoder(**parameters).fit(_table())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"sample_weight: expected shape \(5,\), got \(1,\)"),
        ([1, 1, 1, 1, -1], "sample_weight: expected finite weights of at least zero"),
        ([1, 1, 1, 1, np.nan], "sample_weight: expected finite weights of at least zero"),
        ([0] * 5, "not all zero"),
    ],
)
def test_unusable_weights_are_named(weights: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TabularEncoder().fit(_table(), sample_weight=weights)


def test_rows_that_teach_nothing_are_refused(df_module: ModuleType) -> None:
    with pytest.raises(InputError, match="at least one known cell in training rows"):
        TabularEncoder(["crp"]).fit(_table(df_module, crp=[None] * 5))
    with pytest.raises(InputError, match="at least one known cell in training rows"):
        TabularEncoder().fit(_table(df_module), sample_weight=[0, 0, 0, 1, 0])
    with pytest.raises(InputError, match=r"at least 1 row and 1 column, got shape=\(0, 3\)"):
        TabularEncoder().fit(_table(df_module)[:0])
    with pytest.raises(InputError, match=r"at least 1 row and 1 column, got shape=\(0, 0\)"):
        TabularEncoder().fit(df_module.DataFrame({}))


@pytest.mark.parametrize("X", [{"crp": [1.0]}, "crp", b"crp"])
def test_other_things_are_no_table(X: Any) -> None:
    with pytest.raises(InputError, match="expected a pandas or polars DataFrame or a 2-D array"):
        TabularEncoder().fit(X)


def test_tables_that_are_lazy_are_refused() -> None:
    with pytest.raises(InputError, match="in memory, got the lazy LazyFrame"):
        TabularEncoder().fit(pl.LazyFrame(CELLS))


def test_text_in_an_array_is_refused_and_not_shown() -> None:
    X = np.asarray([[1.0, "Jane Doe"], [2.0, "x"]], dtype=object)
    with pytest.raises(InputError, match="expected an array of numbers, got text") as caught:
        TabularEncoder().fit(X)
    assert "Jane" not in str(caught.value)


def test_infinity_is_refused(df_module: ModuleType) -> None:
    with pytest.raises(InputError, match="Column 'x1': expected finite numbers"):
        TabularEncoder().fit(np.asarray([[1.0, np.inf], [2.0, 3.0]]))
    encoder = TabularEncoder().fit(_table(df_module))
    with pytest.raises(InputError, match="Column 'crp': expected finite numbers"):
        encoder.transform(_table(df_module, crp=[np.inf] * 5))


def test_a_column_of_another_kind_is_refused(df_module: ModuleType) -> None:
    encoder = TabularEncoder().fit(_table(df_module))
    with pytest.raises(ColumnError, match="'crp': expected number cells as in fit, got text"):
        encoder.transform(_table(df_module, crp=["high"] * 5))


def test_fit_comes_first() -> None:
    for use in ("prepare", "transform", "embed"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(TabularEncoder(), use)(_table())
    for use in ("build", "get_feature_names_out"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(TabularEncoder(), use)()
