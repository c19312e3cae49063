"""``"drop"`` in place of an encoder: the modality is as if nobody had named it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import asfusion as af
from asfusion.exceptions import ConfigurationError

N_ROWS = 60
NETWORK = af.JointFusionClassifier(max_epochs=2)
FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "early": (af.EarlyFusionClassifier, {}),
    "late": (af.LateFusionClassifier, {}),
    "joint": (af.JointFusionClassifier, {"max_epochs": 2}),
    "auto": (af.AutoFusionClassifier, {"members": ["late mean"], "cv": 2}),
    "labels": (af.EarlyFusionMultilabel, {}),
    "survival": (af.LateFusionSurvival, {}),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


def rows(n: int = N_ROWS) -> tuple[pd.DataFrame, np.ndarray]:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(n, 3)), columns=["crp", "bmi", "age"])
    return X, (X["crp"] + X["bmi"] > 0).to_numpy().astype(int)


def encoders(**others: Any) -> dict[str, Any]:
    two = {"labs": af.TabularEncoder("crp", d_out=4), "body": af.TabularEncoder("bmi", d_out=4)}
    return two | {"person": af.TabularEncoder("age", d_out=4)} | others


def make(family: str, given: Any) -> Any:
    kind, options = FAMILIES[family]
    return kind(given, verbose=0, random_state=0, **options)


def targets(family: str, y: np.ndarray) -> Any:
    if family == "labels":
        return np.column_stack([y, 1 - y])
    if family == "survival":
        return pd.DataFrame({"event": y.astype(bool), "time": 1.0 + np.arange(len(y)) % 7})
    return y


def said(model: Any, X: Any) -> Any:
    return (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(X)


@every_family
def test_a_dropped_modality_is_as_if_nobody_had_named_it(family: str, tmp_path: Any) -> None:
    X, y = rows()
    y = targets(family, y)
    without = make(family, {k: v for k, v in encoders().items() if k != "person"}).fit(X, y)
    model = make(family, encoders()).set_params(encoders__person="drop")
    assert clone(model).get_params()["encoders__person"] == "drop"
    model.fit(X, y)
    assert list(model._modality_encoders()) == ["labs", "body"]
    assert list(model.feature_names_in_) == ["crp", "bmi"]
    rest = X.drop(columns="age")  # which nobody asks for
    np.testing.assert_array_equal(said(model, rest), said(without, rest))
    again = af.load(model.save(tmp_path / "model.asf"))
    assert again.get_params()["encoders__person"] == "drop"
    np.testing.assert_array_equal(said(again, rest), said(model, rest))


def test_it_can_be_searched_and_put_back() -> None:
    X, y = rows()
    grid = {"encoders__body": [af.TabularEncoder("bmi"), "drop"]}
    search = GridSearchCV(make("early", encoders()), grid, cv=2, error_score="raise").fit(X, y)
    assert isinstance(search.best_params_["encoders__body"], af.Encoder)
    model = make("early", encoders(person="drop")).set_params(
        encoders__person=af.TabularEncoder("age")
    )
    assert "person" in model.fit(X, y).encoders_


def test_boards_folds_and_explanations_do_not_know_it() -> None:
    X, y = rows()
    given = encoders(person="drop")
    board = af.compare(X, y, given, families=["early"], cv=2, n_bootstrap=10, verbose=0)
    assert {"labs", "body"} <= set(board.predictions) and "person" not in board.predictions
    result = af.cross_validate(make("early", given), X, y, cv=2, n_bootstrap=10, verbose=0)
    assert np.isfinite(result.report.scores["auc"].estimate)
    explained = af.explain(make("early", given).fit(X, y), X.head(2), verbose=0)
    assert "person" not in repr(explained) and "person" not in explained._repr_html_()
    assert "age" not in str(af.look(X, y, encoders=given).modalities)


def test_a_model_of_a_dropped_modality_waits_for_it() -> None:
    X, y = rows()
    models = {"person": "forest"}
    model = af.LateFusionClassifier(encoders(person="drop"), models, verbose=0).fit(X, y)
    assert list(model.models_) == ["labs", "body"]


@every_family
def test_somebody_must_be_left(family: str) -> None:
    X, y = rows()
    model = make(family, dict.fromkeys(("labs", "body"), "drop"))
    words = "encoders: expected at least one encoder, got 'drop' for each of 'labs', 'body'"
    with pytest.raises(ConfigurationError, match=words):
        model.fit(X, targets(family, y))


@pytest.mark.parametrize("word", ["passthrough", "Drop", None, 0])
def test_another_word_is_refused(word: Any) -> None:
    X, y = rows()
    words = rf"encoders\['person'\]: .* or 'drop' to leave the modality out, got {word!r}"
    with pytest.raises(ConfigurationError, match=words):
        make("joint", encoders(person=word)).fit(X, y)
    with pytest.raises(ConfigurationError, match=words):
        af.compare(X, y, encoders(person=word), verbose=0)


def test_what_is_dropped_has_no_parameters() -> None:
    model = make("early", encoders(person="drop"))
    words = r"encoders\['person'\]: expected an encoder to set 'd_out' in, got 'drop'. Set enc"
    with pytest.raises(ConfigurationError, match=words):
        model.set_params(encoders__person__d_out=4)
