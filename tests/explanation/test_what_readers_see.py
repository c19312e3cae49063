"""What a reader of an explanation sees: sums that hold, labels that fit, rows by themselves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

import asfusion as af
from asfusion.exceptions import AsfusionWarning, ConfigurationError
from asfusion.explanation.pixels import attribute_image
from asfusion.explanation.tables import TableAttribution

QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}
LONG = ["axial spondyloarthritis without any change on films", "seen $5$ or $\\frac{$ times", "no"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Return rows of which one lacks its labs, one its note and one its visits."""
    rng = np.random.default_rng(0)
    n = 90
    words = rng.choice(["pain", "stiffness", "nothing"], n)
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2.0, 8.0, n),
            "esr": rng.gamma(2.0, 10.0, n),
            "bmi": rng.normal(26.0, 3.0, n),
            "note": [f"reports {word} at night" for word in words],
        }
    )
    visits = [[{"day": -9.0, "basfi": v}, {"day": 0.0, "basfi": v}] for v in rng.uniform(0, 9, n)]
    X["visits"] = pd.Series(visits, dtype=object)
    X.loc[1, ["crp", "esr"]] = np.nan
    X.loc[2, "note"] = None
    X.at[3, "visits"] = None
    return X


def encoders() -> dict[str, Any]:
    return {
        "labs": af.TabularEncoder(["crp", "esr"]),
        "body": af.TabularEncoder("bmi"),
        "notes": af.TextEncoder("note", backbone="tfidf"),
        "visits": af.VisitEncoder("visits", d_hidden=4),
    }


@pytest.fixture(scope="module")
def model(rows: pd.DataFrame) -> Any:
    said = rows["note"].fillna("").str.contains("stiff").to_numpy()
    y = np.where(said, 2, 0) + (rows["crp"].fillna(0) > 16).to_numpy()
    labels = np.asarray([*LONG, "no"], dtype=object)[y].astype(str)
    return af.EarlyFusionClassifier(encoders(), **QUIET).fit(rows, labels)


@pytest.fixture(scope="module")
def explained(model: Any, rows: pd.DataFrame) -> Any:
    return af.explain(model, rows[:6], background=rows, n_background=4, n_samples=4, verbose=0)


# -- what a row lacks, where others have it ----------------------------------------------


def test_to_lack_what_the_background_has_is_a_part_of_its_own(model: Any, rows: Any) -> None:
    e = af.explain(
        model, rows[:5], background=rows[9:30], absence="background", n_background=4,
        n_samples=4, verbose=0,
    )  # fmt: skip
    lacks = ~e.present
    assert lacks.sum() == 3 and (e.values[lacks] != 0).all()
    table = e.to_frame()
    whole = table[table["part"] == ""].set_index(["row", "modality"])["value"]
    sums = table[table["part"] != ""].groupby(["row", "modality"])["value"].sum()
    np.testing.assert_allclose(sums, whole.loc[sums.index], atol=1e-6)
    assert len(sums) == len(whole)
    np.testing.assert_allclose(e["labs"].values.sum(axis=1), e.values[:, 0], atol=1e-6)
    checks = e.check()
    assert checks["passed"][[name for name in checks.index if name.endswith("add up")]].all()
    # The row with a value that nobody sees would not add up for who reads it.
    [line] = [line for line in repr(e).splitlines() if line.startswith("2 ")]
    assert f"{e.values[2, 2]:+.3f} (absent)" in line
    assert f"{e.values[2, 2]:+.3f} (absent)" in e._repr_html_()


# -- labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("absence", "start"),
    [
        ("missing", "the average patient of training"),
        ("background", "the average of the background rows"),
    ],
)
def test_a_row_says_what_it_starts_from(model: Any, rows: Any, absence: Any, start: str) -> None:
    e = af.explain(
        model, rows[:1], background=rows, absence=absence, n_background=3, n_samples=4, verbose=0
    )
    assert f"({start})" in e.plot_patient(0).axes[0].get_title()


def test_rows_of_several_classes_say_which_is_whose(explained: Any) -> None:
    assert len(set(explained.output_names)) > 1
    assert explained["labs"].output_name == "probability of the predicted class"
    assert explained["visits"].output_name == "probability of the predicted class"
    lines = printed_table(explained)
    assert lines[0].endswith("of class")
    for name, line in zip(explained.output_names, lines[1:], strict=False):
        assert line.endswith(name.removeprefix("probability of class "))


