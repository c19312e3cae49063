"""An exported file answers as the model that it was made from."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier

import asfusion as af
from asfusion._frames import Frame
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    InputError,
    UnfittedError,
)
from asfusion.serving._feeds import pieces_of
from asfusion.serving._quantise import changed_by
from asfusion.serving._schema import Content
from asfusion.serving.exporter import _in_eight_bits

from .rows import QUIET, encoders, exported, table, targets

pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")

X = table()
Y = targets(X)
LIMIT = 1e-6

Make = Callable[[], Any]


def early(given: Any = None, note: Any = "tfidf", **more: Any) -> Any:
    return af.EarlyFusionClassifier(encoders(note), given, **more, **QUIET)


def late(combine: Any) -> Any:
    return af.LateFusionClassifier(encoders(), combine=combine, **QUIET)


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(15, random_state=0)


def pipeline() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), forest())


def boosted() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=5)


def adaboost() -> Any:
    from sklearn.ensemble import AdaBoostRegressor

    return AdaBoostRegressor(n_estimators=5, random_state=0)


CASES: dict[str, tuple[Make, str]] = {
    "early, linear": (partial(early, threshold="youden"), "binary"),
    "early, linear, three classes": (partial(early, scale="columns"), "multiclass"),
    "early, terms": (partial(early, note="terms"), "binary"),
    "early, forest of terms": (lambda: early(forest(), "terms"), "multiclass"),
    "early, pipeline": (lambda: early(pipeline(), None), "binary"),
    "early, XGBoost": (lambda: early(boosted(), None), "multiclass"),
    "early, boosted": (lambda: early("boosted", None), "multiclass"),
    "early, grades": (
        lambda: early(None, None, target=af.targets.Grades(["low", "some", "high"])), "grades",
    ),
    "early, numbers": (lambda: af.EarlyFusionRegressor(encoders(), **QUIET), "numbers"),
    "early, AdaBoost of numbers": (
        lambda: af.EarlyFusionRegressor(encoders(None), adaboost(), **QUIET), "numbers",
    ),
    "late, mean": (partial(late, "mean"), "multiclass"),
    "late, vote": (partial(late, "vote"), "binary"),
    "late, product": (partial(late, "product"), "binary"),
    "late, stacking": (partial(late, "stacking"), "binary"),
    "late, product of numbers": (
        lambda: af.LateFusionRegressor(encoders(), combine="product", **QUIET), "numbers",
    ),
    "automatic": (
        lambda: af.AutoFusionClassifier(
            encoders(None), ["late mean", "late product", "early linear"], cv=2, **QUIET
        ),
        "binary",
    ),
}  # fmt: skip


def answers(model: Any, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        ask = model.predict_proba if hasattr(model, "classes_") else model.predict
        return (ask if getattr(model, "classes_", None) is not None else model.predict)(rows)


def lacking(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each of their modalities gone in turn, and with all of them gone."""
    labs, person = ["crp", "esr", "seen", "grade"], ["age", "sex", "b27"]
    parts = [rows]
    for gone in (labs, person, ["note"], [*labs, "note"], list(rows.columns)):
        parts.append(rows.assign(**dict.fromkeys(gone, None)))
    whole = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return whole.infer_objects()


@pytest.mark.parametrize("name", CASES)
def test_file_answers_as_the_model_does(name: str, tmp_path: Path) -> None:
    make, kind = CASES[name]
    model = make().fit(X, Y[kind])
    served = exported(model, tmp_path)
    rows = lacking(X.head(12))
    expected, got = answers(model, rows), answers(served, rows)
    scale = 1.0 if kind != "numbers" else np.abs(expected).max()
    assert np.abs(expected - got).max() / scale <= LIMIT
    with pytest.warns(AsfusionWarning, match=r"\d+ row\(s\) have none of the fitted"):
        called = served.predict(rows)
    with pytest.warns(AsfusionWarning, match="none of the fitted"):
        own = model.predict(rows)
    if kind == "numbers":
        np.testing.assert_allclose(called, own, atol=LIMIT * scale)
    else:
        assert called.dtype == own.dtype
        assert called.tolist() == own.tolist()
    assert served.schema["checked"]["subsets"] == 2 ** len(served.schema["modalities"]) - 1


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """A model of tables and notes, its file, and where that is."""
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    model = early().fit(X, Y["binary"])
    assert af.export(model, file, X, units={"crp": "mg/L"}) == file
    return model, af.serving.OnnxModel(file), file


