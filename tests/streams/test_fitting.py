"""A fit on a LazyFrame is the fit on the same rows in memory, and needs no more than it says."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from xgboost import XGBClassifier

import asfusion as af
from asfusion.estimators import _joint
from asfusion.exceptions import (
    AsfusionWarning,
    CircularityError,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
)

from .conftest import encoders

TREES = XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1)
SETTINGS = {"random_state": 0, "verbose": 0}


def early(estimator="linear", **params):
    return af.EarlyFusionClassifier(encoders(), estimator, **SETTINGS, **params)


def late(**params):
    return af.LateFusionClassifier(encoders(), **SETTINGS, **params)


def joint(**params):
    return af.JointFusionClassifier(encoders(), max_epochs=2, **SETTINGS, **params)


@pytest.fixture(autouse=True)
def no_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith("asfusion-")]


@pytest.mark.parametrize(
    ("make", "y", "apart"),
    [
        (lambda: early(), "died", 1e-9),
        (lambda: early(class_weight="balanced", threshold="prevalence"), "died", 1e-9),
        (lambda: early(), "grade", 1e-9),
        (lambda: af.EarlyFusionRegressor(encoders(), **SETTINGS), "stay", 1e-9),
        (lambda: af.EarlyFusionRegressor(encoders(), scale="none", **SETTINGS), "stay", 1e-9),
        (lambda: af.EarlyFusionRegressor(encoders(), **SETTINGS), ["stay", "died"], 1e-9),
    ],
    ids=["classes", "weights", "three classes", "numbers", "unscaled", "two numbers"],
)
@pytest.mark.usefixtures("small_pieces")
def test_linear_models_are_those_of_memory(make, y, apart, table, visits):
    given = {"groups": table["patient"], "sample_weight": table["weight"]}
    memory = make().fit(table, table[y], **given)
    pieces = make().fit(pl.scan_parquet(visits), y, groups="patient", sample_weight="weight")
    assert pieces.penalty_ == memory.penalty_
    assert list(pieces.feature_names_) == list(memory.feature_names_)
    np.testing.assert_allclose(_said(pieces, table), _said(memory, table), atol=apart)
    for name, center in memory.centers_.items():
        np.testing.assert_allclose(pieces.centers_[name], center, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("params", "y"), [({}, "died"), ({"combine": "stacking", "cv": 2}, "grade")]
)
@pytest.mark.usefixtures("small_pieces")
def test_late_fusion_is_that_of_memory(params, y, table, visits):
    given = {"groups": table["patient"], "sample_weight": table["weight"]}
    memory = late(**params).fit(table, table[y], **given)
    pieces = late(**params).fit(pl.scan_parquet(visits), y, "patient", "weight")
    assert pieces.combination_ == memory.combination_
    assert pieces.dependence_ == pytest.approx(memory.dependence_, abs=1e-4)
    np.testing.assert_allclose(_said(pieces, table), _said(memory, table), atol=1e-5)


def test_networks_and_trees_of_late_fusion_are_those_of_memory(table, visits):
    network = af.JointFusionClassifier(max_epochs=2, verbose=0)
    parts = {"labs": TREES, "body": network}
    memory = late(estimator=parts).fit(table, table["died"])
    pieces = late(estimator=parts).fit(pl.scan_parquet(visits), "died")
    np.testing.assert_array_equal(_said(pieces, table), _said(memory, table))


def _said(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def test_trees_of_one_block_are_those_of_memory_to_the_bit(table, visits):
    X = table.drop("died")
    for target, estimator in (("died", TREES), ("grade", TREES), ("died", "xgboost")):
        memory = early(estimator).fit(X, table[target], groups=table["patient"])
        pieces = early(estimator).fit(pl.scan_parquet(visits), target, groups="patient")
        np.testing.assert_array_equal(pieces.predict_proba(X), memory.predict_proba(X))


def test_trees_of_scaled_features_are_asked_what_they_learned(table, visits):
    X = table.drop("died")
    memory = early(TREES, scale="columns").fit(X, table["died"])
    pieces = early(TREES, scale="columns").fit(pl.scan_parquet(visits), "died")
    np.testing.assert_allclose(pieces.predict_proba(X), memory.predict_proba(X), atol=1e-6)


@pytest.mark.usefixtures("small_pieces")
def test_trees_of_many_blocks_bin_features_a_little_otherwise(table, visits):
    X = table.drop("died")
    memory = early(TREES).fit(X, table["died"], sample_weight=table["weight"])
    pieces = early(TREES).fit(pl.scan_parquet(visits), "died", sample_weight="weight")
    said = [model.predict_proba(X)[:, 1] for model in (memory, pieces)]
    assert np.abs(said[0] - said[1]).mean() < 0.01
    aucs = [roc_auc_score(table["died"], one) for one in said]
    assert abs(aucs[0] - aucs[1]) < 0.005


@pytest.mark.usefixtures("small_pieces")
def test_a_network_of_rows_that_fit_one_shuffle_has_the_bits_of_memory(table, visits):
    X = table.drop("died")
    memory = joint().fit(X, table["died"], groups=table["patient"])
    pieces = joint().fit(pl.scan_parquet(visits), "died", groups="patient")
    np.testing.assert_array_equal(pieces.predict_proba(X), memory.predict_proba(X))


def test_a_network_of_more_rows_is_shuffled_in_runs_by_its_seed(table, visits, monkeypatch):
    monkeypatch.setattr("asfusion.streams.prepared.BLOCK_BYTES", 2048)
    first, second = (joint().fit(pl.scan_parquet(visits), "died") for _ in range(2))
    said = [model.predict_proba(table)[:, 1] for model in (first, second)]
    np.testing.assert_array_equal(*said)
    memory = joint().fit(table.drop("died"), table["died"]).predict_proba(table)[:, 1]
    assert 0 < np.abs(said[0] - memory).max() < 0.1
    assert roc_auc_score(table["died"], said[0]) > roc_auc_score(table["died"], memory) - 0.02


def test_early_stopping_holds_out_whole_patients(table, visits, monkeypatch):
    seen = []

    def spied(rows, fraction, **options):
        seen.append((rows.groups, hold_out(rows, fraction, **options)))
        return seen[-1][1]

    hold_out = _joint.hold_out
    monkeypatch.setattr(_joint, "hold_out", spied)
    joint(early_stopping=True).fit(pl.scan_parquet(visits), "died", groups="patient")
    groups, (learn, held) = seen[0]
    assert len(held) > 60
    assert not set(groups[learn]) & set(groups[held])
    patients = table["patient"].to_numpy()[held]
    assert len(set(patients)) == len(set(groups[held])), "of the very rows of the files"


def test_what_is_more_than_a_scan_is_run_once(table, visits):
    rows = pl.scan_parquet(visits)
    labels = rows.select("visit", "died")
    query = rows.drop("died").filter(pl.col("esr") > -1).join(labels, on="visit").unique("visit")
    pieces = early().fit(query, "died", groups="patient")
    there = table.filter(pl.col("esr") > -1)
    memory = early().fit(there, there["died"], groups=there["patient"])
    # The order of the rows, which polars leaves open, decides who judges the penalty.
    if pieces.penalty_ == memory.penalty_:
        np.testing.assert_allclose(
            pieces.predict_proba(table), memory.predict_proba(table), atol=1e-6
        )
    assert roc_auc_score(table["died"], pieces.predict_proba(table)[:, 1]) > 0.7


def test_targets_may_be_arrays_and_rows_of_no_weight_are_not_there(table, visits):
    weight = table["weight"].to_numpy()
    named = early().fit(pl.scan_parquet(visits), "died", sample_weight="weight")
    given = early().fit(pl.scan_parquet(visits), table["died"].to_numpy(), sample_weight=weight)
    there = table.filter(pl.col("weight") > 0)
    alone = early().fit(there.lazy(), "died", sample_weight="weight")
    for other in (given, alone):
        np.testing.assert_array_equal(other.predict_proba(table), named.predict_proba(table))


def test_rows_without_a_modality_are_left_out(table):
    gone = table.with_columns(
        pl.when(pl.col("visit") < 1100).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("crp", "esr", "sex", "bmi")
    )
    memory = early().fit(gone, gone["died"])
    pieces = early().fit(gone.lazy(), "died")
    np.testing.assert_allclose(pieces.predict_proba(table), memory.predict_proba(table), atol=1e-9)
    with pytest.warns(AsfusionWarning, match=r"^100 row\(s\) have none of the fitted modalities"):
        said = pieces.predict_proba(gone.lazy())
    np.testing.assert_array_equal(said[:100], np.tile(pieces.prior_, (100, 1)))
    nothing = pytest.raises(InputError, match="one modality with data, got only missing")
    with nothing, pytest.warns(AsfusionWarning, match="no training row has it"):
        early().fit(gone.head(90).lazy(), "died")


def test_a_saved_model_is_the_same(table, visits, tmp_path):
    for number, model in enumerate((early(), early(TREES))):
        model.fit(pl.scan_parquet(visits), "grade").save(tmp_path / str(number))
        loaded = af.load(tmp_path / str(number))
        np.testing.assert_array_equal(loaded.predict_proba(table), model.predict_proba(table))
        assert loaded.memory_gb == 2.0, "that of this machine"


@pytest.mark.parametrize("share", [0.25, 5e-7])
@pytest.mark.usefixtures("small_pieces")
def test_notes_are_learned_from_as_many_rows_as_there_is_room_for(table, share, monkeypatch):
    monkeypatch.setattr("asfusion.streams.table._SAMPLED", share)
    note = pl.format("visit {} has a grade of {}", "visit", "grade")
    rows = table.head(90).with_columns(note=note)
    notes = {"notes": af.TextEncoder("note", backbone="tfidf")}
    made = af.EarlyFusionClassifier(notes, **SETTINGS)
    if share < 0.25:
        with pytest.warns(AsfusionWarning, match=r"'note': \d+ of 90 rows are read to learn"):
            made.fit(rows.lazy(), "grade")
        return
    pieces = made.fit(rows.lazy(), "grade").predict_proba(rows)
    memory = af.EarlyFusionClassifier(notes, **SETTINGS).fit(rows, rows["grade"])
    np.testing.assert_allclose(pieces, memory.predict_proba(rows), atol=1e-6)


def test_columns_of_any_kind_are_learned_as_in_memory(monkeypatch):
    n = 60
    day = pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 2, 29), "1d", eager=True)
    rows = pl.DataFrame(
        {
            "^whole$": pl.Series([None if k % 7 == 0 else k for k in range(n)], dtype=pl.Int8),
            "real": pl.Series([k * 0.5 for k in range(n)], dtype=pl.Float32),
            "flag": [None if k % 5 == 0 else k % 2 == 0 for k in range(n)],
            "moment": day,
            "date": day.cast(pl.Date),
            "long": pl.Series([k * 1000 for k in range(n)], dtype=pl.Duration("ms")),
            "exact": pl.Series([k % 9 for k in range(n)]).cast(pl.Decimal(10, 2)),
            "kind": pl.Series(["a", "b", None] * 20, dtype=pl.Categorical),
            "grade": pl.Series(["low", "high", "low"] * 20, dtype=pl.Enum(["low", "mid", "high"])),
            "written": [f"2024-01-{k % 28 + 1:02}" for k in range(n)],
        }
    )
    y, weight = np.arange(n) % 2, np.arange(n) % 3 + 0.5
    labs = {"labs": af.TabularEncoder(number_embedding="piecewise_linear")}
    memory = af.EarlyFusionClassifier(labs, **SETTINGS).fit(rows, y, sample_weight=weight)
    monkeypatch.setattr("asfusion.streams.table.resident_bytes", lambda: 10**12)  # one by one
    monkeypatch.setattr("asfusion.streams.table._LEAST_ROWS", 1)
    monkeypatch.setattr("asfusion.streams.table._MOST_ROWS", 7)
    for lazy in (rows.lazy(), rows.lazy().filter(pl.col("real") >= 0)):
        pieces = af.EarlyFusionClassifier(labs, **SETTINGS).fit(lazy, y, sample_weight=weight)
        assert pieces.encoders_["labs"].plan_ == memory.encoders_["labs"].plan_
        np.testing.assert_allclose(
            pieces.predict_proba(lazy), memory.predict_proba(rows), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("family", [af.EarlyFusionClassifier, af.JointFusionClassifier])
def test_films_and_tables_learn_together(family, table, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr("asfusion.streams.table._LEAST_ROWS", 1)
    monkeypatch.setattr("asfusion.streams.table._MOST_ROWS", 5)
    files = []
    for row in range(16):
        films = np.full((24, 24), 16 * row, dtype=np.uint8)
        Image.fromarray(films).save(tmp_path / f"{row}.png")
        files.append(None if row == 3 else str(tmp_path / f"{row}.png"))
    rows = table.head(16).with_columns(film=pl.Series(files), died=pl.Series([0, 1] * 8))
    image = af.ImageEncoder("film", size=32)
    joint = af.JointFusionClassifier(max_epochs=1, **SETTINGS)
    more = {"max_epochs": 1} if family is af.JointFusionClassifier else {"network": joint}
    both = {"film": image, "labs": af.TabularEncoder(["esr"])}
    memory = family(both, **SETTINGS, **more).fit(rows.drop("died"), rows["died"])
    pieces = family(both, **SETTINGS, **more).fit(rows.lazy(), "died")
    np.testing.assert_allclose(
        pieces.predict_proba(rows.lazy()), memory.predict_proba(rows), atol=1e-6
    )


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "told", "error"),
    [
        (af.EarlyFusionClassifier(verbose=0), "encoders: expected a dict", ConfigurationError),
        (early(threshold="youden"), "threshold: expected a number or 'prev", ConfigurationError),
        (early("forest"), "estimator: expected 'linear', .* got Random", ConfigurationError),
        (
            early(XGBClassifier(early_stopping_rounds=2)),
            "estimator, early_stopping_rounds: expected None for rows",
            ConfigurationError,
        ),
        (
            early().set_params(
                encoders={"notes": af.TextEncoder("sex", backbone="tfidf", n_components=None)}
            ),
            r"encoders\['notes'\]: expected one that gives dense vectors .* n_components to a num",
            ConfigurationError,
        ),
        (
            af.EarlyFusionSurvival(encoders(), verbose=0),
            "got CoxRegression for Survival. Choose one of these and a Class",
            ConfigurationError,
        ),
        (
            af.AutoFusionClassifier(encoders(), verbose=0),
            r"lazy LazyFrame\. Call \.collect\(\) .*Early, joint and late fusion fit on",
            InputError,
        ),
        (
            late(estimator={"body": "forest"}),
            "estimator: expected 'linear', .* got Random",
            ConfigurationError,
        ),
        (early(memory_gb=0.1), r"memory_gb: expected at least 0\.6 for 600", ConfigurationError),
        (early(memory_gb="2"), "memory_gb: expected a number in", ConfigurationError),
        (
            early().set_params(encoders={"all": af.TabularEncoder(["crp", "died"])}),
            r"Target 'died': expected features without it, got it as a column of encoders\['all'\]",
            CircularityError,
        ),
        (
            early().set_params(encoders={"all": af.TabularEncoder(["crp", "patient"])}),
            r"encoders\['all'\]: expected columns that are neither groups nor weights, got 'pat",
            ColumnError,
        ),
        (
            early().set_params(encoders={"all": af.TabularEncoder(["crb"])}),
            "Modality 'all': expected the column 'crb' in X",
            ColumnError,
        ),
        (
            joint(pretrain="contrastive"),
            "pretrain: expected None for rows that are read in pieces",
            ConfigurationError,
        ),
    ],
)  # fmt: skip
def test_what_rows_in_pieces_cannot_do(model, told, error, visits):
    with pytest.raises(error, match=told):
        model.fit(pl.scan_parquet(visits), "died", groups="patient")


@pytest.mark.parametrize("run", [af.compare, af.cross_validate])
def test_who_fits_many_models_says_what_to_do(run, visits, table):
    first = early() if run is af.cross_validate else None
    given = [pl.scan_parquet(visits), table["died"]]
    with pytest.raises(InputError, match=r"lazy LazyFrame\. Call \.collect\(\)"):
        run(*(given if first is None else [first, *given]))


def test_wrong_targets_are_told_as_those_of_rows_in_memory(table, visits):
    rows = pl.scan_parquet(visits)
    with pytest.raises(InputError, match="y: expected 600 entries"):
        early().fit(rows, [0, 1])
    with pytest.raises(ColumnError, match="expected the column 'dead' in X.* mean 'died'"):
        early().fit(rows, "dead")
    with pytest.raises(InputError, match="y: .* missing"):
        early().set_params(encoders={"one": af.TabularEncoder(["esr"])}).fit(rows, "bmi")
    with pytest.raises(InputError, match="at least 1 row"):
        early().fit(rows.filter(pl.col("esr") > 100), "died")


def test_infinity_is_told_with_its_row(table, monkeypatch):
    monkeypatch.setattr("asfusion.streams.table._LEAST_ROWS", 1)
    monkeypatch.setattr("asfusion.streams.table._MOST_ROWS", 100)
    model = early().fit(table.lazy(), "died")
    crp = table["crp"].fill_null(0.0).to_numpy().copy()
    crp[307] = np.inf
    rows = table.with_columns(crp=pl.Series(crp)).lazy()
    with pytest.raises(InputError, match="'crp': .* got infinity in 1 row.* position 307"):
        early().fit(rows, "died")
    with pytest.raises(InputError, match=r"'crp': .* got infinity in 1 row.* position 307"):
        model.predict(rows)


def test_a_film_that_is_no_picture_is_told_with_its_row(table, tmp_path, monkeypatch):
    monkeypatch.setattr("asfusion.streams.table._LEAST_ROWS", 1)
    monkeypatch.setattr("asfusion.streams.table._MOST_ROWS", 10)
    paths = [str(tmp_path / f"{row}.png") for row in range(40)]
    for path in paths:
        Image.new("L", (8, 8), len(path)).save(path)
    rows = table.head(40).with_columns(film=pl.Series(paths)).lazy()
    film = af.ImageEncoder("film", backbone="compact", size=32, d_out=4, augment=False)
    model = joint().set_params(encoders={"film": film}, max_epochs=1).fit(rows, "died")
    (tmp_path / "33.png").write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match="'film', row 33: ") as of_fit:
        clone(model).fit(rows, "died", sample_weight=np.arange(40) % 2)
    with pytest.raises(ImageReadError, match="'film', row 33: ") as of_predict:
        model.predict(rows)
    assert not any("Positions" in str(caught.value) for caught in (of_fit, of_predict))


def test_a_column_whose_type_changes_between_files(table, tmp_path: Path):
    table.write_parquet(tmp_path / "1.parquet")
    table.with_columns(pl.col("crp").cast(pl.String)).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(ColumnError, match="one type, in every file, got another in column 'crp'"):
        early().fit(pl.scan_parquet(tmp_path / "*.parquet"), "died")
    table.drop("crp").write_parquet(tmp_path / "2.parquet")
    with pytest.raises(ColumnError, match="expected the same columns, each of one type"):
        early().fit(pl.scan_parquet(tmp_path / "*.parquet"), "died")


def test_a_file_that_is_not_there_or_cut(table, tmp_path: Path):
    with pytest.raises(InputError, match="rows that can be read to the end") as caught:
        early().fit(pl.scan_parquet(tmp_path / "none.parquet"), "died")
    assert "none.parquet" not in str(caught.value)
    file = tmp_path / "cut.parquet"
    table.write_parquet(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="rows that can be read to the end"):
        early().fit(pl.scan_parquet(file), "died")
