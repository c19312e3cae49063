"""Differential privacy: what is clipped, blurred, counted, refused and said."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion.estimators._private import private_steps
from asfusion.exceptions import (
    ConfigurationError,
    InputError,
    MissingDependencyError,
    TrainingError,
)
from asfusion.federated import DifferentialPrivacy, PrivacyStatement, Site, privacy_of, simulate
from asfusion.federated import privacy as accounts
from asfusion.federated._answers import answer
from asfusion.federated._union import PrivateRounds
from asfusion.federated.plan import make_plan
from asfusion.federated.privacy import NOT_COVERED
from asfusion.federated.update import Task, Update
from asfusion.training import private

pytest.importorskip("opacus", reason="accountants of the extra 'privacy'")

WORDS = ["stiff at night", "better by rest", "pain by night"]


def rows(n: int = 48, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return rows that lack cells and notes, classes, and patients of up to three rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    X = pd.DataFrame(
        {
            "crp": np.exp(rng.normal(size=n) + y),
            "esr": 20 + 5 * rng.normal(size=n),
            "note": rng.choice(WORDS, n),
        }
    )
    X.loc[::5, "note"] = None
    X.loc[1::10, ["crp", "esr"]] = np.nan
    return X, y, np.arange(n) // 3


def promise(**given: Any) -> DifferentialPrivacy:
    return DifferentialPrivacy(1.0, delta=1e-3, **{"epochs": 1, "sample_rate": 0.5, **given})


def model(privacy: Any = None, fusion: str = "concat", **given: Any) -> Any:
    encoders = {
        "labs": af.TabularEncoder(["crp", "esr"]),
        "notes": af.TextEncoder("note", backbone="tfidf"),
    }
    options = af.TrainingOptions(privacy=privacy or promise())
    usual = {"encoders": encoders, "training": options, "random_state": 0, "verbose": 0}
    return af.JointFusionClassifier(fusion=fusion, **{**usual, **given})


def steps_of(built: Any, X: Any, y: Any, groups: Any) -> Any:
    """Return the steps of a model before its first."""
    given = built._read_training(X, y, groups, None)
    found, modalities = built._plan(given)
    built._build()
    data = built._rows_to_learn(found, modalities)
    return private_steps(built, found, data, built._settings(len(found)))


@pytest.fixture(autouse=True)
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the noise of two steps at half of the rows be known: to find it takes seconds."""
    found = accounts._noise
    few = {(0.5, 2): 2.3}
    monkeypatch.setattr(accounts, "_noise", lambda *given: few.get(given[2:]) or found(*given))


