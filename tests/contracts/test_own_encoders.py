"""An encoder of the user's own works wherever ours do: fused, compared, searched, saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

import asfusion as af
from asfusion.exceptions import BundleError
from tests.contracts.own_encoders import OWN

N_ROWS = 40
FAST: dict[str, Any] = {"verbose": 0, "random_state": 0}
every_own = pytest.mark.parametrize("own", OWN.values(), ids=OWN)


def network(encoders: Any = "auto") -> Any:
    return af.JointFusionClassifier(encoders, max_epochs=2, **FAST)


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"crp": rng.gamma(2, 4, N_ROWS)})
    X["hla"] = rng.choice(["B27;B07", "B27;B44", "B07;B44", "B08;B35"], N_ROWS)
    y = X["hla"].str.contains("B27").to_numpy().astype(int)
    X.loc[::7, "hla"] = None
    return X, y


def parts(own: Any) -> dict[str, Any]:
    return {"hla": clone(own), "labs": af.TabularEncoder("crp")}


def families(own: Any) -> dict[str, Any]:
    options = {"network": network(), **FAST}
    return {
        "early": af.EarlyFusionClassifier(parts(own), **options),
        "early forest": af.EarlyFusionClassifier(parts(own), RandomForestClassifier(9), **options),
        "joint": network(parts(own)),
        "late": af.LateFusionClassifier(parts(own), **options),
        "late forest": af.LateFusionClassifier(parts(own), RandomForestClassifier(9), **options),
    }


@every_own
@pytest.mark.parametrize("family", ["early", "early forest", "joint", "late", "late forest"])
def test_it_is_fused_and_saved(own: Any, family: str, rows: Any, tmp_path: Any) -> None:
    X, y = rows
    model = families(own)[family].fit(X, y)
    expected = model.predict_proba(X)
    assert np.isfinite(expected).all()
    path = model.save(tmp_path / "model.asf")
    with pytest.raises(BundleError, match=r"trusted=\[YourClass\]"):
        af.load(path)
    np.testing.assert_array_equal(af.load(path, trusted=[type(own)]).predict_proba(X), expected)


@every_own
def test_it_stands_in_a_search_and_a_report(own: Any, rows: Any) -> None:
    X, y = rows
    search = GridSearchCV(network(parts(own)), {"encoders__hla__d_out": [4, 8]}, cv=2).fit(X, y)
    assert search.best_params_["encoders__hla__d_out"] in (4, 8)
    report = af.evaluate(search.best_estimator_, X, y, n_bootstrap=20)
    assert np.isfinite(report.scores["auc"].estimate)
    result = af.cross_validate(network(parts(own)), X, y, cv=2, n_bootstrap=20, verbose=0)
    assert np.isfinite(result.report.scores["auc"].estimate)


@every_own
def test_it_is_compared(own: Any, rows: Any, tmp_path: Any, capsys: Any) -> None:
    X, y = rows
    boards = [
        af.compare(X, y, parts(own), network=network(), cv=2, n_bootstrap=20,
                   checkpoint=tmp_path / "kept", verbose=1)
        for _ in range(2)
    ]  # fmt: skip
    assert "fits are there already" in capsys.readouterr().out
    names = {"early", "joint: concat", "late: mean", "hla", "plain: hla", "plain: mean"}
    assert names <= set(boards[0].predictions)
    for name, predicted in boards[0].predictions.items():
        assert np.isfinite(predicted).all()
        np.testing.assert_array_equal(predicted, boards[1].predictions[name])
    # Features, and numbers that a network would read, are told apart by a linear model.
    score = boards[0].to_frame().loc["plain: hla", "auc"]
    assert score > 0.8


@every_own
def test_it_is_not_among_the_tables(own: Any, rows: Any) -> None:
    X, y = rows
    two = {"hla": clone(own), "again": clone(own)}
    board = af.compare(X, y, two, families=["early"], network=network(), cv=2, n_bootstrap=20,
                       verbose=0)  # fmt: skip
    assert not any(name.startswith("tables") for name in board.predictions)
