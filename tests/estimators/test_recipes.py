"""Recipes and ensembles through the estimators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import asfusion as af
from asfusion.exceptions import ConfigurationError
from asfusion.targets._pools import majority

TRAINING = af.TrainingOptions(
    mixup=0.2,
    schedule="one_cycle",
    head_first=1,
    layer_decay=0.7,
    progressive_resizing=True,
    average_weights="swa",
)
RECIPE = {"loss": "focal", "label_smoothing": 0.05, "training": TRAINING}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Forty films, bright in the middle where y is 1."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    y = np.arange(40) % 2
    paths = []
    for row in range(40):
        pixels = rng.integers(0, 60, (48, 48))
        if y[row]:
            pixels[16:32, 16:32] += 120
        paths.append(str(folder / f"{row}.png"))
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return pd.DataFrame({"film": paths, "age": rng.normal(50, 9, 40)}), y


def encoders(**options):
    return {
        "film": af.ImageEncoder("film", size=48, **options),
        "age": af.TabularEncoder(["age"]),
    }


def joint(**params):
    return af.JointFusionClassifier(
        encoders(), verbose=0, random_state=0, **{"max_epochs": 8, "learning_rate": 3e-3, **params}
    )


def test_a_recipe_trains_saves_and_loads(films, tmp_path):
    X, y = films
    model = joint(**RECIPE).fit(X, y)
    assert len(model.history_) == 8
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert repr(again.training) == repr(TRAINING)
    assert again.get_params()["training__average_weights"] == "swa"


def test_weights_of_rows_hold_for_every_recipe(films):
    X, y = films
    weights = np.ones(40)
    weights[30:] = 0
    left = joint(**RECIPE).fit(X, y, sample_weight=weights).predict_proba(X)
    right = joint(**RECIPE).fit(X.head(30), y[:30]).predict_proba(X)
    np.testing.assert_array_equal(left, right)
    plain = joint(**RECIPE).fit(X, y).predict_proba(X)[:, 1].mean()
    heavy = joint(**RECIPE, class_weight={0: 1.0, 1: 20.0}).fit(X, y).predict_proba(X)[:, 1].mean()
    assert heavy > plain + 0.05


def test_regressors_have_recipes_without_the_loss_of_classes(films):
    X, y = films
    model = af.JointFusionRegressor(
        encoders(), max_epochs=3, training=TRAINING, verbose=0, random_state=0
    ).fit(X, y.astype(float))
    assert np.isfinite(model.predict(X)).all()
    own = model.get_params(deep=False)
    assert not {name for name in own if "smoothing" in name or "loss" in name}


def test_views_are_averaged_row_by_row(films, tmp_path):
    X, y = films
    model = joint(max_epochs=3).fit(X, y)
    one = model.predict_proba(X)
    viewed = af.load(model.save(tmp_path / "model.asf")).set_params(test_time_views=4)
    four = viewed.predict_proba(X)
    assert np.abs(four - one).max() > 1e-5
    np.testing.assert_allclose(viewed.predict_proba(X.iloc[[7]]), four[7:8], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(viewed.predict_proba(X), four)
    explained = af.explain(viewed, X.head(3), output=1, verbose=0)
    np.testing.assert_allclose(explained.predictions, four[:3, 1], atol=1e-6)
    still = clone(model).set_params(encoders__film__augment=False).fit(X, y)
    same = still.predict_proba(X)
    np.testing.assert_allclose(
        still.set_params(test_time_views=3).predict_proba(X), same, atol=1e-6
    )


def test_unusable_recipes_are_named(films):
    X, y = films
    with pytest.raises(ConfigurationError, match="early_stopping: expected 'auto' or False with"):
        joint(training=TRAINING, early_stopping=True).fit(X, y)
    with pytest.raises(ConfigurationError, match="test_time_views: expected an integer"):
        joint(test_time_views=0).fit(X, y)


# -- ensembles -------------------------------------------------------------------------


def test_votes_by_hand():
    decisions = np.array(
        [
            [[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]],  # two of three against a sure one
            [[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]],  # one of each: the mean decides
            [[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]],  # a single vote
        ]
    )
    present = np.array([[True, True, True], [True, True, False], [True, False, False]])
    voted = majority(decisions, present)
    np.testing.assert_allclose(voted.sum(axis=1), 1.0)
    assert voted.argmax(axis=1).tolist() == [1, 0, 1]
    assert voted[0, 1] == pytest.approx((2 / 3 + 0.125 * 1.3 / 3) / 1.125)


def test_an_ensemble_of_networks_is_a_late_fusion_of_one_column(films, tmp_path):
    X, y = films
    networks = {
        "compact": af.ImageEncoder("film", size=48),
        "resnet": af.ImageEncoder("film", size=48, backbone="efficientnet_lite0"),
        "again": af.ImageEncoder("film", size=48, norm="group"),
    }
    network = af.JointFusionClassifier(max_epochs=6, learning_rate=3e-3)
    model = af.LateFusionClassifier(
        networks, combine="vote", network=network, verbose=0, random_state=0
    ).fit(X, y)
    each = np.stack([part.predict(X) for part in model.models_.values()])
    majority_of_three = (each.sum(axis=0) >= 2).astype(int)
    np.testing.assert_array_equal(model.predict(X), majority_of_three)
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert np.isfinite(cross_val_score(clone(model), X, y, cv=2)).all()


def test_numbers_have_no_majority(films):
    X, y = films
    model = af.LateFusionRegressor(encoders(), combine="vote", verbose=0)
    with pytest.raises(ConfigurationError, match="combine: expected one for a target without"):
        model.fit(X, y.astype(float))
