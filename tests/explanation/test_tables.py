"""Attributions of a table's cells: what they keep, what they refuse, what they draw."""

import base64
import re
from datetime import date
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation.players import play_all, shapley_interactions
from asfusion.explanation.tables import TableAttribution

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

ORANGE, PURPLE = "#e66101", "#5e3c99"
NAMES = ["crp", "esr", "hla_b27", "age"]
UNITS = {"crp": "mg/L", "esr": "mm/h", "age": "years"}
CELLS = [
    [41.5, 12, "positive", 33],
    [None, 30, "negative", 60],
    [3.0, np.nan, None, 45],
    [8.0, 22, "positive", pd.NA],
]
EFFECTS = np.array(
    [
        [0.30, -0.10, 0.20, 0.01],
        [-0.02, 0.05, -0.25, -0.03],
        [-0.12, -0.01, -0.02, 0.0],
        [0.04, 0.02, 0.15, -0.04],
    ]
)


def make(**changes):
    options = {
        "values": EFFECTS,
        "base_value": 0.25,
        "data": CELLS,
        "feature_names": NAMES,
        "output_name": "probability of axSpA",
        "units": UNITS,
    }
    return TableAttribution(**{**options, **changes})


def wide(n_features, n_rows=20):
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(n_rows, n_features)) * np.arange(1, n_features + 1)
    names = [f"x{i}" for i in range(n_features)]
    return TableAttribution(
        values=effects, base_value=0.0, data=rng.normal(size=effects.shape), feature_names=names
    )


@pytest.fixture
def ax():
    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


@pytest.fixture(autouse=True)
def _no_figure_left():
    yield
    pyplot.close("all")


def texts(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def written(axes):
    return [text.get_text() for text in axes.texts]


# --- what it keeps -----------------------------------------------------------------------


def test_outputs_are_base_plus_attributions():
    np.testing.assert_allclose(make().outputs, 0.25 + EFFECTS.sum(axis=1))
    base = np.arange(4.0)
    np.testing.assert_allclose(make(base_value=base).outputs, base + EFFECTS.sum(axis=1))


def test_arrays_are_copies_that_nobody_can_change():
    effects = EFFECTS.copy()
    found = make(values=effects)
    effects[0, 0] = 99
    assert found.values[0, 0] == 0.30
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0] = 1
    with pytest.raises(AttributeError):
        found.values = effects


@pytest.mark.parametrize("table", [pd.DataFrame, lambda cells: pl.DataFrame(cells, orient="row")])
def test_cells_of_a_table(table):
    cells = [[41.5, 12, "positive", 33], [3.0, 30, "negative", 60]]
    found = make(values=EFFECTS[:2], data=table(cells))
    assert found.data.tolist() == cells


def test_frame_has_a_line_for_each_cell():
    frame = make(error=np.full((4, 4), 0.01)).to_frame()
    assert list(frame) == ["row", "feature", "value", "unit", "attribution", "error"]
    assert len(frame) == 16
    line = frame[(frame.row == 0) & (frame.feature == "hla_b27")].iloc[0]
    assert (line["value"], line["attribution"]) == ("positive", 0.20)
    assert frame.unit[frame.feature == "hla_b27"].isna().all()
    assert set(frame.unit[frame.feature == "crp"]) == {"mg/L"}
    assert frame.pivot(index="row", columns="feature", values="attribution")[
        NAMES
    ].to_numpy() == pytest.approx(EFFECTS)
    assert "error" not in make().to_frame()


def test_to_shap_carries_numbers_to_colour_and_cells_to_show():
    found = make(error=np.full((4, 4), 0.01)).to_shap()
    np.testing.assert_array_equal(found.values, EFFECTS)
    np.testing.assert_array_equal(found.base_values, np.full(4, 0.25))
    np.testing.assert_array_equal(found.data[:, 0], [41.5, np.nan, 3.0, 8.0])
    assert np.isnan(found.data[:, 2]).all()
    assert found.display_data[0, 2] == "positive"
    assert found.feature_names == NAMES
    np.testing.assert_array_equal(found[1].values, EFFECTS[1])


def test_shap_can_draw_it():
    shap = pytest.importorskip("shap")
    axes = shap.plots.bar(make().to_shap(), show=False)
    assert "crp" in texts(axes)


