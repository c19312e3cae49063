"""Audits see what leaks, say so where they cannot, and keep to halves of patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier

import asfusion as af
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated import PrivacyAudit, privacy_audit
from asfusion.federated.audit import _found, _likelier, _overfitted, _Pool


def rows(n: int = 80, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    crp = rng.normal(size=n) + y
    return pd.DataFrame({"crp": crp, "esr": rng.normal(size=n)}), y


class Constant(ClassifierMixin, BaseEstimator):
    """Says the same of every row."""

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


X, Y = rows()
IN, OUT = (X[:40], Y[:40]), (X[40:], Y[40:])
HEART = KNeighborsClassifier(1)  # knows each of its rows


@pytest.fixture(scope="module")
def audit() -> PrivacyAudit:
    model = Constant().fit(*IN)
    return privacy_audit(model, *IN, *OUT, n_shadows=6, control=HEART, verbose=0)


def test_what_learns_nothing_betrays_nothing_and_what_knows_by_heart_does(
    audit: PrivacyAudit,
) -> None:
    assert audit.auc == pytest.approx(0.5)
    assert audit.control_auc > 0.65
    assert audit.sees_leaks
    assert "of what that betrays" in audit.verdict
    assert audit.to_frame().shape == (4, 7)
    assert "hangs on a few" in repr(audit)
    assert "LiRA" in audit._repr_html_()


def test_a_report_and_its_card_tell_what_the_audit_found(audit: PrivacyAudit) -> None:
    report = af.evaluate([0.1, 0.4, 0.6, 0.8], y=[0, 1, 0, 1], privacy_audit=audit, n_bootstrap=20)
    for text in (repr(report), report._repr_html_(), str(report.model_card()).replace("\\", "")):
        assert audit.verdict in text
    assert type(report).from_json(report.to_json()).privacy == audit.verdict
    forged = report.to_json().replace(f'"privacy": "{audit.verdict}"', '"privacy": 3')
    with pytest.raises(InputError, match=r"Report\.from_json"):
        type(report).from_json(forged)
    with pytest.raises(ConfigurationError, match="privacy_audit: expected what"):
        af.evaluate([0.1, 0.8], y=[0, 1], privacy_audit="fine", n_bootstrap=20)


def test_an_audit_that_sees_nothing_says_so(audit: PrivacyAudit) -> None:
    blind = privacy_audit(
        Constant().fit(*IN), *IN, *OUT, n_shadows=4, control=Constant(), verbose=0
    )
    assert not blind.sees_leaks
    assert "says nothing of the model" in blind.verdict
    alone = PrivacyAudit(audit.attacks_[:2], 6, 0.95, {"epsilon": 1.0, "delta": 1e-3, "n_steps": 2,
        "noise_multiplier": 1.0, "sites": 1, "by_patient": True})  # fmt: skip
    assert "no control" in alone.verdict
    assert "Differential privacy: epsilon = 1.00" in repr(alone)


@pytest.mark.parametrize("family", ["Early", "Joint", "Late"])
def test_all_families_are_audited(family: str) -> None:
    kind = getattr(af, f"{family}FusionClassifier")
    quick = {"max_epochs": 2} if family == "Joint" else {}
    model = kind({"labs": af.TabularEncoder(["crp", "esr"])}, verbose=0, **quick).fit(*IN)
    found = privacy_audit(model, *IN, *OUT, n_shadows=4, control=HEART, verbose=0)
    assert 0.4 < found.auc < 1
    leaky = _overfitted(model)
    assert leaky.training.dropout == 0 == leaky.modality_dropout
    assert list(leaky.encoders) == ["labs"]


def test_halves_are_of_whole_patients_and_each_row_is_learned_from_as_often_as_not() -> None:
    patients = np.arange(40) // 2
    pool = _Pool(*IN, *OUT, patients, patients + 100)
    halves = pool.halves(3, 0)
    learned = np.stack([np.isin(np.arange(80), half) for half in halves])
    assert (learned.sum(axis=0) == 3).all()
    assert (learned[:, ::2] == learned[:, 1::2]).all()
    assert all(len(half) in range(36, 45) for half in halves)


def test_likelihoods_find_who_was_learned_from() -> None:
    rng = np.random.default_rng(0)
    member = rng.random(300) < 0.5
    learned = np.tile([[True], [False]], (4, 300))
    hardness = rng.normal(size=300) * 5  # hides membership from a threshold, not from shadows
    shadows = hardness + learned + 0.3 * rng.normal(size=learned.shape)
    score = _likelier(hardness + member, shadows, learned)
    assert ((score > 0) == member).mean() > 0.8


def test_what_is_found_counts_strictly_above_the_others() -> None:
    is_in = np.arange(400) < 200
    score = np.where(is_in, 1.0, 0.0)
    assert _found(score, is_in, 0.01) == 1.0
    score[200:203] = 2.0
    assert _found(score, is_in, 0.01) == 0.0  # three of 200 are more than 1 %
    score[202] = 0.0
    assert _found(score, is_in, 0.01) == 1.0


@pytest.mark.parametrize(
    ("changed", "error", "why"),
    [
        ({"n_shadows": 5}, ConfigurationError, "n_shadows: expected an even number"),
        ({"n_shadows": 2}, ConfigurationError, "n_shadows"),
        ({"X_in": X[:10], "y_in": Y[:10]}, InputError, "at least 20 rows each, got 10"),
        ({"y_in": Y[:39]}, InputError, "y_in: expected 40 classes"),
        ({"groups_in": np.arange(40)}, InputError, "expected both or none"),
        ({"groups_in": np.arange(40), "groups_out": np.arange(40)}, InputError, "both learned"),
        ({"X_out": X[40:][["esr"]]}, InputError, "crp"),
        ({"model": af.EarlyFusionRegressor()}, ConfigurationError, "predict_proba"),
    ],
)
def test_what_cannot_be_audited_is_said(changed: Any, error: type, why: str) -> None:
    given = {"model": HEART.fit(*IN), "X_in": X[:40], "y_in": Y[:40], "X_out": X[40:]}
    given |= {"y_out": Y[40:], "n_shadows": 4, "verbose": 0}
    with pytest.raises(error, match=why):
        privacy_audit(**{**given, **changed})
