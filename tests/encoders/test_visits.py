"""Visits: what a cell may be, what is refused, what is learned, and the long table before it."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asfusion as af
from asfusion.exceptions import AsfusionWarning, ColumnError, ConfigurationError, InputError

VISITS = [
    [{"day": -365, "crp": 4.0, "esr": 20}, {"day": 0, "crp": 14.0, "esr": None}],
    [{"day": -20.5, "crp": 2.0}],
    None,
    [],
]


def table(cells):
    return pd.DataFrame({"visits": pd.Series(cells, dtype=object)})


def summary(cells, **parameters):
    encoder = af.VisitEncoder("visits", **parameters).fit(table(cells))
    return encoder.set_output(transform="pandas").transform(table(cells))


# -- cells -------------------------------------------------------------------------------


def as_frame(cell):
    return None if cell is None else pd.DataFrame(cell, columns=["day", "crp", "esr"])


def as_polars(cell):
    schema = {"day": pl.Float64, "crp": pl.Float64, "esr": pl.Float64}
    return None if cell is None else pl.DataFrame(cell, schema=schema)


def as_array(cell):
    if cell is None:
        return None
    kinds = [("day", float), ("crp", float), ("esr", float)]
    rows = [tuple(np.nan if v.get(k) is None else v[k] for k, _ in kinds) for v in cell]
    return np.array(rows, dtype=kinds)


@pytest.mark.parametrize("kind", [as_frame, as_polars, as_array, lambda c: c and tuple(c)])
def test_a_cell_may_be_any_small_table(kind):
    found = summary([kind(cell) for cell in VISITS])
    pd.testing.assert_frame_equal(found, summary(VISITS))


def test_polars_structs_are_cells():
    kind = pl.List(pl.Struct(dict.fromkeys(("day", "crp", "esr"), pl.Float64)))
    P = pl.DataFrame({"visits": pl.Series("visits", VISITS, dtype=kind)})
    encoder = af.VisitEncoder("visits").fit(P)
    np.testing.assert_array_equal(encoder.transform(P), summary(VISITS).to_numpy())
    assert encoder.prepare(P).present.tolist() == [True, True, False, False]


def test_summary_is_what_it_says():
    cells = [
        [{"day": -730.5, "crp": 1.0}, {"day": -365.25, "crp": 2.0}, {"day": 0, "crp": None}],
        [{"day": -10, "crp": 3.0}],
        [{"day": -10, "esr": 3.0}],
    ]
    encoder = af.VisitEncoder("visits", "crp").fit(table(cells))
    (center,), (scale,) = encoder.centers_, encoder.scales_
    assert encoder.time_scale_ == 365.25
    assert (center, scale) == (2.0, 2.0)  # weighted quartiles of 1, 2, 3
    found = summary(cells, values="crp").round(6)
    np.testing.assert_allclose(found.loc[0], [0.0, -0.25, 0.5 / 3, 2, 1.0, 2], atol=1e-6)
    np.testing.assert_allclose(found.loc[1], [0.5, 0.5, 0.0, 1, 10 / 365.25, 1], atol=1e-6)
    assert found.loc[2].isna().all()  # none of the values that are read: the modality is missing


@given(
    st.lists(
        st.tuples(st.integers(-4000, 0), st.none() | st.floats(-1e6, 1e6)),
        min_size=1, max_size=12, unique_by=lambda visit: visit[0],
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_order_of_visits_in_a_cell_does_not_matter(drawn, random):
    visits = [{"day": day, "crp": crp} for day, crp in drawn]
    shuffled = list(visits)
    random.shuffle(shuffled)
    fit_on = [*visits, {"day": -5000, "crp": 7.0}]
    encoder = af.VisitEncoder("visits").fit(table([fit_on, [{"day": 0, "crp": 1.0}]]))
    one, two = (encoder.prepare(table([cell])) for cell in (visits, shuffled))
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, two.tensors[name]), name
        assert torch.isfinite(tensor).all()
    days = one.tensors["days"][one.tensors["mask"]]
    assert (torch.diff(days) > 0).all() and (days <= 0).all()
    assert bool(one.present) == any(crp is not None for _, crp in drawn)


def test_a_missing_value_is_carried_forward_and_says_since_when():
    cells = [
        [{"day": -90, "crp": None, "esr": 1.0}, {"day": -60, "crp": 5.0}, {"day": -10, "esr": 2.0}],
        [{"day": 0, "crp": 9.0, "esr": 3.0}, {"day": -4, "crp": 9.0}],
    ]
    encoder = af.VisitEncoder("visits", ["crp", "esr"]).fit(table(cells))
    tensors = {name: t[0].tolist() for name, t in encoder.prepare(table(cells)).tensors.items()}
    assert tensors["known"] == [[False, True], [True, False], [False, True]]
    assert tensors["since"] == [[0.0, 0.0], [30.0, 30.0], [50.0, 80.0]]
    crp = np.asarray(tensors["x"])[:, 0]
    assert crp[0] == 0.0 and crp[1] == crp[2] != 0.0


def test_trends_are_those_up_to_each_visit():
    cells = [
        [{"day": 365.25 * (t - 3), "crp": 1.0 + 2 * t} for t in (0, 1, 3)],
        [{"day": 0, "crp": 4}],
    ]
    encoder = af.VisitEncoder("visits").fit(table(cells))
    trend = encoder.prepare(table(cells)).tensors["trend"].numpy()
    x = (np.array([1.0, 3.0, 7.0]) - encoder.centers_) / encoder.scales_
    np.testing.assert_allclose(trend[0, :, 0], [x[0], x[:2].mean(), x.mean()], rtol=1e-6)
    assert encoder.time_scale_ == 365.25  # of the gaps of one and two years, the lower median
    spread = np.array([0.0, 0.5, 14 / 3])  # years squared, damped by one
    expected = 2 / encoder.scales_ * spread / (spread + 1)
    expected /= np.std([expected[-1], 0.0])  # the slopes of both rows have a spread of one
    np.testing.assert_allclose(trend[0, :, 1], expected, rtol=1e-5)
    np.testing.assert_allclose(trend[1, 0], [(4 - encoder.centers_[0]) / encoder.scales_[0], 0.0])


def test_timedeltas_and_booleans_are_numbers():
    day = datetime.timedelta(days=-1, hours=12)
    cells = [[{"day": day, "flare": True}], [{"day": np.timedelta64(-36, "h"), "flare": False}]]
    encoder = af.VisitEncoder("visits").fit(table(cells))
    assert encoder.prepare(table(cells)).tensors["days"].ravel().tolist() == [-0.5, -1.5]


def test_only_the_latest_visits_are_read_and_that_is_said_once():
    cells = [[{"day": -d, "crp": float(d)} for d in range(9)], [{"day": 0, "crp": 1.0}]]
    encoder = af.VisitEncoder("visits", max_visits=4).fit(table(cells))
    with pytest.warns(AsfusionWarning, match=r"5 of 10 visits are not read, as rows have more"):
        prepared = encoder.prepare(table(cells))
    assert prepared.tensors["days"][0].tolist() == [-3.0, -2.0, -1.0, 0.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.prepare(table(cells))


def test_weights_count_like_copies_of_rows():
    cells = [[{"day": -9, "crp": 1.0}], [{"day": -9, "crp": 5.0}], [{"day": 0, "crp": 50.0}]]
    weighted = af.VisitEncoder("visits").fit(table(cells), sample_weight=[3, 1, 0])
    copied = af.VisitEncoder("visits").fit(table([cells[0]] * 3 + [cells[1]]))
    assert weighted.centers_ == copied.centers_ and weighted.scales_ == copied.scales_


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "error", "match"),
    [
        ([{"day": 3, "crp": 999.0}], InputError, r"index date \('day' at most 0\), got 1 after"),
        ([{"day": -3, "crp": 999.0}] * 2, InputError, "each day once per row, got 1 repeated"),
        ([{"day": None, "crp": 999.0}], InputError, "a day for every visit, got 1 without one"),
        ([{"day": float("nan"), "crp": 9.0}], InputError, "a day for every visit, got 1 without"),
        ([{"day": -np.inf, "crp": 999.0}], InputError, "expected finite numbers or missing ones"),
        ([{"day": -999_999, "crp": 1.0}], InputError, "got 1 more than 150 years away"),
        ([{"day": -1, "crp": np.inf}], InputError, "got infinity at 1 visit.s., the first in row"),
        ([{"day": -1, "crp": "999"}], ColumnError, "row 1: expected numbers as 'crp', got str"),
        ([{"day": "999", "crp": 1.0}], ColumnError, "row 1: expected numbers as 'day', got str"),
        ([{"day": datetime.date(1999, 9, 9), "crp": 1}], ColumnError, "days from the index date"),
        ("999", ColumnError, "row 1: expected visits .* got str. asfusion.VisitEncoder.nest makes"),
        ([999.0], ColumnError, "row 1: expected visits .* got a list with float in it"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_named_by_position_and_never_shown(cell, error, match):
    good = [{"day": -1, "crp": 2.0}]
    for read in (
        lambda: af.VisitEncoder("visits").fit(table([good, cell])),
        lambda: af.VisitEncoder("visits").fit(table([good])).transform(table([good, cell])),
    ):
        with pytest.raises(error, match=match) as caught:
            read()
        assert "999" not in str(caught.value)


def test_visits_after_the_index_date_are_left_out_by_name_only():
    cells = [[{"day": -5, "crp": 1.0}, {"day": 5, "crp": 1e9}], [{"day": 1, "crp": 1.0}]]
    encoder = af.VisitEncoder("visits", after_index="drop").fit(table(cells))
    prepared = encoder.prepare(table(cells))
    assert prepared.present.tolist() == [True, False]
    assert prepared.tensors["days"].tolist() == [[-5.0], [0.0]]
    assert encoder.centers_ == [1.0]


def test_fit_needs_visits_with_the_values_asked_for():
    with pytest.raises(InputError, match=r"at least one training row, got 2 row\(s\) without any"):
        af.VisitEncoder("visits").fit(table([None, []]))
    with pytest.raises(ColumnError, match=r"with 'crq', got none in training rows. Did you mean"):
        af.VisitEncoder("visits", ["crp", "crq"]).fit(table(VISITS))
    with pytest.raises(ColumnError, match="expected the field 'when' with the day of each visit"):
        af.VisitEncoder("visits", time="when").fit(table(VISITS))
    with pytest.raises(InputError, match=r"sample_weight: expected shape \(4,\)"):
        af.VisitEncoder("visits").fit(table(VISITS), sample_weight=[1.0])


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"backbone": "rnn"}, "backbone: expected one of 'gru', 'lstm', 'transformer'"),
        ({"after_index": "keep"}, "after_index: expected one of 'error', 'drop'"),
        ({"max_visits": 0}, "max_visits: expected an integer of at least 1"),
        ({"backbone": "transformer", "d_hidden": 30}, "d_hidden: expected a multiple of 4"),
        ({"dropout": 1.0}, "dropout: expected a number"),
        ({"values": ["crp", "crp"]}, "values: expected None, or a list of different fields"),
        ({"values": ["day"]}, "values: expected None, or a list of different fields without"),
        ({"time": ""}, "time: expected a name as a non-empty str"),
        ({"column": 3}, "column: expected a name as a non-empty str, got int"),
    ],
)
def test_unusable_parameters_are_named(parameters, match):
    with pytest.raises(ConfigurationError, match=match):
        af.VisitEncoder(**{"column": "visits", **parameters}).fit(table(VISITS))


# -- long tables -------------------------------------------------------------------------

LONG = pd.DataFrame(
    {
        "patient": ["a", "b", "a"],
        "day": [0, -7, -30],
        "crp": [9.0, None, 4.0],
        "flare": [True, False, False],
    }
)


def test_a_long_table_becomes_cells_in_the_order_of_keys():
    keys = pd.Series(["b", "c", "a"], index=[10, 11, 12])
    cells = af.VisitEncoder.nest(LONG, keys)
    assert list(cells.index) == [10, 11, 12] and cells[11] is None
    assert cells[10] == [{"day": -7.0, "crp": None, "flare": 0.0}]
    assert [visit["day"] for visit in cells[12]] == [0.0, -30.0]
    assert af.VisitEncoder.nest(LONG, keys.to_numpy()).tolist() == cells.tolist()
    assert list(af.VisitEncoder.nest(LONG, pd.Index(["a", "b"])).index) == ["a", "b"]


def test_polars_gives_polars():
    P = pl.from_pandas(LONG)
    made = af.VisitEncoder.nest(P, pl.Series(["b", "c", "a"]))
    assert isinstance(made.dtype, pl.List)
    assert made.to_list() == af.VisitEncoder.nest(LONG, np.array(["b", "c", "a"])).tolist()
    assert isinstance(af.VisitEncoder.nest(P, ["a"]), pl.Series)


def test_dates_become_days_before_each_index_date():
    dated = LONG.assign(day=pd.to_datetime(["2024-03-01", "2024-03-02", "2024-01-31"]))
    keys, index = (
        pd.Series(["a", "a", "b"]),
        pd.to_datetime(["2024-03-01", "2024-02-01", "2024-03-03"]),
    )
    made = af.VisitEncoder.nest(dated, keys, index_date=index, after_index="drop")
    assert [[visit["day"] for visit in cell] for cell in made] == [[0.0, -30.0], [-1.0], [-1.0]]
    with pytest.raises(InputError, match="up to the index date, got 1 after it"):
        af.VisitEncoder.nest(dated, keys, index_date=index)
    texts = [date.isoformat() for date in index.date]
    assert af.VisitEncoder.nest(dated, keys, index_date=texts, after_index="drop").equals(made)


def test_visits_of_one_day_are_merged_by_name_only():
    twice = pd.concat([LONG, LONG.assign(crp=[11.0, 3.0, None])], ignore_index=True)
    with pytest.raises(InputError, match="each 'day' once per patient, got 3 repeated"):
        af.VisitEncoder.nest(twice, ["a", "b"])
    a, b = af.VisitEncoder.nest(twice, ["a", "b"], same_day="mean")
    assert [visit["crp"] for visit in (*a, *b)] == [10.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("change", "keys", "given", "error", "match"),
    [
        ({"patient": ["a", None, "a"]}, ["a"], {}, InputError, "'patient' in every row, got 1"),
        ({}, [1, 2], {}, InputError, "keys: expected some that stand in column 'patient'"),
        ({}, [], {}, InputError, r"got none \(keys of type nothing, and str"),
        ({"day": [None, -1, -2]}, ["a"], {}, InputError, "'day' in every row, got 1 of 3 missing"),
        ({"flare": ["x", "y", "z"]}, ["a"], {}, ColumnError, "another type in 'flare'. Select"),
        ({}, ["a"], {"index_date": ["2024-01-01"]}, InputError, "got number cells with an index"),
        ({"day": ["2024-01-01"] * 3}, ["a"], {}, InputError, "got text cells without an index"),
        ({"day": ["2024-01-01"] * 3}, ["a"], {"index_date": ["2024-01-01"] * 2}, InputError,
         "index_date: expected one for each of 1 keys, got 2"),
        ({"day": ["2024-01-01"] * 3}, ["a"], {"index_date": [None]}, InputError,
         "index_date: expected a date for every key, got 1 missing"),
        ({}, ["a"], {"key": "id"}, ColumnError, "VisitEncoder.nest: expected the column 'id'"),
        ({}, ["a"], {"same_day": "last"}, ConfigurationError, "same_day: expected one of"),
        ({}, ["a"], {"after_index": "last"}, ConfigurationError, "after_index: expected one of"),
    ],
)  # fmt: skip
def test_a_wrong_long_table_is_refused(change, keys, given, error, match):
    with pytest.raises(error, match=match):
        af.VisitEncoder.nest(LONG.assign(**change), keys, **given)


def test_the_index_of_a_long_table_means_nothing():
    yearly = pd.concat([LONG[:2], LONG[2:].reset_index(drop=True)])
    keys = pd.Series(["a", "b"], index=["same", "same"])
    made = af.VisitEncoder.nest(yearly, keys)
    assert made.tolist() == af.VisitEncoder.nest(LONG, ["a", "b"]).tolist()
    assert list(made.index) == ["same", "same"]


def test_keys_of_the_right_type_that_nobody_has_are_named_as_such():
    numbered = LONG.assign(patient=[1, 2, 1])
    with pytest.raises(InputError, match=r"got none .keys of type str, and int .* Give both one"):
        af.VisitEncoder.nest(numbered, ["77", "78"])
    with pytest.raises(InputError, match="got none of 2, which are int as the column is. Are they"):
        af.VisitEncoder.nest(numbered, np.array([77, 78]))


def test_fields_that_were_renamed_since_training_are_noticed():
    encoder = af.VisitEncoder("visits").fit(table(VISITS))
    assert set(encoder.values_) == {"crp", "esr"}
    renamed = [[{"day": -3, "CRP": 3.0, "esr": 4.0}], None]
    with pytest.warns(
        AsfusionWarning, match="'visits': expected visits with 'crp', as in trai.*CRP"
    ):
        assert encoder.prepare(table(renamed)).present.tolist() == [True, False]
    other = pl.DataFrame({"visits": [[{"day": -3, "x": 3.0}], [{"day": -3, "x": 4.0}]]})
    with pytest.warns(AsfusionWarning, match=r"with 'crp', 'esr', .* got 'x' .* 2 of 2 rows lack"):
        assert not encoder.prepare(other).present.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.prepare(table([[{"day": -3, "crp": 3.0, "x": 1.0}], [], None]))
        encoder.prepare(table([[{"day": -3, "esr": 3.0}], [{"day": -3}]]))


def test_a_long_table_needs_values():
    with pytest.raises(ColumnError, match="expected columns of values beside 'patient', 'day'"):
        af.VisitEncoder.nest(LONG[["patient", "day"]], ["a"])


# -- among other modalities --------------------------------------------------------------


def test_auto_recognises_visits():
    X = table(VISITS).assign(crp=[1.0, 2.0, 3.0, 4.0], note=[["a b"], ["c d"], None, []])
    encoders = af.infer_encoders(X)
    assert isinstance(encoders["visits"], af.VisitEncoder)
    assert isinstance(af.infer_encoders(pl.DataFrame({"v": VISITS}))["v"], af.VisitEncoder)
    frames = af.infer_encoders(table([None, pd.DataFrame({"day": [0], "crp": [1.0]})]))
    arrays = af.infer_encoders(
        table([None, np.array([(0.0, 1.0)], [("day", float), ("c", float)])])
    )
    assert isinstance(frames["visits"], af.VisitEncoder)
    assert isinstance(arrays["visits"], af.VisitEncoder)


def test_no_rows_are_no_error():
    encoder = af.VisitEncoder("visits").fit(table(VISITS))
    assert encoder.transform(table([])).shape == (0, 11) and not len(encoder.prepare(table([])))


def test_what_auto_chose_is_said(capsys):
    X = table(VISITS * 5).assign(crp=np.arange(20.0))
    af.EarlyFusionClassifier(random_state=0).fit(X, np.arange(20) % 2)
    assert "VisitEncoder    'visits': visits by a small GRU" in capsys.readouterr().out


@pytest.fixture(scope="module")
def cohort():
    """Patients of whom the rising CRP of the visits says who progresses; labs say nothing."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    cells = []
    for label in y:
        days = np.sort(rng.choice(700, size=int(rng.integers(3, 7)), replace=False)) - 700.0
        crp = 20 + (1 if label else -1) * 15 * (days + 350) / 350 + rng.normal(0, 2, len(days))
        cells.append(
            [{"day": d, "crp": c} for d, c in zip(days, crp + rng.normal(0, 9), strict=True)]
        )
    X = table(cells).assign(age=rng.normal(size=80))
    X.loc[[3, 4], "visits"] = None
    X.loc[[7, 8], "age"] = np.nan
    X["b27"] = rng.integers(2, size=80)
    return X, y