def drawn(explained: Any, output: str, model: Any, rows: Any) -> dict[str, Any]:
    e = af.explain(
        model, rows[:6], background=rows, output=output, n_background=4, n_samples=4, verbose=0
    )
    return {
        "plot": e.plot().figure,
        "row": e.plot_patient(0),
        "curves": e.plot_curves()[0].figure,
        "curves of notes": e.plot_curves("notes")[0].figure,
        "waterfall": e["labs"].waterfall().figure,
        "beeswarm": e["labs"].beeswarm().figure,
        "bar": e["labs"].bar().figure,
        "dependence": e["labs"].dependence("crp", color_by="esr").figure,
        "visits": e["visits"].plot().figure,
        "several": explained.plot_patient(1),
    }


@pytest.mark.parametrize("output", LONG[:2])
def test_labels_are_whole_and_apart(output: str, explained: Any, model: Any, rows: Any) -> None:
    for name, figure in drawn(explained, output, model, rows).items():
        figure.canvas.draw()
        paper = figure.bbox.padded(1.0)
        for axes in figure.axes:
            for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
                box = label.get_window_extent()
                inside = paper.x0 <= box.x0 and box.x1 <= paper.x1
                assert not label.get_text() or (inside and box.y0 >= paper.y0), (name, label)
            ticks = [t for t in axes.get_xticklabels() if t.get_text()]
            low, high = axes.get_window_extent().intervalx
            boxes = [t.get_window_extent() for t in ticks]
            shown = sorted(
                (b for b in boxes if low - 1 <= (b.x0 + b.x1) / 2 <= high + 1), key=lambda b: b.x0
            )
            assert all(a.x1 < b.x0 for a, b in itertools.pairwise(shown)), name
    assert "seen" in af.explain(model, rows[:2], output=LONG[1], verbose=0)._repr_html_()


def table_of(cells: list[Any]) -> TableAttribution:
    effects = np.linspace(-1.0, 1.0, len(cells))[:, None]
    return TableAttribution(effects, 0.0, np.array(cells, dtype=object)[:, None], ("found",))


def test_dates_stand_in_their_order_with_few_ticks() -> None:
    days = pd.date_range("2020-01-01", periods=80, freq="9D")
    cells = [day.strftime("%Y-%m-%d") for day in days]
    cells[3] = None
    axis = table_of(cells).dependence("found", ax=Figure().add_subplot())
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == ["2020-01-01", "2020-08-25", "2021-04-19", "2021-12-12", "missing"]
    places = axis.collections[0].get_offsets()[:, 0]
    known = np.delete(places, 3)
    np.testing.assert_allclose(np.delete(np.diff(known), 2), 9.0)
    axis = table_of([*days.to_pydatetime(), None]).beeswarm(ax=Figure().add_subplot())
    assert axis.get_legend().get_texts()[0].get_text() == "missing"
    assert len(axis.get_legend().get_texts()) == 1  # none of them a category
    no_day = ["2021-02-30", "2021-02-01"]
    axis = table_of(no_day).dependence("found", ax=Figure().add_subplot())
    assert [label.get_text() for label in axis.get_xticklabels()] == sorted(no_day)


def test_many_words_below_an_axis_are_thinned_out() -> None:
    axis = table_of([f"category {i:02d}" for i in range(60)]).dependence("found")
    axis.figure.canvas.draw()
    labels = axis.get_xticklabels()
    assert 10 < len(labels) <= 16 and all(label.get_rotation() == 30 for label in labels)


# -- one row, and the work it takes ------------------------------------------------------


def test_one_row_is_drawn_without_the_work_of_all(model: Any, rows: Any) -> None:
    def asked(n_rows: int) -> tuple[Any, int]:
        e = af.explain(
            model, rows[:n_rows], background=rows[30:60], output="no", n_samples=4, verbose=0
        )
        count, decide = 0, e.details.game.model._decided

        def counted(parts: Any) -> Any:
            nonlocal count
            count += len(parts)
            return decide(parts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(e.details.game.model, "_decided", counted, raising=False)
            e.plot_patient(4)
            e._repr_html_()
        return e, count

    _, at_five = asked(5)
    many, at_thirty = asked(30)
    assert at_thirty == at_five
    # What it finds alone is what it finds among all.
    own, place = many._alone(4)
    for name in ("labs", "body"):
        np.testing.assert_allclose(own[name].values[place], many[name].values[4], atol=1e-9)
    np.testing.assert_allclose(
        [s.value for s in own["notes"][place].spans], [s.value for s in many["notes"][4].spans]
    )
    whole = many["visits"]
    np.testing.assert_allclose(own["visits"].cells, whole.cells[whole.of_row(4)], atol=1e-9)
    assert many._alone(4) == (many, 4)  # now that all are known


def test_a_row_by_itself_has_nothing_to_be_replaced_from(model: Any, rows: Any) -> None:
    e = af.explain(model, rows[:1], verbose=0)
    with pytest.warns(AsfusionWarning, match="background: expected rows to replace .*'labs'"):
        labs = e["labs"]
    assert (labs.values[:, 1:] == 0).all()
    with pytest.raises(ConfigurationError, match="background: expected rows with absence="):
        af.explain(model, rows[:1], absence="background", verbose=0)


def test_modalities_can_be_walked_through(explained: Any) -> None:
    assert list(explained) == list(explained.names)
    assert "labs" in explained and "mri" not in explained


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"units": "mg/L"}, "units: expected a mapping of columns.*got str"),
        ({"units": ["mg/L"]}, "units: expected a mapping of columns.*got list"),
        ({"output": np.asarray(["no", "no"])}, "output: expected one of the classes"),
    ],
)
def test_unusable_choices(given: Any, complaint: str, model: Any, rows: Any) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        af.explain(model, rows[:2], verbose=0, **given)