@pytest.fixture
def everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all patients take part, and no noise."""
    monkeypatch.setattr(private, "_uniform", np.zeros)
    monkeypatch.setattr(private, "_normal", np.zeros)


# -- steps -------------------------------------------------------------------------------


@pytest.mark.usefixtures("everyone")
@pytest.mark.parametrize("fusion", ["concat", "gated", "attention"])
def test_a_sum_is_of_gradients_that_were_clipped_by_patient(fusion: str) -> None:
    X, y, groups = rows()
    steps = steps_of(model(fusion=fusion, modality_dropout=0.0), X, y, groups)
    with steps._on_device():
        found = steps.noisy_sum(1.0)
        names = list(steps.learned)
        expected = {name: torch.zeros_like(found[name]) for name in names}
        for patient in np.unique(groups):
            lost = 0
            for row in np.flatnonzero(groups == patient):
                loaded = steps.feed.load(torch.tensor([row]))
                inputs = {k: private._plain(v) for k, v in loaded.inputs.items()}
                inputs = {k: {n: t[0] for n, t in v.items()} for k, v in inputs.items()}
                there = {k: v[0] for k, v in loaded.present.items()}
                lost += steps._of_row(inputs, there, loaded.targets[0], loaded.weights[0])
            slopes = torch.autograd.grad(lost, list(steps.learned.values()))
            length = torch.sqrt(sum(slope.square().sum() for slope in slopes))
            for name, slope in zip(names, slopes, strict=True):
                expected[name] += slope * min(1.0, 1.0 / float(length))
    for name in names:
        torch.testing.assert_close(found[name], expected[name], msg=name)


@pytest.mark.usefixtures("everyone")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_patient_moves_a_sum_by_more_than_the_clip(seed: int) -> None:
    X, y, groups = rows(seed=seed)
    extreme = np.random.default_rng(seed).choice(groups)
    X.loc[groups == extreme, "crp"] = 1e9
    built = model(promise(clip=0.3), modality_dropout=0.0)
    steps = steps_of(built, X, y, groups)
    with steps._on_device():
        whole = steps.noisy_sum(1.0)
        steps.order, steps.starts = private._by_patient(groups)
        kept = np.setdiff1d(np.arange(steps.n_patients), extreme)
        rest = {name: torch.zeros_like(value) for name, value in whole.items()}
        for part in steps._parts(kept):
            for name, value in steps._clipped(part).items():
                rest[name] += value
    moved = sum(float((whole[name] - rest[name]).square().sum()) for name in whole) ** 0.5
    assert 0 < moved <= 0.3 + 1e-6


def test_a_patient_whose_gradient_is_not_finite_counts_nothing() -> None:
    values = torch.tensor([[1.0, 2.0], [torch.nan, 1.0]])
    factors = torch.tensor([0.5, torch.nan])
    found = private._weighted(values, factors, torch.isfinite(factors))
    assert found.tolist() == [0.5, 1.0]


def test_noise_is_as_large_as_promised_and_shared_by_sites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y, groups = rows()
    shared, uniform = promise(sites=4, clip=0.5), private._uniform
    steps = steps_of(model(shared), X, y, groups)
    nobody = {steps.n_patients: np.ones(steps.n_patients)}
    monkeypatch.setattr(private, "_uniform", lambda n: nobody.get(n, uniform(n)))
    noise = np.concatenate([value.ravel() for value in steps.one_sum().values()])
    assert noise.std() == pytest.approx(shared.noise_multiplier * 0.5 / 2, rel=0.05)
    drawn = private._normal(100_001)
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1.0, rel=0.02)
    assert np.mean(np.abs(drawn) < 1) == pytest.approx(0.683, abs=0.01)


def test_noise_is_not_that_of_the_seed_and_a_model_says_what_it_promised(tmp_path: Any) -> None:
    X, y, groups = rows()
    first, second = (model().fit(X, y, groups=groups) for _ in range(2))
    apart = first.network_.head.weight - second.network_.head.weight
    assert float(apart.detach().abs().max()) > 1e-6
    loaded = af.load(first.save(tmp_path / "model.asf"))
    assert loaded.training.privacy.get_params() == promise().get_params()
    text = repr(privacy_of(loaded))
    assert "for any one patient" in text
    assert all(gap in text for gap in NOT_COVERED)
    assert "loss" not in first.history_[0]
    assert 0 < privacy_of(loaded).epsilon <= 1.0
    alone = model().fit(X, y)
    assert "any one row (no groups were given)" in privacy_of(alone)._repr_html_()


# -- accounting --------------------------------------------------------------------------


def test_one_step_of_all_costs_what_the_gaussian_mechanism_does() -> None:
    from scipy.stats import norm

    privacy = promise(sample_rate=1.0)
    assert promise().spent(2) <= 1.0  # what stands above as known
    noise, epsilon = privacy.noise_multiplier, privacy.spent(1)
    half, ratio = 0.5 / noise, epsilon * noise
    delta = norm.cdf(half - ratio) - np.exp(epsilon) * norm.cdf(-half - ratio)
    assert delta == pytest.approx(1e-3, rel=0.1)
    assert 0.9 < epsilon <= 1.0
    assert privacy.spent(0) == 0.0 < privacy.spent(1, sites=1) < privacy.spent(1, sites=4)


def test_without_opacus_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(MissingDependencyError, match=r"asfusion\[privacy\]"):
        DifferentialPrivacy(1.234, delta=1e-3).noise_multiplier  # noqa: B018


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"delta": 0}, "delta"),
        ({"delta": 0.2}, "delta: expected less than one in 16 patients"),
        ({"clip": 0}, "clip"),
        ({"sample_rate": 0}, "sample_rate: expected more than 0"),
        ({"sample_rate": 1.1}, "sample_rate"),
        ({"sample_rate": 1e-9}, "sample_rate: expected at most 1000000 steps"),
        ({"epochs": 0}, "epochs"),
        ({"sites": 0}, "sites"),
    ],
)
def test_promises_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    X, y, groups = rows()
    with pytest.raises(ConfigurationError, match=why):
        model(promise().set_params(**given)).fit(X, y, groups=groups)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"early_stopping": True}, "without 'early_stopping'"),
        ({"threshold": "youden"}, "without 'threshold'"),
        ({"pretrain": "contrastive"}, "without 'pretrain'"),
        ({"max_epochs": 2}, "at most the 1 epochs that privacy pays for, got 2"),
        ({"training__mixup": 0.4}, "training without 'mixup'"),
        ({"training__average_weights": "ema"}, "training without 'average_weights'"),
        ({"training__unimodal_losses": "gradient_blend"}, "training without 'unimodal_losses'"),
        ({"training__privacy": 8.0}, "DifferentialPrivacy, got float"),
        ({"loss": "focal"}, "asks what is in its batch"),
        ({"fusion": "mixture"}, "no loss over the rows of a batch"),
        ({"fusion": "evidential"}, "asks what is in its batch"),
    ],
)
def test_what_lets_rows_see_each_other_is_refused_by_name(given: dict[str, Any], why: str) -> None:
    X, y, groups = rows()
    if "pretrain" in given:
        y = np.where(np.arange(len(y)) < 4, np.nan, y)
    with pytest.raises(ConfigurationError, match=why):
        model().set_params(**given).fit(X, y, groups=groups)


def test_steps_that_lead_nowhere_are_told() -> None:
    X, y, groups = rows()
    with pytest.raises(TrainingError, match="weights are not finite"):
        model(learning_rate=1e300).fit(X, y, groups=groups)


def test_batch_norms_parts_and_other_targets_are_refused_by_name() -> None:
    X, y, groups = rows()
    labs = {"labs": af.TabularEncoder(["crp", "esr"], network="resnet")}
    with pytest.raises(ConfigurationError, match="batch norms: 'encoders.labs.backbone"):
        model(encoders=labs).fit(X, y, groups=groups)
    late = af.LateFusionClassifier({"labs": labs["labs"]}, {"labs": model()}, verbose=0)
    with pytest.raises(ConfigurationError, match="a part of another"):
        late.fit(X, y, groups=groups)
    with pytest.raises(InputError, match="privacy_of: expected a fitted model"):
        privacy_of(late)
    cox = af.JointFusionSurvival(
        {"labs": af.TabularEncoder(["crp", "esr"])},
        training=af.TrainingOptions(privacy=promise()),
        verbose=0,
    )
    times = pd.DataFrame({"time": 1.0 + np.arange(len(X)), "event": y == 1})
    with pytest.raises(ConfigurationError, match="got Survival, which compares rows"):
        cox.fit(X, times)
    with pytest.raises(ConfigurationError, match="personal: expected none with privacy"):
        Site(model(), X, y, personal="head")


# -- across sites ------------------------------------------------------------------------


@pytest.mark.parametrize("sites", [1, 2])
def test_sites_take_private_steps_together(sites: int) -> None:
    X, y, groups = rows()
    privacy = promise(sites=sites)
    where = groups % 2
    run = simulate(
        model(privacy), X, y, where, groups=groups, rounds=privacy.n_steps, holdout=0.0, verbose=0
    )
    said = repr(run)
    assert "Differential privacy: epsilon = " in said
    assert NOT_COVERED[0] in said
    assert ("sums over all 2 sites alone" in said) == (sites == 2)
    assert privacy_of(run.model_).epsilon <= 1.0
    assert all(np.isnan(list(one.loss.values())).all() for one in run.rounds_)
    with pytest.raises(ConfigurationError, match=f"rounds: expected {privacy.n_steps}"):
        simulate(model(privacy), X, y, where, rounds=7)
    with pytest.raises(ConfigurationError, match="strategy: expected None with privacy"):
        simulate(
            model(privacy), X, y, where, rounds=privacy.n_steps, strategy=af.federated.FedAvg()
        )


@pytest.fixture(scope="module")
def shared() -> Any:
    X, y, groups = rows()
    privacy = promise(sites=2)
    sites = {
        name: Site(model(privacy), X[part::2], y[part::2], groups=groups[part::2])
        for part, name in enumerate("ab")
    }
    plan = make_plan(model(privacy), {name: site.summary() for name, site in sites.items()})
    return sites, plan


def test_a_sum_without_a_site_is_not_used(shared: Any) -> None:
    sites, plan = shared
    weights = plan.weights()
    steps = PrivateRounds(plan, list(sites), 2).start()
    ones = {name: Update({k: a + 1 for k, a in weights.items()}, 20) for name in sites}
    same = steps.aggregate(weights, {"a": ones["a"]})
    assert steps.refused_ == {"a": "the sum lacks a site's noise"}
    assert all((same[name] == weights[name]).all() for name in weights)
    moved = steps.aggregate(weights, ones)
    assert all((moved[name] >= weights[name]).all() for name in weights)
    part = Update({"head.bias": weights["head.bias"]}, 20)
    steps.aggregate(weights, {"a": ones["a"], "b": part})
    assert steps.refused_["b"] == "weights of another model"
    with pytest.raises(ConfigurationError, match="sites: expected the 2 of"):
        PrivateRounds(plan, ["a"], 2)


def test_a_site_pays_no_more_than_was_promised_also_after_a_restart(shared: Any) -> None:
    sites, plan = shared
    site, memory = sites["a"], {}
    task = Task(plan.weights(), 0, 1, 1.0, plan.to_bytes().decode()).to_bytes()
    sent = Update.from_bytes(answer(site, "round", task, memory))
    assert set(sent.weights) == set(plan.weights())
    answer(site, "round", task, memory)
    site.n_private_steps = 0  # a new process has only what is remembered
    with pytest.raises(InputError, match="at most the 2 steps that privacy pays for"):
        answer(site, "round", task, memory)


def test_a_statement_shows_itself() -> None:
    shown = PrivacyStatement(promise().account(1, by_patient=None))._repr_html_()
    assert "row, at sites that gave no groups" in shown