ENCODERS = {
    "labs": af.TabularEncoder(["age", "b27"]),
    "visits": af.VisitEncoder("visits", d_hidden=16),
}
FAMILIES = {
    "early": af.EarlyFusionClassifier(ENCODERS, verbose=0, random_state=0),
    "joint": af.JointFusionClassifier(
        ENCODERS, max_epochs=25, learning_rate=1e-2, early_stopping=False, verbose=0, random_state=0
    ),
    "late": af.LateFusionClassifier(
        ENCODERS, network=af.JointFusionClassifier(max_epochs=25, learning_rate=1e-2),
        verbose=0, random_state=0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_every_family_reads_visits(model, cohort, tmp_path):
    from sklearn.base import clone

    X, y = cohort
    fitted = clone(model).fit(X, y)
    told = fitted.predict_proba(X)
    has_visits = X["visits"].notna().to_numpy()
    assert np.mean((told[:, 1] > 0.5)[has_visits] == y[has_visits]) > 0.9
    again = af.load(fitted.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), told)
    P = pl.from_pandas(X)
    np.testing.assert_allclose(clone(model).fit(P, y).predict_proba(P), told, rtol=1e-6)
    without = fitted.predict_proba(X.assign(visits=None))
    assert np.isfinite(without).all() and not np.allclose(without[has_visits], told[has_visits])


def test_no_visit_stands_in_a_saved_model(cohort, tmp_path):
    X, y = cohort
    X = X.assign(visits=[c and [{**v, "crp": 31337.25} for v in c] for c in X["visits"]])
    folder = FAMILIES["early"].fit(X, y).save(tmp_path / "model.asf")
    kept = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"31337.25" not in kept and kept.count(np.float64(31337.25).tobytes()) == 1
    assert b'"day":' not in kept  # the median, which all of them share, is all that was learned


def test_a_search_reaches_into_the_encoder(cohort):
    from sklearn.model_selection import GridSearchCV

    X, y = cohort
    grid = {"encoders__visits__values": ["crp"], "encoders__visits__max_visits": [1, 20]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        found = GridSearchCV(FAMILIES["early"], grid, cv=3, scoring="roc_auc").fit(X, y)
    one, many = found.cv_results_["mean_test_score"]
    assert found.best_params_["encoders__visits__max_visits"] == 20 and many > one + 0.05