def test_rows_may_be_a_table_of_any_kind_or_dicts(asked: Any) -> None:
    model, served, _ = asked
    rows = X.head(9)
    expected = model.predict_proba(rows)
    dicts = json.loads(rows.to_json(orient="records", date_format="iso"))
    for row in dicts:
        row["seen"] = row["seen"] and row["seen"][:10]
    plain = rows.assign(grade=rows["grade"].astype(object))
    for given in (rows, pl.from_pandas(plain), dicts, [{**row, "more": 1} for row in dicts]):
        np.testing.assert_allclose(served.predict_proba(given), expected, atol=LIMIT)
    alone = [served.predict_proba([row])[0] for row in dicts]
    np.testing.assert_allclose(alone, expected, atol=LIMIT)


def test_model_of_an_array_answers_for_arrays(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = af.EarlyFusionClassifier(**QUIET).fit(rows, rows[:, 0] > 0)
    served = exported(model, tmp_path)
    np.testing.assert_allclose(served.predict_proba(rows), model.predict_proba(rows), atol=LIMIT)
    assert served.predict(rows).tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda rows: rows.drop(columns="crp"), "EarlyFusionClassifier: expected the column 'crp'"),
        (lambda rows: rows.assign(crp="high"), "Column 'crp': expected number cells as in fit"),
        (lambda rows: rows.assign(crp=np.inf), "Column 'crp': expected finite numbers"),
        (lambda rows: rows.assign(b27=2.0), "Column 'b27', row 0: expected true, false, 0 or 1"),
        (lambda rows: rows.assign(seen="2020-02-31"), "Column 'seen', row 0: expected a date"),
        (lambda rows: rows.assign(note=3.0), "column 'note', row 0: expected text, got float"),
        (lambda rows: rows.head(0), "expected at least 1 row and 1 column"),
    ],
)
def test_errors_are_those_of_the_model(asked: Any, change: Any, error: str) -> None:
    model, served, _ = asked
    rows = change(X.head(3).copy())
    said = []
    for one in (model, served):
        with pytest.raises(InputError, match=error) as caught:
            one.predict_proba(rows)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{}], "expected at least 1 row and 1 column"),
        ([], "expected at least 1 row and 1 column"),
        ({"crp": 1.0}, "expected a DataFrame or a list of dicts, got one dict"),
        ([[1.0]], "expected a list of dicts, got list at position 0"),
        ([{1: 2.0}], "expected names of columns as text, at position 0"),
        ([{"crp": "secret"}], "Give what is absent as a column of missing cells"),
        ("secret", "expected a pandas or polars DataFrame"),
    ],
)
def test_other_rows_are_refused(asked: Any, rows: Any, error: str) -> None:
    with pytest.raises((InputError, ColumnError), match=error) as caught:
        asked[1].predict(rows)
    assert "secret" not in str(caught.value)


def test_schema_says_what_is_read(asked: Any) -> None:
    model, served, _ = asked
    told = served.schema
    (crp,) = [cell for cell in told["numbers"] if cell["column"] == "crp"]
    assert crp["unit"] == "mg/L"
    assert crp["range"][0] < crp["median"] < crp["range"][1]
    assert "median" in crp["missing"]
    assert told["threshold"] == model.threshold_
    assert told["checked"]["largest_difference"] <= LIMIT
    assert {"asfusion", "onnxruntime"} <= set(told["versions"])
    assert "not a medical device" in told["card"]
    assert len(served.digest) == 64
    json.dumps(told, allow_nan=False)


def test_numbers_have_no_probabilities(tmp_path: Path) -> None:
    model = af.EarlyFusionRegressor(encoders(None), **QUIET).fit(X, Y["numbers"][:, 0])
    served = exported(model, tmp_path)
    assert served.predict(X.head(2)).shape == (2,)
    with pytest.raises(ConfigurationError, match="expected a classifier, got a model of numbers"):
        served.predict_proba(X)


