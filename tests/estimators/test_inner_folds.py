"""Estimators of scikit-learn that split their rows themselves keep patients whole."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, VotingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline, make_union

import asfusion as af
from asfusion.estimators._inner_folds import group_options, inner_folds_by_patient, repeated
from asfusion.estimators._wrapped import fit_copy
from asfusion.targets.ordered import OrderedClassifier
from asfusion.targets.per_label import PerLabel

PATIENTS = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 3))
X = np.random.default_rng(1).normal(size=(36, 3))
Y = X[:, 0]


class Sees(LassoCV):
    """Notes the folds that it is fitted with."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(self.cv)
        return super().fit(X, y, sample_weight)


def fit_by_patient(model, y=Y, **options):
    Sees.seen.clear()
    with inner_folds_by_patient(model, PATIENTS, n_rows=36, seed=0, **options):
        model.fit(X, y)
    return list(Sees.seen)


def keeps_patients_whole(folds):
    return not any(set(PATIENTS[learn]) & set(PATIENTS[judge]) for learn, judge in folds)


def all_cv(value, seen=None):
    """Return every `cv` of an estimator and of what is fitted within it."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, list | tuple):
        return [cv for part in value for cv in all_cv(part, seen)]
    if not hasattr(value, "get_params"):
        return []
    own = [value.cv] if isinstance(value, Sees) else []
    return own + [cv for part in vars(value).values() for cv in all_cv(part, seen)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline(model),
        lambda model: make_pipeline(SelectFromModel(model), Ridge()),
        lambda model: make_pipeline(make_union(SelectFromModel(model)), Ridge()),
        lambda model: make_pipeline(
            ColumnTransformer([("a", SelectFromModel(model), [0, 1])]), Ridge()
        ),
        lambda model: VotingRegressor([("a", model), ("b", Ridge())]),
        lambda model: TransformedTargetRegressor(make_pipeline(model)),
        lambda model: MultiOutputRegressor(model),
    ],
)
@pytest.mark.parametrize(("cv", "n_folds"), [(3, 3), (None, 5)])
def test_folds_are_of_patients_and_the_number_stands_there_again(wrap, cv, n_folds):
    model = wrap(Sees(cv=cv))
    y = np.column_stack([Y, -Y]) if isinstance(model, MultiOutputRegressor) else Y
    for folds in fit_by_patient(model, y):
        assert len(folds) == n_folds and keeps_patients_whole(folds)
    assert Sees.seen and set(all_cv(model)) == {cv}


def test_number_stands_there_again_after_an_error():
    model = Sees(cv=3)
    with (
        pytest.raises(ZeroDivisionError),
        inner_folds_by_patient(model, PATIENTS, n_rows=36, seed=0),
    ):
        assert keeps_patients_whole(model.cv)
        1 / 0  # noqa: B018
    assert model.cv == 3


def test_what_sees_a_part_of_the_rows_splits_as_it_did():
    assert fit_by_patient(GridSearchCV(Sees(cv=2), {"eps": [0.01]}, cv=3)) == [2] * 4
    model = GridSearchCV(Sees(cv=2), {"eps": [0.01]}, cv=3)
    with inner_folds_by_patient(model, PATIENTS, n_rows=36, seed=0):
        assert len(model.cv) == 3 and keeps_patients_whole(model.cv)


class TakesGroups(RegressorMixin, BaseEstimator):
    """Keeps patients together itself."""

    def __init__(self, cv=3):
        self.cv = cv

    def fit(self, X, y, groups=None):
        return self


@pytest.mark.parametrize(
    "model",
    [Sees(cv=KFold(3)), RidgeCV(), RegressorChain(Ridge()), TakesGroups(), Ridge(), "passthrough"],
    ids=lambda model: type(model).__name__,
)
def test_what_is_no_number_of_folds_stays(model):
    before = getattr(model, "cv", None)
    with inner_folds_by_patient(model, PATIENTS, n_rows=36, seed=0):
        assert getattr(model, "cv", None) is before


def test_an_encoder_of_targets_that_takes_a_number_only_is_left_alone():
    """Folds in its place are an error to versions of scikit-learn before 1.9."""

    class Older(TakesGroups):
        _parameter_constraints: ClassVar[dict] = {"cv": ["integer"]}

        def fit(self, X, y):
            return self

    with inner_folds_by_patient(model := Older(), PATIENTS, n_rows=36, seed=0):
        assert model.cv == 3


def test_fewer_patients_than_folds():
    few = np.repeat(np.arange(2), 18)
    model = Sees(cv=4)
    with inner_folds_by_patient(model, few, n_rows=36, seed=0):
        assert len(model.cv) == 2
    with (
        pytest.raises(af.exceptions.InputError, match="Sees, inner cv: expected at least 4 groups"),
        inner_folds_by_patient(model, few, n_rows=36, seed=0, few=False),
    ):
        pass


def test_groups_that_repeat_nothing_need_no_folds():
    assert repeated(None) is None and repeated(np.arange(5)) is None
    assert repeated(PATIENTS) is PATIENTS


def test_groups_go_where_they_are_taken():
    assert group_options(Ridge(), PATIENTS) == {} and group_options(TakesGroups(), None) == {}
    assert list(group_options(TakesGroups(), PATIENTS)) == ["groups"]
    nested = GridSearchCV(make_pipeline(Ridge(), TakesGroups()), {})
    assert list(group_options(nested, PATIENTS)) == ["groups", "takesgroups__groups"]
    assert list(group_options(make_pipeline(Ridge(), nested), PATIENTS)) == [
        "gridsearchcv__groups",
        "gridsearchcv__takesgroups__groups",
    ]
    assert group_options(make_pipeline(Ridge(), "passthrough"), PATIENTS) == {}


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda model: af.ConformalRegressor(model, coverage=0.5, random_state=0),
        lambda model: af.EarlyFusionRegressor("auto", model, verbose=0, random_state=0),
    ],
)
def test_models_around_a_model_that_counts_folds(wrapper):
    Sees.seen.clear()
    model = wrapper(Sees(cv=2)).fit(X, Y, groups=PATIENTS)
    for folds in Sees.seen:
        assert len(folds) == 2 and not isinstance(folds, int)
    assert model.estimator_.cv == 2 and model.estimator.cv == 2


def test_recalibration_of_models_that_count_folds():
    labels = (Y > 0).astype(int)
    stack = StackingClassifier([("a", LogisticRegression())], LogisticRegression(), cv=2)
    for inner in (CalibratedClassifierCV(LogisticRegression(), cv=2), stack):
        model = af.RecalibratedClassifier(inner, "sigmoid", cv=2, random_state=0)
        model.fit(X, labels, groups=PATIENTS)
        assert model.estimator_.cv == 2


def test_a_splitter_in_a_search_in_a_pipeline_gets_the_groups():
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=GroupKFold(3))
    labels = (Y > 0).astype(int)
    model = af.EarlyFusionClassifier("auto", make_pipeline(search), verbose=0)
    assert model.fit(X, labels, groups=PATIENTS).estimator_[-1].best_params_
    assert fit_copy(make_pipeline(search), X, labels, PATIENTS)[-1].best_params_


class SeesPatients(CalibratedClassifierCV):
    """Notes of which patients each of its folds are; the last column of X says who a row is of."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        who = np.asarray(X)[:, -1]
        self.seen += [(set(who[learn]), set(who[judge])) for learn, judge in self.cv]
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize(
    ("wrap", "y", "n_fits"),
    [
        (OrderedClassifier, np.arange(36) % 3, 2),
        (PerLabel, np.stack([np.arange(36) % 2, np.where(PATIENTS < 3, np.nan, Y > 0)], 1), 2),
    ],
)
def test_steps_and_labels_that_see_some_rows_keep_patients_whole(wrap, y, n_fits):
    SeesPatients.seen.clear()
    inner = SeesPatients(LogisticRegression(), cv=3)
    model = wrap(make_pipeline(inner))
    with inner_folds_by_patient(model, PATIENTS, n_rows=36, seed=0):
        model.fit(np.column_stack([X, PATIENTS]), y)
    assert len(SeesPatients.seen) == 3 * n_fits
    assert not any(learn & judge for learn, judge in SeesPatients.seen)
    fitted = [part[-1] for part in getattr(model, "steps_", getattr(model, "models_", None))]
    assert [part.cv for part in [inner, *fitted]] == [3] * (n_fits + 1)