def test_interactions_sum_to_the_values():
    payoffs = play_all(lambda masks: np.outer(masks.sum(axis=1) ** 2, [1.0, 2.0]), 3)
    joint = np.moveaxis(shapley_interactions(payoffs), -1, 0)
    found = TableAttribution(
        values=joint.sum(axis=2),
        base_value=0.0,
        data=np.zeros((2, 3)),
        feature_names=["a", "b", "c"],
        interactions=joint,
    )
    np.testing.assert_allclose(found.interactions.sum(axis=2), found.values)


# --- waterfall ---------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(-500, 500).map(lambda k: k / 100), min_size=1, max_size=8),
    st.floats(-3, 3, allow_subnormal=False),
    st.integers(1, 8),
)
def test_waterfall_climbs_from_base_to_output(effects, base, n):
    names = [f"x{i}" for i in range(len(effects))]
    found = TableAttribution(values=[effects], base_value=base, data=[effects], feature_names=names)
    figure = mpl.figure.Figure()
    axes = found.waterfall(0, figure.add_subplot(), n=n)
    bars = axes.patches
    assert len(bars) == (len(effects) if len(effects) <= n + 1 else n + 1)
    top, bottom = bars[0], bars[-1]
    assert top.get_x() + top.get_width() == pytest.approx(base + sum(effects), abs=1e-9)
    assert bottom.get_x() == pytest.approx(base, abs=1e-9)
    for bar, below in pairwise(bars):
        assert bar.get_x() == pytest.approx(below.get_x() + below.get_width(), abs=1e-9)
    for bar in bars:
        assert to_hex(bar.get_facecolor()) == (ORANGE if bar.get_width() >= 0 else PURPLE)


def test_waterfall_names_cells_with_units_and_missing_ones(ax):
    found = make()
    assert found.waterfall(0, ax) is ax
    assert texts(ax) == ["crp = 41.5 mg/L", "hla_b27 = positive", "esr = 12 mm/h", "age = 33 years"]
    assert ax.get_xlabel() == "probability of axSpA"
    assert "+0.3" in written(ax) and "\N{MINUS SIGN}0.1" in written(ax)
    assert "base 0.25" in ax.get_title() and "output 0.66" in ax.get_title()
    ax.clear()
    found.waterfall(1, ax)
    assert "crp: missing" in texts(ax)
    ax.clear()
    found.waterfall(-1, ax)
    assert "age: missing" in texts(ax)


def test_waterfall_gathers_the_small_ones(ax):
    found = wide(30)
    found.waterfall(0, ax, n=5)
    assert len(ax.patches) == 6
    assert texts(ax)[-1] == "25 others"
    widths = sum(bar.get_width() for bar in ax.patches)
    assert widths == pytest.approx(found.values[0].sum())


def test_waterfall_draws_errors_where_there_are_any(ax):
    make().waterfall(0, ax)
    assert not ax.containers[1:]
    ax.clear()
    make(error=np.full((4, 4), 0.01)).waterfall(0, ax)
    (whiskers,) = [c for c in ax.containers if c is not ax.containers[0]]
    spans = np.array([np.ptp(segment[:, 0]) for segment in whiskers[2][0].get_segments()])
    np.testing.assert_allclose(spans, 0.02)


def test_waterfall_shows_cells_of_every_kind(ax):
    cells = [[True, date(2020, 1, 31), "x" * 60, -2.5]]
    make(values=EFFECTS[:1], data=cells, units={}).waterfall(0, ax)
    assert "crp = yes" in texts(ax)
    assert "esr = 2020-01-31" in texts(ax)
    assert "age = \N{MINUS SIGN}2.5" in texts(ax)
    assert all(len(label) < 40 for label in texts(ax))


def test_no_formula_is_read_into_names(ax):
    found = make(feature_names=["a$x$", "b$", "c", "d"], units={"a$x$": "$"}, output_name="$y$")
    for axes in (found.waterfall(0), found.bar(), found.beeswarm(), found.dependence("a$x$")):
        axes.figure.draw_without_rendering()
        assert r"\$" in "".join([axes.get_xlabel(), axes.get_ylabel(), *texts(axes)])


# --- bar ---------------------------------------------------------------------------------


