"""What visits add: sums, who gets the credit, missing visits, pictures, pages and checks."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import asfusion as af
from asfusion.encoders._visit_cells import Visits
from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.explanation._visit_games import attribute_visits
from asfusion.explanation.visits import VisitAttribution

# -- the game by itself ------------------------------------------------------------------


def visits_of(values):
    values = np.asarray(values, dtype=float)
    days = np.linspace(-300, 0, len(values))
    return Visits(1, np.zeros(len(values), np.int64), days, values)


def test_values_that_add_up_get_what_they_are_worth():
    visits = visits_of([[1.0, 2.0], [np.nan, 3.0], [4.0, np.nan]])
    worth = np.array([[0.1, 0.2], [9.9, 0.3], [-0.4, 9.9]])

    def score(kept):
        return (kept * worth).sum(axis=(1, 2))

    found = attribute_visits(score, visits, n_samples=8, seed=0)
    np.testing.assert_allclose(found.visits, [0.3, 0.3, -0.4])
    np.testing.assert_allclose(found.cells, [[0.1, 0.2], [0, 0.3], [-0.4, 0]], atol=1e-12)
    assert not found.errors.any()


def test_a_gain_of_two_values_in_two_visits_is_shared():
    """Owen's value of a game that is worth 1 where two cells of two visits are both there."""
    visits = visits_of([[1.0, 2.0], [3.0, 4.0]])

    def score(kept):
        return (kept[:, 0, 0] & kept[:, 1, 1]).astype(float)

    found = attribute_visits(score, visits, n_samples=64, seed=0)
    np.testing.assert_allclose(found.visits, [0.5, 0.5])
    np.testing.assert_allclose(found.cells, [[0.5, 0], [0, 0.5]], atol=0.05)
    np.testing.assert_allclose(found.cells.sum(axis=1), found.visits)


def test_many_visits_are_sampled_and_say_how_well():
    rng = np.random.default_rng(0)
    visits = visits_of(rng.normal(size=(14, 2)))
    weight = rng.normal(size=14)

    def score(kept):
        there = kept.any(axis=2)
        return there @ weight + 3.0 * (there[:, 0] & there[:, 13])

    found = attribute_visits(score, visits, n_samples=16, seed=0)
    expected = weight + np.where(np.isin(np.arange(14), [0, 13]), 1.5, 0.0)
    np.testing.assert_allclose(found.visits, expected, atol=0.1)
    np.testing.assert_allclose(found.cells.sum(axis=1), found.visits)
    assert found.errors.shape == (14,)