def test_answers_need_neither_torch_nor_scikit_learn(asked: Any) -> None:
    code = (
        "import sys; from asfusion.serving import OnnxModel; "
        f"model = OnnxModel({str(asked[2])!r}); "
        "row = dict.fromkeys(model.schema['columns']) | {'crp': 4.0, 'note': 'back pain'}; "
        "print(float(model.predict_proba([row])[0, 1])); "
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'polars', 'xgboost', 'transformers', "
        "'matplotlib', 'onnx', 'skl2onnx'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    row = X.head(1).astype(object).assign(**dict.fromkeys(X.columns, None))
    expected = asked[0].predict_proba(row.assign(crp=4.0, note="back pain"))[0, 1]
    assert abs(float(said) - expected) <= LIMIT


# -- around a model -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("binary", "sigmoid"),
        ("binary", "isotonic"),
        ("multiclass", "temperature"),
        ("multiclass", "sigmoid"),
        ("multiclass", "isotonic"),
        ("multiclass", "prevalence"),
    ],
)
def test_recalibrated_probabilities_are_in_the_file(
    kind: str, method: Any, plain_models: Any, tmp_path: Path
) -> None:
    wanted = {"yes": 0.2, "no": 0.8} if kind == "binary" else {0: 0.5, 1: 0.3, 2: 0.2}
    model = af.RecalibratedClassifier(
        plain_models[kind], method, prevalence=wanted, prefit=True
    ).fit(X, Y[kind])
    served = exported(model, tmp_path)
    rows = lacking(X.head(12))
    np.testing.assert_allclose(answers(served, rows), answers(model, rows), atol=LIMIT)
    assert served.predict(X).tolist() == model.predict(X).tolist()
    assert "RecalibratedClassifier around EarlyFusionClassifier" in served.schema["card"]
    with pytest.raises(ConfigurationError, match="predict_set: expected the file of a Conformal"):
        served.predict_set(X)


@pytest.mark.parametrize(
    ("kind", "method", "per_class"),
    [("binary", "lac", False), ("multiclass", "lac", True), ("multiclass", "aps", False)],
)
def test_sets_are_in_the_file(
    kind: str, method: Any, per_class: bool, plain_models: Any, tmp_path: Path
) -> None:
    model = af.ConformalClassifier(
        plain_models[kind], 0.7, method=method, per_class=per_class, prefit=True
    ).fit(X, Y[kind])
    served = exported(model, tmp_path)
    assert served.predict_set(X).tolist() == model.predict_set(X).tolist()
    assert served.predict(X).tolist() == model.predict(X).tolist()
    assert served.coverage == 0.7


@pytest.fixture(scope="module")
def plain_models() -> Any:
    return {
        "binary": early(note=None, threshold="youden").fit(X, Y["binary"]),
        "multiclass": early(note=None).fit(X, Y["multiclass"]),
    }


# -- networks --------------------------------------------------------------------------


def test_network_answers_from_its_file(tmp_path: Path) -> None:
    """One network here: each takes seconds. `benchmarks/latency.py` compares all of them."""
    films = np.fromiter(
        [np.full((40, 36), 5 * n, np.uint8) if n % 2 else None for n in range(len(X))], object
    )
    rows = X.assign(film=films)
    model = af.JointFusionClassifier(
        {"labs": encoders()["labs"], "film": af.ImageEncoder("film", size=32)},
        max_epochs=1,
        **QUIET,
    ).fit(rows.head(16), Y["binary"][:16])
    served = exported(model, tmp_path)
    some = rows.tail(9)
    np.testing.assert_allclose(answers(served, some), answers(model, some), atol=LIMIT)
    assert served.schema["checked"]["subsets"] == 3
    learned, labels = rows.head(16), Y["binary"][:16]
    raw = _in_eight_bits((tmp_path / "model.onnx").read_bytes(), Frame.read(learned), labels)
    assert len(raw) < 0.6 * (tmp_path / "model.onnx").stat().st_size
    (tmp_path / "small.onnx").write_bytes(raw)
    small = af.serving.OnnxModel(tmp_path / "small.onnx")
    told = small.schema["quantised"]
    apart = np.abs(answers(small, learned) - answers(served, learned)).max(axis=1)
    assert told["largest_change"] == pytest.approx(apart.max())
    assert 0 < told["mean_change"] < 0.1
    assert abs(told["auc_change"]) < 0.2
    assert told["words"] in small.schema["card"]


