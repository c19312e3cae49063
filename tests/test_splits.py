"""A patient never stands on both sides."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from asfusion._splits import make_folds
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