@pytest.mark.parametrize("kind", [af.BasdaiRegressor, af.EarlyFusionClassifier])
def test_a_class_is_no_fitted_estimator(kind: Any, rows: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"got the class {kind.__name__} itself"):
        af.explain(kind, rows[:2])


# -- a single table ----------------------------------------------------------------------


def printed_table(e: Any) -> list[str]:
    """Return the lines of a printed explanation from its table on."""
    lines = repr(e).splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("row ")) :]


def test_an_index_shows_its_columns(rows: pd.DataFrame) -> None:
    table = rows[["esr", "bmi"]].assign(age=np.arange(90.0))
    model = af.BasfiRegressor("forest", interval_folds=0, random_state=0)
    e = af.explain(model.fit(table, np.linspace(1, 9, 90)), table[:4], units={"age": "years"})
    header = printed_table(e)[0].split()
    assert header[:3] == ["row", "base", "age"] and set(header[3:5]) == {"esr", "bmi"}
    axis = e.plot()
    assert axis.get_yticklabels()[0].get_text() == "age (years)"
    assert axis.get_xlabel() == "Effect on the predicted BASFI (0 to 10)"
    [axis] = e.plot_patient(1).axes
    assert "age = 1 years" in [label.get_text() for label in axis.get_yticklabels()]
    assert axis.get_xlabel() == "predicted BASFI (0 to 10)"
    assert "esr" in e._repr_html_()


def test_an_index_of_many_columns_sums_up_the_small_ones() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 12)), columns=[f"c{i}" for i in range(12)])
    model = af.BasdaiRegressor("linear", interval_folds=0, random_state=0)
    y = np.clip(4 + table["c7"].to_numpy(), 0, 10)
    e = af.explain(model.fit(table, y), table[:3])
    header, *lines = [line.split() for line in printed_table(e)[:4]]
    assert header[2] == "c7" and header[8:10] == ["(6", "others)"]
    for line in lines:
        assert sum(map(float, line[1:-1])) == pytest.approx(float(line[-1]), abs=0.005)


# -- checks and noise --------------------------------------------------------------------


def test_checks_of_log_odds_compare_log_odds(model: Any, rows: Any) -> None:
    X = rows[4:12]
    given: dict[str, Any] = {"background": rows, "output": "no", "link": "logit", "verbose": 0}
    e = af.explain(model, X, n_samples=4, n_background=4, **given)
    exchanged = af.explain(model, X.iloc[np.roll(np.arange(len(X)), 1)], **given)
    expected = np.corrcoef(e.values.ravel(), exchanged.values.ravel())[0, 1]
    assert e.check()["value"]["values belong to the patient"] == pytest.approx(expected)


def test_smoothgrad_goes_all_the_way_from_a_baseline_of_ones_own() -> None:
    image, baseline = torch.full((1, 8, 8), 0.5), torch.full((1, 8, 8), -1.0)
    found = attribute_image(
        lambda images: images.flatten(1).sum(dim=1), image, method="smoothgrad",
        baseline=baseline, noise=0.001,
    )  # fmt: skip
    assert found.total == pytest.approx(64 * 1.5, rel=0.03)