# -- in fitted models --------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort():
    """Sixty patients; who is ill has a high CRP at the last visit, and nothing else matters."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    cells = []
    for label in y:
        days = np.sort(rng.choice(700, size=int(rng.integers(2, 6)), replace=False)) - 700.0
        crp = rng.gamma(2, 3, len(days))
        crp[-1] += 40 * label
        esr = [float(v) if rng.random() > 0.2 else None for v in rng.integers(0, 30, len(days))]
        cells.append(
            [{"day": d, "crp": c, "esr": e} for d, c, e in zip(days, crp, esr, strict=True)]
        )
    X = pd.DataFrame({"visits": pd.Series(cells, dtype=object), "age": rng.normal(size=60)})
    X.at[3, "visits"] = None
    return X, y


ENCODERS = {"labs": af.TabularEncoder(["age"]), "visits": af.VisitEncoder("visits", d_hidden=8)}
NETWORK = {"max_epochs": 20, "learning_rate": 1e-2, "early_stopping": False}
MODELS = {
    "early": af.EarlyFusionClassifier(ENCODERS, verbose=0, random_state=0),
    "joint": af.JointFusionClassifier(ENCODERS, **NETWORK, verbose=0, random_state=0),
    "late": af.LateFusionClassifier(
        ENCODERS, network=af.JointFusionClassifier(**NETWORK), verbose=0, random_state=0
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def explained(request, cohort):
    X, y = cohort
    model = MODELS[request.param].fit(X, y)
    units = {"crp": "mg/L"}
    return af.explain(model, X[:6], background=X, units=units, n_samples=16, verbose=0), X


def test_visits_share_the_value_of_the_modality(explained):
    e, X = explained
    found = e["visits"]
    np.testing.assert_allclose(found.totals, e.modalities["visits"], atol=1e-6)
    np.testing.assert_allclose(found.cells.sum(axis=1), found.values, atol=1e-12)
    assert len(found) == 6 and not len(found.of_row(3))
    days = [visit["day"] for cell in X["visits"][:6] if cell for visit in cell]
    assert found.days.tolist() == days


def test_the_last_crp_gets_the_credit(explained):
    found = explained[0]["visits"].to_frame()
    assert list(found) == ["row", "day", "variable", "value", "unit", "attribution"]
    for row in (1, 5):  # the ill
        own = found[found["row"] == row].reset_index(drop=True)
        best = own.loc[own["attribution"].idxmax()]
        assert best["variable"] == "crp" and best["day"] == own["day"].max()
        assert best["unit"] == "mg/L" and best["value"] > 40


def test_everything_shows_visits(explained, tmp_path):
    e, _ = explained
    table = e.to_frame()
    own = table[(table["modality"] == "visits") & (table["part"] != "") & (table["row"] == 1)]
    assert own["part"].str.fullmatch(r"day -?\d+(\.\d+)?").all()
    total = e.modalities["visits"][1]
    assert own["value"].sum() == pytest.approx(total, abs=1e-6)
    assert len(e.plot_patient(1).axes) == 3
    page = e.to_html(tmp_path / "page.html").read_text()
    assert page.count("Measured values, coloured by what each adds") == 5  # one row has none
    checks = e.check()
    assert checks.loc["visits: parts add up", "passed"]
    assert {"visits: deletion beats random order", "visits: seeds agree"} <= set(checks.index)
    assert checks.loc["visits: deletion beats random order", "passed"]


def test_a_background_stands_for_other_modalities(cohort):
    X, y = cohort
    model = MODELS["joint"].fit(X, y)
    e = af.explain(
        model, X[:2], background=X, absence="background", n_background=4, n_samples=4, verbose=0
    )
    np.testing.assert_allclose(e["visits"].totals, e.modalities["visits"], atol=1e-6)


# -- the result by itself ----------------------------------------------------------------


def small(**change):
    fields = {
        "rows": np.array([0, 0, 2]),
        "days": np.array([-90.0, 0.0, -5.0]),
        "values": np.array([0.1, 0.3, -0.2]),
        "cells": np.array([[0.1, 0.0], [0.4, -0.1], [0.0, -0.2]]),
        "data": np.array([[9.0, np.nan], [41.0, 12.0], [np.nan, 3.0]]),
        "variables": ("crp", "esr"),
        "n_rows": 3,
        "units": {"crp": "mg/L"},
        "errors": np.array([0.01, 0.02, 0.0]),
    }
    return VisitAttribution(**{**fields, **change})


def test_tables_of_values_and_of_visits():
    found = small()
    assert found.totals.tolist() == [0.4, 0.0, -0.2]
    assert found.to_frame()["attribution"].tolist() == [0.1, 0.4, -0.1, -0.2]
    assert found.by_visit().to_dict("list") == {
        "row": [0, 0, 2], "day": [-90, 0, -5], "attribution": [0.1, 0.3, -0.2],
        "error": [0.01, 0.02, 0.0],
    }  # fmt: skip
    assert "error" not in small(errors=None).by_visit()


def test_pictures_take_and_return_axes():
    found, ax = small(), Figure().add_subplot()
    assert found.plot(0, ax) is ax
    assert ax.get_xlabel() == "Days from the index date"
    heights = ax.collections[1].get_offsets()
    np.testing.assert_allclose(heights, [[-90, 0.1], [0, 0.3]])
    ax = Figure().add_subplot()
    assert found.plot_values(0, ax) is ax
    assert {t.get_text() for t in ax.texts} == {"9", "41", "12"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["crp (mg/L)", "esr"]
    assert found.plot(1, Figure().add_subplot()).get_xlim()[0] < 0  # a row without visits


def test_a_notebook_shows_the_first_row_with_visits():
    html = small(rows=np.array([1, 1, 2]))._repr_html_()
    assert "Row 1." in html and html.count("<img") == 2
    assert "No visits." in small().to_html(1)
    nobody = small(
        rows=np.empty(0, int), days=np.empty(0), values=np.empty(0), cells=np.empty((0, 2)),
        data=np.empty((0, 2)), errors=None,
    )  # fmt: skip
    assert "<img" not in nobody._repr_html_()
    assert "41" not in repr(small())


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ConfigurationError, match="row: expected a position from 0 to 2, got 3"):
        small().plot(3)
    with pytest.raises(ConfigurationError, match="ax: expected a matplotlib Axes or None, got int"):
        small().plot(0, 3)
    with pytest.raises(ShapeError, match=r"cells: expected shape \(3, 2\) for 3 visits of 2"):
        small(cells=np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"errors: expected shape \(3,\)"):
        small(errors=np.zeros(2))
