"""A patient never stands on both sides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from asfusion._splits import (
    hold_out_patients,
    make_folds,
    n_on_both_sides,
    patient_folds,
    put_together,
)
from asfusion.exceptions import ConfigurationError, InputError


def make(n_patients=40, seed=0):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), rng.integers(1, 4, n_patients))
    return (rng.random(n_patients) < 0.4).astype(int)[patient], patient


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_folds_cover_every_row_once(stratify, grouped):
    y, patient = make()
    folds = make_folds(
        y, 5, groups=patient if grouped else None, strata=y if stratify else None, seed=1
    )
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(len(y)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(y)))
        if grouped:
            assert not set(patient[train]) & set(patient[test])
        if stratify:
            assert y[test].mean() == pytest.approx(y.mean(), abs=0.15)


def test_seed_decides_the_folds():
    y, patient = make()
    first, same, other = (
        make_folds(y, 4, groups=patient, strata=y, seed=seed) for seed in (0, 0, 1)
    )
    assert all((a[1] == b[1]).all() for a, b in zip(first, same, strict=True))
    assert any(
        len(a[1]) != len(b[1]) or (a[1] != b[1]).any() for a, b in zip(first, other, strict=True)
    )


def test_splitters_and_explicit_splits_are_used_as_they_are():
    y, patient = make()
    by_group = make_folds(y, GroupKFold(3), groups=patient, strata=y)
    again = make_folds(y, by_group, groups=patient, strata=y)
    assert all((a[1] == b[1]).all() for a, b in zip(by_group, again, strict=True))
    targets = np.stack([y, y], axis=1)
    assert len(make_folds(targets, KFold(3))) == 3


def test_mixed_patients_are_refused():
    y, patient = make()
    with pytest.raises(ConfigurationError, match=r"split 0: expected each group .* one side, got"):
        make_folds(y, KFold(3, shuffle=True), groups=patient, strata=y)
    with pytest.raises(ConfigurationError, match="1 row.s. on both"):
        make_folds(y, [([0, 1, 2], [2, 3])], strata=y)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (1, "cv: expected an integer of at least 2, got 1"),
        ("5", "cv: expected an integer of at least 2, got '5'"),
        ([5], "split 0: expected a pair of integer arrays"),
        ([([0.5], [1])], "split 0: expected a pair of integer arrays"),
        ([([0, 1], [99_999])], "split 0, test: expected row positions from 0 to"),
        ([([], [1])], "split 0, train: expected row positions"),
    ],
)
def test_unusable_splits_are_refused(cv, message):
    y, patient = make()
    with pytest.raises(ConfigurationError, match=message):
        make_folds(y, cv, groups=patient, strata=y)


@pytest.mark.parametrize(
    ("stratify", "grouped", "message"),
    [
        (True, True, "at least 5 groups of each class for 5 folds, got 2"),
        (True, False, "at least 5 rows of each class for 5 folds, got 4"),
        (False, True, "at least 5 groups for 5 folds, got 4"),
    ],
)
def test_too_few_for_the_folds_is_said(stratify, grouped, message):
    y, patient = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.repeat(np.arange(4), 2)
    with pytest.raises(InputError, match=message):
        make_folds(y, 5, groups=patient if grouped else None, strata=y if stratify else None)


def test_random_rows_that_keep_groups_apart_are_fine():
    y = np.arange(10.0)
    assert len(make_folds(y, ShuffleSplit(2, random_state=0))) == 2


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans(), st.booleans())
def test_folds_inside_a_fit_are_those_of_a_judge_where_patients_suffice(seed, k, strat, grouped):
    y, patient = make(30, seed)
    groups, strata = patient if grouped else None, y if strat else None
    options = {"groups": groups, "strata": strata, "seed": seed}
    inner = patient_folds(groups, k, n_rows=len(y), strata=strata, seed=seed)
    for (learn, judge), (train, test) in zip(inner, make_folds(y, k, **options), strict=True):
        assert (learn == train).all() and (judge == test).all()


def test_fewer_folds_where_there_are_fewer_patients():
    patient = np.repeat(np.arange(3), 4)
    assert len(patient_folds(patient, 5, n_rows=12, seed=0)) == 3
    assert patient_folds(np.zeros(12), 5, n_rows=12, seed=0) == []
    assert len(patient_folds(None, 5, n_rows=4, strata=np.array([0, 1, 0, 1]), seed=0)) == 2


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_patients_are_held_out_whole_and_each_class_is_learned(fraction):
    y, patient = make()
    learn, held = hold_out_patients(patient, fraction, n_rows=len(y), strata=y, seed=0)
    assert sorted([*learn, *held]) == list(range(len(y)))
    assert n_on_both_sides((learn, held), patient) == 0
    assert set(y[learn]) == {0, 1}
    assert len(held) / len(y) == pytest.approx(fraction, abs=0.08)
    assert hold_out_patients(None, fraction, n_rows=2, seed=0) is None


def test_answers_are_put_together_by_row():
    parts = [([2, 0], [[1.0, 2.0], [3.0, 4.0]]), ([0], [[5.0, 8.0]])]
    parts = [(np.array(rows), np.array(answers)) for rows, answers in parts]
    together = put_together(iter(parts), (4, 2))
    np.testing.assert_array_equal(
        together, [[4.0, 6.0], [np.nan, np.nan], [1.0, 2.0], [np.nan, np.nan]]
    )
    one = put_together([(np.array([1]), np.array([7.0]))], (2,))
    np.testing.assert_array_equal(one, [np.nan, 7.0])
    assert np.isnan(put_together([], (2, 3))).all()