def test_bar_splits_the_mean_effect_into_up_and_down(ax):
    assert make().bar(ax) is ax
    up, down = ax.containers
    assert texts(ax) == ["hla_b27", "crp (mg/L)", "esr (mm/h)", "age (years)"]
    order = [2, 0, 1, 3]
    np.testing.assert_allclose(
        [bar.get_width() for bar in up], np.clip(EFFECTS, 0, None).mean(axis=0)[order]
    )
    np.testing.assert_allclose(
        [bar.get_width() for bar in down], np.clip(-EFFECTS, 0, None).mean(axis=0)[order]
    )
    assert to_hex(up[0].get_facecolor()) == ORANGE
    assert to_hex(down[0].get_facecolor()) == PURPLE
    assert "probability of axSpA" in ax.get_xlabel()


@pytest.mark.parametrize(("n_features", "n", "lines"), [(1, 12, 1), (13, 12, 13), (30, 12, 13)])
def test_bar_draws_so_many_lines(ax, n_features, n, lines):
    found = wide(n_features)
    found.bar(ax, n=n)
    assert len(ax.patches) == 2 * lines
    total = sum(bar.get_width() for bar in ax.patches)
    assert total == pytest.approx(np.abs(found.values).mean(axis=0).sum())


# --- beeswarm ----------------------------------------------------------------------------


def test_beeswarm_draws_every_cell_once(ax):
    assert make().beeswarm(ax) is ax
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    assert np.ma.count(points[:, 0]) == 16
    for line, feature in enumerate([2, 0, 1, 3]):
        here = points[np.round(points[:, 1]) == line, 0]
        np.testing.assert_allclose(np.sort(here), np.sort(EFFECTS[:, feature]))
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"missing", "category"}
    assert "crp (mg/L)" in texts(ax)


def test_beeswarm_colours_low_cells_purple_and_high_ones_orange(ax):
    found = TableAttribution(
        values=[[-1.0], [0.0], [1.0]], base_value=0, data=[[1], [2], [9]], feature_names=["crp"]
    )
    found.beeswarm(ax)
    low, _, high = next(c for c in ax.collections if len(c.get_offsets()) == 3).get_facecolors()
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert ax.get_legend() is None


def test_beeswarm_leaves_small_features_out_and_says_so(ax):
    wide(30).beeswarm(ax, n=4)
    assert len(texts(ax)) == 4
    assert "26 smaller ones not shown" in ax.get_xlabel()


def test_beeswarm_keeps_crowds_within_their_line(ax):
    TableAttribution(
        values=np.zeros((500, 2)),
        base_value=0,
        data=np.ones((500, 2)),
        feature_names=["a", "b"],
    ).beeswarm(ax)
    heights = np.concatenate([np.asarray(c.get_offsets())[:, 1] for c in ax.collections])
    assert np.abs(heights - np.round(heights)).max() < 0.5
    assert len(np.unique(heights)) > 900


# --- dependence --------------------------------------------------------------------------


def test_dependence_of_a_number(ax):
    assert make().dependence("crp", ax) is ax
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == 4]
    places = np.asarray(points.get_offsets())
    np.testing.assert_allclose(places[[0, 2, 3], 0], [41.5, 3.0, 8.0])
    np.testing.assert_allclose(places[:, 1], EFFECTS[:, 0])
    assert places[1, 0] < 3.0
    assert ax.get_xticklabels()[0].get_text() == "missing"
    assert ax.get_xticks()[0] == pytest.approx(places[1, 0])
    assert ax.get_xlabel() == "crp (mg/L)"
    assert ax.get_ylabel() == "Effect on the probability of axSpA"


def test_dependence_of_a_category(ax):
    make().dependence("hla_b27", ax)
    assert {t.get_text() for t in ax.get_xticklabels()} == {"missing", "negative", "positive"}
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == 4]
    places = np.asarray(points.get_offsets())[:, 0]
    np.testing.assert_array_equal(np.round(places), [1, 0, -1, 1])


def test_dependence_coloured_by_a_number(ax):
    make().dependence("crp", ax, color_by="esr")
    (colours,) = [other for other in ax.figure.axes if other is not ax]
    assert colours.get_ylabel() == "esr (mm/h)"
    assert [t.get_text() for t in colours.get_yticklabels()] == ["12", "30"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["missing"]


def test_dependence_coloured_by_a_category(ax):
    make().dependence("crp", ax, color_by="hla_b27")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "positive",
        "negative",
        "missing",
    ]
    assert ax.get_legend().get_title().get_text() == "hla_b27"