def test_many_modalities_have_details_that_agree_within_their_errors() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 16)), columns=[f"c{i}" for i in range(16)])
    y = (X["c0"] + X["c1"] * X["c2"] > 0).to_numpy().astype(int)
    parts = {f"m{i}": af.TabularEncoder(f"c{i}") for i in range(16)}
    e = af.explain(
        af.EarlyFusionClassifier(parts, **QUIET).fit(X, y), X[:3], background=X, verbose=0
    )
    before = e.details.game.n_decided
    own = e["m0"]
    assert e.details.game.n_decided - before < 100_000  # all coalitions would be 4 million
    gap = np.abs(own.values.sum(axis=1) - e.values[:, 0])
    assert 0 < gap.max() < 5 * e.errors[:, 0].max()
    checks = e.check()
    assert checks["passed"][[name for name in checks.index if name.endswith("add up")]].all()
    assert checks["limit"]["m0: parts add up"] == pytest.approx(5 * e.errors[:, 0].max())


@pytest.mark.parametrize("plot", ["bar", "dependence", "beeswarm"])
def test_long_names_are_not_cut(plot: str) -> None:
    rng = np.random.default_rng(0)
    names = tuple(
        f"serum_protein_concentration_measured_at_visit_{i:02d}_fasting" for i in range(20)
    )
    found = TableAttribution(
        rng.normal(size=(9, 20)), 0.0, rng.normal(size=(9, 20)), names, units={names[0]: "mg/L"}
    )
    axis = found.dependence(names[0], color_by=names[1]) if plot == "dependence" else None
    figure = (getattr(found, plot)() if axis is None else axis).figure
    figure.canvas.draw()
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            if not label.get_text():
                continue
            box = label.get_window_extent()
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    legend = figure.axes[0].get_legend()
    if plot == "bar":
        bars = figure.axes[0].patches
        assert not any(bar.get_window_extent().overlaps(legend.get_window_extent()) for bar in bars)


def test_long_work_shows_how_far_it_is_and_can_be_silent(
    model: Any, rows: Any, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("asfusion._progress._DELAY_S", 0.0)

    def told(verbose: int) -> str:
        given: dict[str, Any] = {"background": rows, "n_background": 2, "n_samples": 4}
        e = af.explain(model, rows[:3], output="no", verbose=verbose, **given)
        e._repr_html_()
        e.check()
        e.plot_curves("labs")
        e.to_html(tmp_path / "page.html")
        return str(capsys.readouterr().err)

    assert told(0) == ""
    shown = told(1)
    for work in ("Leaving modalities out", "Explaining notes", "Checking labs", "Drawing rows"):
        assert work in shown


# -- shap and captum, in the words of the library ----------------------------------------


def test_failures_of_shap_are_said_in_our_words(model: Any, rows: Any, monkeypatch: Any) -> None:
    import shap

    e = af.explain(model, rows[4:6], background=rows, algorithm="shap", verbose=0)
    ask = shap.KernelExplainer.shap_values

    def loud(self: Any, *args: Any, **kwargs: Any) -> Any:
        namespace: dict[str, Any] = {}
        code = "def warn():\n    import warnings\n    warnings.warn('few samples')"
        exec(compile(code, "/site-packages/shap/it.py", "exec"), namespace)
        namespace["warn"]()
        return ask(self, *args, **kwargs)

    monkeypatch.setattr(shap.KernelExplainer, "shap_values", loud)
    with pytest.warns(AsfusionWarning, match="algorithm: the package shap reports: few samples"):
        e["labs"]

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("crp of 41.25")

    monkeypatch.setattr(shap.KernelExplainer, "shap_values", fail)
    with pytest.raises(ConfigurationError, match="algorithm: expected the package shap.*ValueErr"):
        af.explain(model, rows[4:6], background=rows, algorithm="shap", verbose=0)["labs"]


def test_errors_of_what_shap_asks_stay_their_own() -> None:
    from asfusion.explanation._with_shap import ask_kernel_explainer

    def play(masks: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ask_kernel_explainer(play, 3, seed=0)


def test_a_baseline_that_shap_cannot_read_says_so(rows: Any, monkeypatch: Any) -> None:
    import shap

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("no")

    model = af.BasdaiRegressor("forest", interval_folds=0, random_state=0)
    model.fit(rows[["esr", "bmi"]], np.linspace(1, 9, len(rows)))
    monkeypatch.setattr(shap.TreeExplainer, "__call__", fail)
    with pytest.raises(ConfigurationError, match="algorithm: expected the package shap"):
        af.explain(model, rows[["esr", "bmi"]][:2], algorithm="shap")


def test_failures_of_captum_in_notes_are_said_in_our_words(monkeypatch: Any) -> None:
    from captum.attr import IntegratedGradients

    from asfusion.explanation.text import attribute_tokens

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(IntegratedGradients, "attribute", fail)
    with pytest.raises(ConfigurationError, match="captum can explain, got Runtime.*'shapley'"):
        attribute_tokens(lambda x: x.sum(dim=(1, 2)), torch.ones(1, 1, 2), [(0, 4)], "pain")