def test_word_pieces_are_those_of_the_encoder() -> None:
    encoder = af.TextEncoder("note", max_tokens=8, max_windows=3, vocab_size=300).fit(X)
    plain = encoder._reading()
    content = Content(
        "note",
        "pieces",
        ("note",),
        tokenizer=plain["tokenizer"],
        max_tokens=plain["max_tokens"],
        max_windows=plain["max_windows"],
    )
    prepared = encoder.prepare(X)
    got = pieces_of(content, Frame.read(X), None)
    length = got["ids"].shape[2]
    assert got["present"].tolist() == prepared.present.tolist()
    assert got["ids"].tolist() == prepared.tensors["ids"][:, :, :length].tolist()
    assert got["mask"].tolist() == prepared.tensors["mask"][:, :, :length].tolist()
    assert not prepared.tensors["mask"][:, :, length:].any()


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "error"),
    [
        (
            lambda: early(DummyClassifier(), None),
            "binary",
            "expected a model that skl2onnx or onnxmltools",
        ),
        (
            lambda: af.EarlyFusionClassifier(
                {"labs": af.TabularEncoder(["crp", "esr"], scale="rank_within_row")}, **QUIET
            ),
            "binary",
            "modality 'labs': expected a table in its own units",
        ),
        (
            lambda: af.EarlyFusionRegressor(encoders(None), target=af.targets.Counts(), **QUIET),
            "counts",
            "expected a target of classes, grades or numbers, got Counts",
        ),
        (lambda: with_intervals(), "counts", "expected an early, joint, late or automatic fusion"),
        (
            lambda: af.ConformalClassifier(early(None, None), 0.5, by="sex", random_state=0),
            "binary",
            "ConformalClassifier expected by=None, got a column",
        ),
        (
            lambda: af.RecalibratedClassifier(
                early(None, None, target=af.targets.Grades()), random_state=0, cv=2
            ),
            "multiclass",
            "expected a target of classes, got Grades",
        ),
    ],
)
def test_what_cannot_be_written_is_named(make: Any, kind: str, error: str, tmp_path: Path) -> None:
    model = make().fit(X, Y[kind])
    with pytest.raises(ConfigurationError, match=error):
        af.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def with_intervals() -> Any:
    inner = af.EarlyFusionRegressor(encoders(None), **QUIET)
    return af.ConformalRegressor(inner, 0.5, random_state=0)


def test_how_far_a_file_may_be_apart_is_the_users_to_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from asfusion.serving import exporter

    honest = exporter.largest_difference

    def far(*answers: Any, **options: Any) -> float:
        return float(honest(*answers, **options)) + 3e-6

    monkeypatch.setattr(exporter, "largest_difference", far)
    model = early(None, None).fit(X, Y["binary"])
    with pytest.raises(ConfigurationError, match="within 1e-06 .* with tolerance=1e-05"):
        af.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    told = af.serving.OnnxModel(af.export(model, tmp_path / "m.onnx", tolerance=1e-5)).schema
    assert told["checked"]["limit"] == 1e-5 and told["checked"]["largest_difference"] > 1e-6
    with pytest.raises(ConfigurationError, match="tolerance: expected a number in"):
        af.export(model, tmp_path / "model.onnx", tolerance=0.5)


def test_unfitted_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfittedError, match="expected a fitted one"):
        af.export(early(), tmp_path / "model.onnx")


def test_views_are_refused(tmp_path: Path) -> None:
    model = af.JointFusionClassifier(encoders(None), max_epochs=1, test_time_views=2, **QUIET)
    with pytest.raises(ConfigurationError, match="expected test_time_views=1, got 2"):
        af.export(model.fit(X, Y["binary"]), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"quantize": "dynamic", "X": X}, "quantize: expected"),
        ({"quantize": "static"}, "expected at least 8 training rows as X, .* got none"),
        (
            {"quantize": "static", "X": X.head(3)},
            "expected at least 8 training rows as X, .* got 3",
        ),
        ({"quantize": "static", "X": X}, "expected a network in the model, got none"),
    ],
)
def test_quantising_needs_a_network_and_rows(
    options: dict[str, Any], error: str, asked: Any, tmp_path: Path
) -> None:
    with pytest.raises((ConfigurationError, InputError), match=error):
        af.export(asked[0], tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_labels_go_with_the_rows_of_quantising(asked: Any) -> None:
    with pytest.raises(InputError, match="y: expected a label for each of 48 rows"):
        changed_by(asked[1], asked[1], X, ["no"])


def test_units_are_of_columns(asked: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="units: expected a text for some of"):
        af.export(asked[0], tmp_path / "model.onnx", units={"other": "mg/L"})


@pytest.mark.parametrize("package", ["onnx", "skl2onnx"])
def test_missing_packages_are_named(
    package: str, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(af.exceptions.MissingDependencyError, match=f"'{package}'"):
        af.export(asked[0], tmp_path / "model.onnx")
