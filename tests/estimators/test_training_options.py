"""Training options: described apart, searched, copied and saved with the estimator."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import asfusion as af
from asfusion.exceptions import ConfigurationError
from asfusion.training.settings import TrainingSettings

QUIET = {"max_epochs": 2, "verbose": 0, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(30, 3))
    return X, (X[:, 0] > 0).astype(int)


def test_only_what_was_set_is_shown():
    assert repr(af.TrainingOptions()) == "TrainingOptions()"
    options = af.TrainingOptions(mixup=0.2, patience=10, schedule="one_cycle")
    assert repr(options) == "TrainingOptions(mixup=0.2, schedule='one_cycle')"
    assert f"training={options!r}" in repr(af.JointFusionClassifier(training=options))


def test_values_are_stored_as_they_are_and_checked_in_fit(rows):
    options = af.TrainingOptions(mixup="much", patience=3)
    assert options.get_params()["mixup"] == "much"
    with pytest.raises(ConfigurationError, match="mixup: expected a number"):
        af.JointFusionClassifier(training=options, **QUIET).fit(*rows)


def test_unknown_words_are_refused_and_nothing_is_set():
    options = af.TrainingOptions()
    message = "TrainingOptions: no hyperparameter 'mixpu'.* Did you mean 'mixup'"
    with pytest.raises(ConfigurationError, match=message):
        options.set_params(patience=3, mixpu=0.2)
    assert repr(options) == "TrainingOptions()"
    with pytest.raises(ConfigurationError, match=message):
        af.JointFusionClassifier().set_params(training__mixpu=0.2)
    with pytest.raises(ConfigurationError, match=message):
        af.TrainingOptions(patience=3, mixpu=0.2)


def test_options_are_there_to_be_set_also_where_none_were_given():
    model, other = af.JointFusionClassifier(), af.JointFusionRegressor()
    assert model.training is None
    model.set_params(training__mixup=0.2, max_epochs=3)
    assert (repr(model.training), model.max_epochs) == ("TrainingOptions(mixup=0.2)", 3)
    assert other.training is None
    model.set_params(training=None, training__patience=3)
    assert repr(model.training) == "TrainingOptions(patience=3)"
    late = af.LateFusionClassifier(network=af.JointFusionClassifier())
    assert late.set_params(network__training__mixup=0.1).network.training.mixup == 0.1


def test_copies_have_options_of_their_own():
    model = af.JointFusionClassifier(training=af.TrainingOptions(mixup=0.2))
    copy = clone(model).set_params(training__mixup=0.4)
    assert (model.training.mixup, copy.training.mixup) == (0.2, 0.4)
    assert repr(clone(model.training)) == repr(model.training)
    assert model.get_params()["training__mixup"] == 0.2


def test_options_are_searched_over(rows):
    grid = {"training__mixup": [0.0, 0.4], "training__weight_decay": [0.01, 1.0]}
    search = GridSearchCV(af.JointFusionClassifier(**QUIET), grid, cv=2).fit(*rows)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.training.mixup == search.best_params_["training__mixup"]
    assert search.estimator.training is None


def test_options_change_what_is_learned(rows):
    plain, *others = (
        af.JointFusionClassifier(training=options, **QUIET).fit(*rows).predict_proba(rows[0])
        for options in (
            None,
            af.TrainingOptions(),
            af.TrainingOptions(dropout=0.5),
            af.TrainingOptions(weight_decay=5.0),
        )
    )
    assert [np.array_equal(plain, other) for other in others] == [True, False, False]


def test_a_run_is_told_every_option_by_its_default():
    signature = inspect.signature(af.TrainingOptions).parameters
    told = {field.name: field.default for field in fields(TrainingSettings)}
    assert {name: told[name] for name in signature} == {
        name: parameter.default for name, parameter in signature.items()
    }


def test_regressors_and_classifiers_turn_the_same_five():
    flat = ["max_epochs", "batch_size", "learning_rate", "modality_dropout", "early_stopping"]
    for cls in (af.JointFusionClassifier, af.JointFusionRegressor):
        names = list(inspect.signature(cls).parameters)
        assert names[2 : names.index("training")] == flat
