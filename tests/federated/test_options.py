"""Options of sites and strategies, films by a frozen network, and what the guard goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion.exceptions import ConfigurationError
from asfusion.federated import (
    Coordinator,
    FedAvg,
    FedProx,
    Site,
    Task,
    Update,
    make_plan,
    simulate,
)
from asfusion.federated._answers import answer
from tests.federated.test_federated import model, rows


@pytest.fixture(scope="module")
def pair() -> tuple[Any, dict[str, Site]]:
    X, y = rows(120)
    sites = {name: Site(model(), X[part::2], y[part::2]) for part, name in enumerate("ab")}
    plan = make_plan(model(), {name: site.summary() for name, site in sites.items()})
    return plan, {name: site.join(plan) for name, site in sites.items()}


def moved(update: Update, start: Any) -> float:
    return sum(float(np.square(a - start[k]).sum()) for k, a in update.weights.items())


def test_fedprox_keeps_weights_near_where_the_round_began(pair: Any) -> None:
    plan, sites = pair
    start = plan.weights()
    free = sites["a"].fit_round(start, epochs=4)
    held = sites["a"].fit_round(start, epochs=4, proximal=1.0)
    assert moved(held, start) < 0.9 * moved(free, start)
    assert sites["a"].fit_round(start, epochs=4).to_bytes() == free.to_bytes()  # no hook is left
    task = Task(start, 0, 1, 1.0, plan.digest, FedProx(mu=0.5).proximal)
    assert Task.from_bytes(task.to_bytes()).proximal == 0.5
    with pytest.raises(ConfigurationError, match="mu: expected"):
        _ = FedProx(mu=-1.0).proximal


def test_sites_are_told_how_strongly_to_pull(pair: Any) -> None:
    asked = []

    def exchange(kind: str, messages: Any) -> Any:
        sites = pair[1]
        if kind == "summary":
            return {name: sites[name].summary().to_bytes() for name in messages}
        asked.extend(Task.from_bytes(data).proximal for data in messages.values())
        return {name: answer(sites[name], kind, data, {}) for name, data in messages.items()}

    Coordinator(model(), exchange, rounds=1, epochs=1, strategy=FedProx(mu=5.0)).run(["a", "b"])
    assert asked == [5.0] * 2  # none holds rows out, so none is asked once more


def test_numbers_without_an_axis_keep_their_shape() -> None:
    update = Update({"norm.num_batches_tracked": np.asarray(3)}, 10)
    assert Update.from_bytes(update.to_bytes()).weights["norm.num_batches_tracked"].shape == ()


def test_a_site_may_scale_its_tables_by_itself() -> None:
    X, y = rows(160)
    there = X[1::2].assign(crp=X["crp"][1::2] * 3)
    sites = {
        "here": Site(model(), X[::2], y[::2]),
        "there": Site(model(), there, y[1::2], own_scaling=True),
    }
    plan = make_plan(model(), {name: site.summary() for name, site in sites.items()})
    weights = plan.weights()
    own = sites["there"].join(plan).model_of(weights)
    shared = plan.model_of(weights)
    scaled, plain = (m.encoders_["labs"].transform(there)[:, 0] for m in (own, shared))
    assert abs(np.nanmedian(scaled)) < abs(np.nanmedian(plain))
    assert own.encoders_["labs"].n_features == shared.encoders_["labs"].n_features
    sites["there"].fit_round(weights, epochs=1)


# -- films -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    X, y = rows(48)
    paths = []
    for n, label in enumerate(y):
        grey = rng.integers(0, 90, (32, 32)) + 120 * label
        path = Path(folder) / f"{n}.png"
        Image.fromarray(grey.astype(np.uint8)).save(path)
        paths.append(str(path))
    return X.assign(film=paths), y


def frozen(**settings: Any) -> Any:
    return af.ImageEncoder("film", backbone="efficientnet_lite0", size=32, **settings)


@pytest.mark.parametrize("family", ["joint", "early"])
def test_films_by_a_frozen_network_are_learned_from(family: str, films: Any) -> None:
    X, y = films
    encoders = {"films": frozen(), "labs": af.TabularEncoder(["crp"])}
    kinds = {"joint": af.JointFusionClassifier, "early": af.EarlyFusionClassifier}
    made = kinds[family](encoders, verbose=0)
    run = simulate(made, X, y, np.arange(48) % 2, rounds=1, holdout=0.0, verbose=0)
    assert roc_auc_score(y, run.model_.predict_proba(X)[:, 1]) > 0.7
    assert max(run.rounds_[0].n_bytes.values()) < 1_000_000  # no backbone among them
    told = run.plan_.total.modalities["films"].to_state()
    assert told == {"n_rows": 48, "columns": {}, "terms": {}}


def test_a_finder_that_learns_is_refused(films: Any) -> None:
    X, y = films
    found = frozen(region=af.anatomy.RegionFinder("masks"))
    with pytest.raises(ConfigurationError, match="region: expected None or the path of a saved"):
        Site(af.JointFusionClassifier({"films": found}, verbose=0), X, y).summary()


# -- the guard ---------------------------------------------------------------------------


def site_updates(labels: str, prior: float) -> tuple[Any, dict[str, Site]]:
    X, y = rows(400, seed=5)
    rng = np.random.default_rng(0)
    shares = dict(zip("abcd", (prior, 0.5, 0.5, 1 - prior), strict=True))
    sites, left = {}, {k: list(rng.permutation(np.flatnonzero(y == k))) for k in (0, 1)}
    for name, share in shares.items():
        n_ill = int(70 * share)
        own = [left[1].pop() for _ in range(n_ill)] + [left[0].pop() for _ in range(70 - n_ill)]
        sites[name] = Site(model(), X.iloc[own], 1 - y[own] if name in labels else y[own])
    plan = make_plan(model(), {name: site.summary() for name, site in sites.items()})
    return plan, {name: site.join(plan) for name, site in sites.items()}


@pytest.mark.parametrize("flipped", ["", "c"])
def test_the_guard_tells_flipped_labels_from_another_prevalence(flipped: str) -> None:
    plan, sites = site_updates(flipped, 0.3)
    weights, strategy = plan.weights(), FedAvg().start()
    strategy.watch(plan.outlook())
    for number in range(2):
        updates = {k: one.fit_round(weights, round=number) for k, one in sites.items()}
        weights = strategy.aggregate(weights, updates)
    assert list(strategy.refused_) == list(flipped)
