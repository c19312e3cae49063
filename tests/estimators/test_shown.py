"""Every fusion estimator draws itself, whatever it holds, and a network its training."""

import os
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

import asfusion as af
from asfusion.estimators.views.values import value_text
from asfusion.exceptions import ConfigurationError
from asfusion.show.graph import Graph, Node, as_html
from asfusion.show.theme import DARK, INKS, LIGHT, PAPERS, variables
from tests.browser import NO_BROWSER, find_chromium, screenshot
from tests.contracts.own_encoders import OWN

FAMILIES = ("Early", "Joint", "Late", "Auto")
TARGETS = ("Classifier", "Regressor", "Survival", "Multilabel")
EVERY = [getattr(af, f"{family}Fusion{target}") for family in FAMILIES for target in TARGETS]
SECRET = "kyphosis-of-nobody"
CANNOT = "cannot be drawn"
FOLDER = os.environ.get("SCREENSHOTS")  # where to leave pictures for somebody to look at


class Tags(HTMLParser):
    """The elements of a page, and whether each is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("img", "br", "meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def words(page):
    page = page.replace("<wbr>", "")
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S).split())


def check_inert(page):
    tags = Tags(page)
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in tags.seen}
    assert not any(name.startswith("on") for _, attrs in tags.seen for name in attrs)
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert CANNOT not in page
    return tags


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 40
    X = pd.DataFrame(
        {
            "crp": rng.normal(size=n),
            "esr": rng.normal(size=n),
            "hla": rng.choice(["B27;B7", "B8", "B27"], n),
            "note": rng.choice([f"{SECRET} at night", "improves with rest"], n),
        }
    )
    return X, (X["crp"] > 0).astype(int).to_numpy()


def encoders():
    return {
        "labs": af.TabularEncoder(["crp", "esr"], d_out=8),
        "own": OWN["own network"],
        "note": af.TextEncoder("note", backbone="tfidf"),
    }


@pytest.fixture(scope="module")
def fitted(rows):
    X, y = rows
    few = {"verbose": 0, "random_state": 0}
    network = af.JointFusionClassifier(max_epochs=2)
    early = af.EarlyFusionClassifier(
        {"labs": af.TabularEncoder(["crp", "esr"])}, RandomForestClassifier(3, max_depth=2), **few
    )
    models = {
        "joint": af.JointFusionClassifier(
            encoders(), "gated", max_epochs=3, early_stopping=True, **few
        ),
        "auto": af.JointFusionClassifier(**few, max_epochs=2),
        "late": af.LateFusionClassifier(encoders(), network=network, **few),
        "early": early,
        "recalibrated": af.RecalibratedClassifier(early, cv=2, random_state=0),
    }
    fitted = {name: model.fit(X, y) for name, model in models.items()}
    conformal = af.ConformalClassifier(FrozenEstimator(fitted["early"]), coverage=0.8)
    return fitted | {"conformal": conformal.fit(X, y)}


@pytest.mark.parametrize("family", EVERY, ids=lambda family: family.__name__)
def test_every_family_is_drawn_before_it_is_fitted(family):
    for given in ("auto", encoders()):
        model = family(given, verbose=0)
        page = model._repr_html_()
        check_inert(page)
        told = words(page)
        assert "not fitted" in told and "Prediction" in told
        assert "1 of" in told, "verbose alone was set"
        assert given == "auto" or "crp, esr" in told
        assert str(model) == repr(model)


def test_what_is_dropped_is_not_drawn():
    told = words(af.LateFusionClassifier(encoders() | {"note": "drop"})._repr_html_())
    assert "crp, esr" in told and "tfidf" not in told and "str" not in told.split()


def test_a_fitted_graph_says_what_was_learned_and_chosen(fitted):
    pages = {name: model._repr_html_() for name, model in fitted.items()}
    for page in pages.values():
        check_inert(page)
        assert SECRET not in page, "a word of a note"
    joint = words(pages["joint"])
    counted = sum(p.numel() for p in fitted["joint"].network_.parameters())
    told = re.findall(r"([\d,]+) weights", joint)
    assert sum(int(n.replace(",", "")) for n in told) == counted
    assert "Gated" in joint and "d_out=8" in joint and "frozen" in joint
    late = words(pages["late"])
    assert "LearningAlleles" in late and "has no say" in late and "labs weighs 33 %" in late
    assert "max_depth=2" in words(pages["early"]) and "random_state" in words(pages["early"])
    assert "3 members learned" in words(pages["recalibrated"])
    assert "temperature recalibration" in words(pages["recalibrated"])
    assert "80 % of patients" in words(pages["conformal"])


def test_print_says_what_auto_chose(fitted):
    told = str(fitted["auto"])
    assert told.startswith(repr(fitted["auto"]))
    assert "early_stopping: no" in told and "batch_size: 128" in told
    assert "table: 'crp', 'esr'" in told
    assert "combine: mean" in str(fitted["late"])
    assert "Chosen" not in repr(fitted["auto"])


def test_a_screen_reader_and_a_keyboard_find_their_way(fitted):
    tags = check_inert(fitted["joint"]._repr_html_())
    named = [attrs for _, attrs in tags.seen if attrs.get("role") == "group"]
    assert "JointFusionClassifier, fitted: labs and own and note" in named[0]["aria-label"]
    count = [tag for tag, _ in tags.seen].count
    assert count("summary") == count("details") >= 4  # which the keyboard opens
    assert {attrs["scope"] for tag, attrs in tags.seen if tag == "th"} == {"row"}


class Awkward:
    """Whatever it is asked, it raises."""

    def __getattribute__(self, name):
        if name == "__class__":
            return Awkward
        raise RuntimeError(name)


class OddEncoder(af.Encoder):
    def __init__(self, column, table=None):
        self.column = column
        self.table = table

    fit = prepare = build = lambda self, *args, **options: self

    @property
    def is_frozen(self):
        raise RuntimeError("not yet")

    def _network_in_words(self):
        raise RuntimeError("never")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"a": 3, "b": None, 4: "text"}, {}),
        ({"a": OddEncoder("<b>", pd.DataFrame({"x": [SECRET]}))}, {"verbose": None}),
        ({"a": Awkward()}, {}),
        ([1, 2], {}),
        (None, {"target": "ordinal"}),
        ("wrong", {"random_state": np.random.default_rng(0)}),
        ({}, {"verbose": np.arange(9)}),
    ],
)
@pytest.mark.parametrize("family", [f for f in EVERY if f.__name__.endswith("Classifier")])
def test_odd_parameters_are_drawn_too(family, given, options):
    own = {"Joint": "fusion", "Late": "combine", "Early": "estimator", "Auto": "members"}
    odd = own[family.__name__.removesuffix("FusionClassifier")]
    for value in ("gatd", 7, Awkward(), {"labs": 3}, [None]):
        page = family(given, **{odd: value}, **options)._repr_html_()
        check_inert(page)
        assert SECRET not in page and "<b>" not in page
        assert "Prediction" in page


def test_a_wrapper_of_anything_is_drawn():
    for inner in (RandomForestClassifier(7), None, "x", Awkward(), af.EarlyFusionClassifier()):
        page = af.RecalibratedClassifier(inner)._repr_html_()
        check_inert(page)
        assert "recalibration" in page
    assert "n_estimators=7" in words(
        af.RecalibratedClassifier(RandomForestClassifier(7))._repr_html_()
    )


def test_scikit_learn_s_display_decides():
    model = af.EarlyFusionClassifier()
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
    assert "af-graph" in model._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("/data/ward 7/model.pt", "a path"),
        ("C:\\ward\\x", "a path"),
        ("x" * 99, "…"),
        (np.zeros((3, 4)), "ndarray of 3 x 4"),
        (pd.DataFrame({"a": [SECRET]}), "DataFrame of 1 x 1"),
        (list(range(99)), "99 in all"),
        ({"a": {"b": {"c": {"d": 1}}}}, "1 items"),
        (RandomForestClassifier(5), "RandomForestClassifier(n_estimators=5)"),
        (np.int64(840343081), "840343081"),
        (len, "len"),
        (True, "True"),
    ],
)
def test_values_are_short_and_tell_of_nobody(value, told):
    shown = value_text(value)
    assert told in shown and len(shown) < 120 and SECRET not in shown


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_ink_reads_on_every_paper(theme):
    for ink in INKS:
        for paper in PAPERS:
            light, dark = sorted((luminance(theme[ink]), luminance(theme[paper])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_a_graph_uses_colours_of_the_theme_alone():
    page = as_html(Graph("g", "fitted", [[[Node("n")]]]))
    rest = page.replace(variables(".af-graph"), "")
    assert not re.search(r"#[0-9a-f]{3,6}|rgb|: (white|black)", rest)
    used = set(re.findall(r"var\(--af-(\w+)\)", rest))
    assert used <= set(LIGHT) == set(DARK)


# -- training ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_training_is_drawn_with_the_epoch_that_was_kept(fitted):
    (axes,) = fitted["joint"].plot_training()
    history = fitted["joint"].history_
    best = int(np.argmin([record["validation_loss"] for record in history])) + 1
    assert f"kept: epoch {best}" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert f"{len(history)} epochs" in axes.get_title()
    assert "last" in axes.get_title()
    (alone,) = fitted["auto"].plot_training()
    assert alone.get_title() == "2 epochs, the last one kept"
    (network,) = fitted["late"].plot_training()
    assert network.get_title().startswith("own: 2 epochs")


def test_training_is_refused_where_there_is_none(rows, fitted):
    X, y = rows
    linear = af.LateFusionClassifier({"labs": af.TabularEncoder("crp")}, verbose=0).fit(X, y)
    with pytest.raises(ConfigurationError, match="with a network that was trained"):
        linear.plot_training()
    with pytest.raises(NotFittedError):
        af.JointFusionClassifier().plot_training()
    with pytest.raises(ConfigurationError, match="expected 1 matplotlib Axes"):
        fitted["joint"].plot_training(axes=[1, 2])


# -- in a browser --------------------------------------------------------------------------


@pytest.mark.skipif(FOLDER is None, reason="name a folder in $SCREENSHOTS")
@pytest.mark.skipif(find_chromium() is None, reason=NO_BROWSER)
@pytest.mark.parametrize("width", [390, 700, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_graphs(fitted, tmp_path, width, scheme):
    body = "<hr>".join(model._repr_html_() for model in fitted.values())
    page = tmp_path / "graphs.html"
    page.write_text(f'<meta charset="utf-8"><body>{body}</body>')
    shot = screenshot(page, f"{FOLDER}/graphs-{width}-{scheme}.png", tmp_path, width, scheme)
    assert shot[0] >= width
