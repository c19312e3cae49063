"""Inner splits keep a patient's rows together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion._frames import Frame
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._splits import hold_out, inner_splits
from asfusion.exceptions import ConfigurationError
from asfusion.targets import Classes, Numbers

TARGETS = {True: Classes(), False: Numbers()}


def make_rows(y, groups=None):
    n = len(y)
    frame = Frame.read(pd.DataFrame({"x": np.arange(n, dtype=float)}))
    ones = np.ones(n)
    return TrainingRows(frame, np.asarray(y), ones, ones, groups, np.arange(n))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.integers(2, 6))
def test_folds_cover_rows_once_and_keep_groups_whole(seed, classify, cv):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 12, size=40)
    y = rng.integers(0, 2, size=40) if classify else rng.normal(size=(40, 1))
    splits = inner_splits(make_rows(y, groups), cv, target=TARGETS[classify], seed=seed)
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == list(range(40))
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_hold_out_keeps_groups_whole_and_all_classes_in_training(seed, grouped):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, p=[0.6, 0.3, 0.1], size=60)
    groups = np.arange(60) // 3 if grouped else None
    split = hold_out(make_rows(y, groups), 0.15, target=Classes(), seed=seed)
    if split is None:
        return
    learn, validate = split
    assert sorted([*learn, *validate]) == list(range(60))
    assert set(y[learn]) == set(y)
    if grouped:
        assert not set(groups[learn]) & set(groups[validate])


def test_rows_too_few_to_hold_out():
    assert hold_out(make_rows([0, 1]), 0.15, target=Classes(), seed=0) is None
    one_patient = make_rows(np.arange(20) % 2, np.zeros(20, dtype=int))
    assert hold_out(one_patient, 0.15, target=Classes(), seed=0) is None
    assert inner_splits(one_patient, 5, target=Classes(), seed=0) == []


def test_explicit_splits_name_rows_as_the_user_passed_them():
    rows = make_rows(np.arange(10) % 2).take(np.array([0, 1, 4, 5, 8, 9]))
    splits = inner_splits(rows, [(np.arange(0, 5), np.arange(5, 10))], target=Classes(), seed=0)
    train, test = splits[0]
    np.testing.assert_array_equal(train, [0, 1, 2])
    np.testing.assert_array_equal(test, [3, 4, 5])


@pytest.mark.parametrize("classify", [True, False])
def test_a_splitter_is_used_as_it_is(classify):
    from sklearn.model_selection import KFold

    y = np.arange(10) % 2 if classify else np.arange(10.0)[:, None]
    splits = inner_splits(make_rows(y), KFold(2), target=TARGETS[classify], seed=0)
    np.testing.assert_array_equal(splits[0][1], np.arange(5))


def test_a_splitter_that_mixes_a_patient_is_refused():
    from sklearn.model_selection import GroupKFold, ShuffleSplit

    rows = make_rows(np.arange(12) % 2, np.arange(12) // 3)
    mixed = "cv, split 0: expected each group on one side, got . group"
    with (
        pytest.raises(ConfigurationError, match=mixed),
        pytest.warns(UserWarning, match="The groups parameter is ignored"),
    ):
        inner_splits(rows, ShuffleSplit(2, random_state=0), target=Classes(), seed=0)
    assert len(inner_splits(rows, GroupKFold(2), target=Classes(), seed=0)) == 2
