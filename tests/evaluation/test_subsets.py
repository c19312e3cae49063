"""What absence costs: the same rows with every set of modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion.evaluation.report import Report
from asfusion.exceptions import ConfigurationError, InputError

PARTS = {"labs": ["crp", "esr"], "genes": ["rs1"], "noise": ["x"]}


def rows(seed: int = 0, n: int = 240) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["crp", "esr", "rs1", "x"])
    y = (X["crp"] + 0.7 * X["rs1"] + rng.normal(size=n) > 0).to_numpy().astype(int)
    X.loc[::6, "rs1"] = np.nan
    return X, y


@pytest.fixture(scope="module")
def fitted() -> Any:
    X, y = rows()
    encoders = {name: af.TabularEncoder(columns) for name, columns in PARTS.items()}
    return af.EarlyFusionClassifier(encoders, LogisticRegression(), verbose=0).fit(X, y)


def test_scores_are_those_of_emptied_columns(fitted: Any) -> None:
    X, y = rows(1)
    report = af.evaluate(fitted, X, y, subsets=True, n_bootstrap=200)
    assert [len(part.present) for part in report.subsets] == [3, 2, 2, 2, 1, 1, 1]
    whole = X["rs1"].notna().to_numpy()
    for part in report.subsets:
        assert part.n_rows == whole.sum()
        left = X[whole].copy()
        gone = [c for name, columns in PARTS.items() if name not in part.present for c in columns]
        left[gone] = np.nan
        expected = roc_auc_score(y[whole], fitted.predict_proba(left)[:, 1])
        assert part.score.estimate == pytest.approx(expected)
    assert report.subsets[0].cost is None
    costs = {part.present: part.cost for part in report.subsets[1:]}
    assert costs["genes", "noise"].low > 0.1  # without the labs
    assert costs["labs", "genes"].low < 0.02
    assert not any(part.spoilt_by for part in report.subsets)


def test_what_spoils_is_named() -> None:
    class Contrary(ClassifierMixin, BaseEstimator):
        """Believes noise as soon as it is there."""

        def __init__(self, fitted: Any) -> None:
            self.fitted = self.estimator_ = fitted
            self.classes_ = fitted.classes_

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict(self, X: Any) -> Any:
            return self.predict_proba(X).argmax(axis=1)

        def predict_proba(self, X: Any) -> Any:
            said = self.estimator_.predict_proba(X)
            wild = 1 / (1 + np.exp(-9 * X["x"].to_numpy()))
            return np.where(
                X["x"].isna().to_numpy()[:, None], said, np.column_stack([1 - wild, wild])
            )

    X, y = rows(1)
    encoders = {name: af.TabularEncoder(columns) for name, columns in PARTS.items()}
    model = af.EarlyFusionClassifier(encoders, LogisticRegression(), verbose=0).fit(*rows())
    report = af.evaluate(Contrary(model), X, y, subsets=True, n_bootstrap=200)
    spoilt = {part.present: part.spoilt_by for part in report.subsets}
    assert spoilt["labs", "genes"] == ("noise",) and spoilt["labs",] == ("noise",)
    assert "noise makes labs + genes clearly worse" in repr(report)
    fine = af.evaluate(model, X, y, subsets=True, n_bootstrap=50)
    assert (
        "More is nowhere clearly worse" in repr(fine) and "What absence costs" in fine._repr_html_()
    )


def test_a_report_with_sets_is_saved_and_drawn(fitted: Any, tmp_path: Any) -> None:
    X, y = rows(1)
    report = af.evaluate(fitted, X, y, subsets=[["labs"], ["genes", "labs"]], n_bootstrap=50)
    assert [part.present for part in report.subsets] == [
        ("labs", "genes", "noise"),
        ("labs",),
        ("labs", "genes"),
    ]
    again = Report.from_json(report.to_json())
    assert again.subsets == report.subsets
    axes = again.plot_subsets()
    assert [t.get_text() for t in axes.get_yticklabels()][1:] == ["labs", "labs + genes"]


def test_rows_that_patterns_hide_are_not_counted(fitted: Any) -> None:
    X, y = rows(1)
    X["rs1"] = X["rs1"].fillna(0.0)
    X.loc[:4, "rs1"] = np.nan  # five rows, which the number of the others would tell
    report = af.evaluate(fitted, X, y, subsets=True, n_bootstrap=50)
    assert {pattern.n_rows for pattern in report.patterns} == {None}
    assert {part.n_rows for part in report.subsets} == {None}
    assert "On the 10 or more rows that have all modalities" in repr(report)
    assert Report.from_json(report.to_json()).subsets == report.subsets


def test_sets_that_cannot_be_asked_about(fitted: Any) -> None:
    X, y = rows(1)
    for wanted, match in (
        ("labs", r"subsets: expected True, False or a list of lists.*got str"),
        ([["labs", "mri"]], "subsets: expected sets of 'labs'.*got 'mri'"),
        ([[]], "got an empty one"),
        ([1], r"subsets: expected True, False or a list of lists.*got int"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            af.evaluate(fitted, X, y, subsets=wanted, n_bootstrap=10)
    with pytest.raises(ConfigurationError, match="subsets: expected a model of at least 2 modal"):
        af.evaluate(y * 0.5, y=y, subsets=True, n_bootstrap=10)
    with pytest.raises(InputError, match="expected at least 10 rows and patients that have all"):
        af.evaluate(fitted, X.assign(rs1=np.nan), y, subsets=True, n_bootstrap=10)
    with pytest.raises(ConfigurationError, match="plot_subsets: expected a report with sets"):
        af.evaluate(fitted, X, y, n_bootstrap=10).plot_subsets()
    many = {f"m{i}": af.TabularEncoder(f"c{i}") for i in range(7)}
    wide = pd.DataFrame(
        np.random.default_rng(0).normal(size=(30, 7)), columns=[f"c{i}" for i in range(7)]
    )
    model = af.EarlyFusionClassifier(many, LogisticRegression(), verbose=0).fit(wide, y[:30])
    with pytest.raises(ConfigurationError, match="expected at most 6 modalities with True, got 7"):
        af.evaluate(model, wide, y[:30], subsets=True, n_bootstrap=10)


def test_what_is_better_when_low_costs_when_it_rises() -> None:
    X, _ = rows(2)
    target = X["crp"] + X["rs1"].fillna(0.0)
    encoders = {name: af.TabularEncoder(columns) for name, columns in PARTS.items()}
    model = af.EarlyFusionRegressor(encoders, verbose=0).fit(X, target.to_numpy())
    report = af.evaluate(model, X, target.to_numpy(), subsets=True, n_bootstrap=100)
    costs = {part.present: part.cost for part in report.subsets[1:]}
    assert costs["genes", "noise"].low > 0