def test_dependence_gathers_rare_categories(ax):
    words = [f"w{i}" for i in range(12)]
    TableAttribution(
        values=np.zeros((12, 2)),
        base_value=0,
        data=[[i, word] for i, word in enumerate(words)],
        feature_names=["a", "b"],
    ).dependence("a", ax, color_by="b")
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert len(labels) == 7
    assert labels[-1] == "6 others"


@pytest.mark.parametrize("color_by", [None, "b"])
def test_dependence_where_all_cells_are_missing(ax, color_by):
    TableAttribution(
        values=[[1.0, 0.0], [2.0, 0.0]],
        base_value=0,
        data=[[None, np.nan], [pd.NaT, None]],
        feature_names=["a", "b"],
        error=[[0.1, 0.1], [0.1, 0.1]],
    ).dependence("a", ax, color_by=color_by)
    assert ax.get_xticklabels()[0].get_text() == "missing"
    ax.figure.draw_without_rendering()


# --- axes and page -----------------------------------------------------------------------


@pytest.mark.parametrize("plot", ["waterfall", "beeswarm", "bar", "dependence"])
def test_without_axes_a_figure_is_made(plot):
    arguments = ("crp",) if plot == "dependence" else ()
    axes = getattr(make(), plot)(*arguments)
    assert isinstance(axes, Axes)
    assert pyplot.get_fignums() == [axes.figure.number]


def test_page_shows_the_first_row_and_a_table():
    page = make(units={"crp": "<b>"})._repr_html_()
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", page).group(1))
    assert b"<svg" in picture
    assert "<td>crp</td><td>&lt;b&gt;</td><td>0.12</td>" in page
    assert "1 of 4" in page
    assert "not a medical device" in page
    assert page == make(units={"crp": "<b>"})._repr_html_()
    assert pyplot.get_fignums() == []


def test_page_without_rows():
    empty = make(values=np.zeros((0, 4)), data=np.zeros((0, 4)))
    assert "0 rows" in empty._repr_html_()
    assert len(empty) == len(empty.to_frame()) == 0
    assert empty.to_shap().shape == (0, 4)


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": EFFECTS[0]}, r"values: expected shape \(N, 4\) for 4 feature names"),
        ({"values": EFFECTS[:, :3]}, r"got \(4, 3\)"),
        ({"base_value": [1.0, 2.0]}, r"base_value: expected shape \(4,\) .* got \(2,\)"),
        ({"data": CELLS[:2]}, r"data: expected shape \(4, 4\)"),
        ({"error": [0.1]}, r"error: expected shape \(4, 4\)"),
        ({"interactions": EFFECTS}, r"interactions: expected shape \(4, 4, 4\)"),
    ],
)
def test_arrays_that_do_not_fit(changes, match):
    with pytest.raises(ShapeError, match=match):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": np.where(EFFECTS > 0.2, np.nan, EFFECTS)}, "values: .* got 1 of 16"),
        ({"base_value": np.inf}, "base_value: expected finite numbers, got 4 of 4"),
        ({"error": np.full((4, 4), np.nan)}, "error: expected finite numbers, got 16 of 16"),
        ({"error": np.full((4, 4), -1.0)}, "error: expected standard errors of at least 0"),
    ],
)
def test_numbers_that_cannot_be(changes, match):
    with pytest.raises(InputError, match=match):
        make(**changes)


def test_names():
    with pytest.raises(ConfigurationError, match="feature_names: .* got 'crp' more than once"):
        make(feature_names=["crp", "crp", "esr", "age"], units={})
    with pytest.raises(ConfigurationError, match=r"units: .* got 'crb'\. Did you mean 'crp'"):
        make(units={"crb": "mg/L"})


def test_plots_of_nothing_known():
    found = make()
    with pytest.raises(ConfigurationError, match=r"feature: expected one of .* mean 'crp'"):
        found.dependence("crpp")
    with pytest.raises(ConfigurationError, match="color_by: expected one of"):
        found.dependence("crp", color_by="nothing")
    for row in (4, -5, 1.0, True):
        with pytest.raises(ConfigurationError, match="row: expected a position from 0 to 3"):
            found.waterfall(row)
    with pytest.raises(ConfigurationError, match="n: expected an integer of at least 1"):
        found.bar(n=0)
    with pytest.raises(ConfigurationError, match="ax: expected a matplotlib Axes or None, got str"):
        found.beeswarm("here")
    empty = make(values=np.zeros((0, 4)), data=np.zeros((0, 4)))
    with pytest.raises(InputError, match="0 rows, expected at least 1 to draw"):
        empty.bar()
