"""skops is imported without what scikit-learn imports to list its estimators."""

from __future__ import annotations

from sklearn.utils import all_estimators

from asfusion.bundle._skops import estimators, skops_io


def test_the_list_is_that_of_scikit_learn() -> None:
    assert estimators() == all_estimators()
    assert estimators("cluster") == all_estimators("cluster")


def test_it_is_left_as_it_was() -> None:
    skops_io()
    assert all_estimators.__module__ == "sklearn.utils.discovery"
