"""`cross_validate`: nobody is judged by a model that has seen them, and what leaks is told."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFECV, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LassoCV, LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.metrics import recall_score, roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import asfusion as af
from asfusion._random import derive_seed
from asfusion.crossvalidation.validator import cross_validate, permute_labels
from asfusion.evaluation.report import Report
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError

QUICK = {"n_bootstrap": 50, "verbose": 0}


def cohort(n_patients=40, visits=3, *, seed=0, n_columns=4):
    """Return visits of patients, a label that the first column tells, and patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), visits)
    X = rng.normal(size=(len(patient), n_columns))
    y = (X[:, 0] + 0.7 * rng.normal(size=len(patient)) > 0).astype(int)
    names = [f"lab_{i}" for i in range(n_columns)]
    return pd.DataFrame(X, columns=names), y, np.char.add("p", patient.astype(str))


class Spy(ClassifierMixin, BaseEstimator):
    """Predicts the training share, and keeps what it was given."""

    seen: list = []  # noqa: RUF012 (shared by clones on purpose)

    def fit(self, X, y, groups=None):
        self.classes_ = np.unique(y)
        self.seen.append((X, y, groups))
        self.share_ = np.mean(np.asarray(y) == self.classes_[-1])
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.share_, self.share_], (len(X), 1))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


# --- leaks ----------------------------------------------------------------------------


def test_row_wise_folds_of_visits_leak_and_the_default_does_not():
    """Labels were permuted among patients: nothing can be known of a new one."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 4)
    X = rng.normal(size=(60, 5))[patient] + 0.1 * rng.normal(size=(240, 5))
    y = permute_labels(np.repeat(np.arange(60) % 2, 4), patient, seed=1)
    forest = RandomForestClassifier(30, random_state=0)
    by_row = cross_validate(forest, X, y, cv=KFold(5, shuffle=True, random_state=0), **QUICK)
    by_patient = cross_validate(forest, X, y, groups=patient, **QUICK)
    assert by_row.report.scores["auc"].estimate > 0.9
    assert abs(by_patient.report.scores["auc"].estimate - 0.5) <= 0.1
    assert "No groups were given" in by_row.verdict
    assert "No groups" not in by_patient.verdict


def test_canary_is_silent_where_nothing_leaks():
    X, y, patient = cohort(80)
    result = cross_validate(LogisticRegression(), X, y, groups=patient, canary=True, **QUICK)
    assert result.report.scores["auc"].estimate > 0.75
    assert abs(result.canary.score.estimate - 0.5) <= 0.1
    assert not result.canary.sings
    assert "no sign of a leak" in result.verdict


def test_canary_sings_of_copies_and_joining_silences_it():
    X, y, _ = cohort(60, 1)
    X, y = pd.concat([X, X], ignore_index=True), np.tile(y, 2)
    forest = RandomForestClassifier(30, random_state=0)
    settings = {"groups": np.arange(120), "canary": True, **QUICK}
    with pytest.warns(AsfusionWarning, match="120 patients share content .* duplicates='join'"):
        warned = cross_validate(forest, X, y, **settings)
    assert warned.canary.score.estimate > 0.8 and warned.canary.sings
    assert "something leaks" in warned.verdict and "same cells" in warned.verdict
    joined = cross_validate(forest, X, y, duplicates="join", **settings)
    assert abs(joined.canary.score.estimate - 0.5) <= 0.15 and not joined.canary.sings
    assert (joined.folds[:60] == joined.folds[60:]).all()
    assert joined.report.n_groups == 60
    assert "stood in one fold" in joined.verdict and "stood in one" not in warned.verdict


def test_duplicates_raise_before_anything_is_fitted():
    X, y, _ = cohort(20, 1)
    X = pd.concat([X, X], ignore_index=True)
    Spy.seen.clear()
    with pytest.raises(InputError, match="expected no content under two patients. 40 patients"):
        cross_validate(Spy(), X, np.tile(y, 2), groups=np.arange(40), duplicates="raise", **QUICK)
    assert Spy.seen == []


def test_inferred_encoders_are_told_once_and_not_in_every_fold(capsys):
    X, y, groups = cohort()
    model = af.EarlyFusionClassifier(random_state=0)
    cross_validate(model, X, y, groups=groups, cv=3, n_bootstrap=50)
    assert capsys.readouterr().out.count("encoders='auto' chose") == 1
    cross_validate(model, X, y, groups=groups, cv=3, **QUICK)
    twice = af.RecalibratedClassifier(model, cv=2, random_state=0)
    cross_validate(twice, X, y, groups=groups, cv=2, **QUICK)
    assert capsys.readouterr().out == ""
    twice.fit(X, y)
    assert capsys.readouterr().out.count("encoders='auto' chose") == 1
    model.fit(X, y)
    model.fit(X, y)
    assert capsys.readouterr().out.count("encoders='auto' chose") == 2


@pytest.mark.parametrize("is_step", [False, True])
def test_copies_are_looked_for_where_the_model_reads_its_films(tmp_path, is_step):
    rng = np.random.default_rng(0)
    for i in range(12):
        film = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8))
        film.resize((60, 60)).save(tmp_path / f"{i % 11}.png")
    X = pd.DataFrame({"film": [f"{i % 11}.png" for i in range(12)], "crp": np.arange(12.0)})
    encoder = af.ImageEncoder("film", root=tmp_path)
    model = af.EarlyFusionClassifier({"film": encoder, "labs": af.TabularEncoder("crp")})
    if is_step:
        model = make_pipeline(encoder, LogisticRegression())
    with pytest.raises(InputError, match="same file in 'film' .1.; for example rows 0 and 11"):
        cross_validate(model, X, np.tile([0, 1], 6), cv=2, duplicates="raise", **QUICK)


def test_duplicates_can_be_ignored():
    X, y, _ = cohort(20, 1)
    X = pd.concat([X, X], ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cross_validate(Spy(), X, np.tile(y, 2), duplicates="ignore", **QUICK)
    assert result.duplicates is None


def test_copied_notes_are_found():
    text = "pain stiff night rest better worse back hip heel eye skin bowel"
    words = np.array(text.split())
    rng = np.random.default_rng(0)
    notes = [" ".join(rng.choice(words, 30)) for _ in range(20)]
    X = pd.DataFrame({"note": [*notes, *notes[:2]]})
    with pytest.warns(AsfusionWarning, match="4 patients share content .* same note in 'note'"):
        result = cross_validate(Spy(), X, np.arange(22) % 2, groups=np.arange(22), cv=2, **QUICK)
    assert [(link.first, link.second) for link in result.duplicates.links] == [(0, 20), (1, 21)]


def test_permuted_labels_stay_together():
    patient = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    y = np.array([0, 1, 1, 1, 0, 0, 1, 0])
    permuted = permute_labels(y, patient, seed=3)
    pairs = sorted(map(tuple, y.reshape(4, 2)))
    assert sorted(map(tuple, permuted.reshape(4, 2))) == pairs
    assert not np.array_equal(permuted, y)
    # The positives are as many patients as before, whatever their number of visits.
    uneven = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    moved = permute_labels((uneven % 2).astype(int), uneven, seed=0)
    share = [set(moved[uneven == p]) for p in range(6)]
    assert all(len(labels) == 1 for labels in share)
    assert sum(1 in labels for labels in share) == 3


# --- folds ----------------------------------------------------------------------------


def test_patients_stay_together_and_classes_are_stratified():
    X, _, patient = cohort(50, 2)
    y = np.repeat(np.arange(50) % 5 == 0, 2)
    result = cross_validate(LogisticRegression(), X, y, groups=patient, repeats=3, **QUICK)
    assert result.folds.shape == (100, 3) and result.n_repeats == 3
    for repeat in range(3):
        for name in np.unique(patient):
            assert len(set(result.folds[patient == name, repeat])) == 1
        for fold in range(5):
            assert y[result.folds[:, repeat] == fold].sum() == 4
    assert len({tuple(column) for column in result.folds.T}) == 3
    assert result.report.classes == ("False", "True")
    assert len(result.fold_scores) == 15
    frame = result.to_frame()
    assert list(frame["repeat"].unique()) == [0, 1, 2]
    assert (frame["n_groups"] == 10).all()


def test_scores_are_of_the_predictions_shown():
    X, y, patient = cohort()
    result = cross_validate(LogisticRegression(), X, y, groups=patient, repeats=2, **QUICK)
    auc = roc_auc_score(y, result.predictions)
    assert result.report.scores["auc"].estimate == pytest.approx(auc)
    once = cross_validate(LogisticRegression(), X, y, groups=patient, **QUICK)
    for fold in once.fold_scores:
        rows = once.folds[:, 0] == fold.number
        expected = roc_auc_score(y[rows], once.predictions[rows])
        assert fold.scores["auc"] == pytest.approx(expected)


@pytest.mark.parametrize("cv", [KFold(4), [(np.arange(60), np.arange(60, 120))]])
def test_given_splits_that_mix_a_patient_are_refused(cv):
    X, y, _ = cohort()
    patient = np.arange(120) % 40  # visits of a patient stand apart
    with pytest.raises(ConfigurationError, match="each group .patient. on one side, got 4?0? ?"):
        cross_validate(Spy(), X, y, groups=patient, cv=cv, **QUICK)


def test_given_splits():
    X, y, patient = cohort()
    by_group = cross_validate(LogisticRegression(), X, y, groups=patient, cv=GroupKFold(4), **QUICK)
    assert len(by_group.fold_scores) == 4
    half = cross_validate(
        LogisticRegression(), X, y, cv=iter([(np.arange(60), np.arange(60, 120))]), **QUICK
    )
    assert np.isnan(half.predictions[:60]).all() and (half.folds[:60] == -1).all()
    assert half.report.n_rows == 60


# --- sites ----------------------------------------------------------------------------


def test_each_site_is_judged_by_the_others():
    X, y, patient = cohort(60, 2)
    sites = np.repeat(np.array(["east", "north", "south"])[np.arange(60) % 3], 2)
    Spy.seen.clear()
    result = cross_validate(
        Spy(), X, y, groups=patient, cv="leave-one-site-out", sites=sites, **QUICK
    )
    assert result.sites == ("east", "north", "south")
    assert [fold.site for fold in result.fold_scores] == ["east", "north", "south"]
    for name, (_, _, groups) in zip(result.sites, Spy.seen, strict=True):
        here = np.unique(patient, return_inverse=True)[1][sites == name]
        assert not set(groups) & set(here)
    assert list(result.to_frame()["site"]) == ["east", "north", "south"]
    assert "models fitted on other sites" in result.verdict


class Shifted(Spy):
    """Ranks rows by the first column, around what the training rows were like."""

    def predict_proba(self, X):
        z = 4 * np.log(self.share_ / (1 - self.share_)) + 0.5 * np.asarray(X)[:, 0]
        p = 1 / (1 + np.exp(-z))
        return np.stack([1 - p, p], axis=1)


def two_sites(visits=1):
    """Return rows of two hospitals, one of which sees three times as many patients ill."""
    rng = np.random.default_rng(0)
    sites = np.repeat(["north", "south"], 80)
    x = rng.normal(size=160)
    y = (x + rng.normal(size=160) > np.where(sites == "north", 0.8, -0.8)).astype(int)
    X = pd.DataFrame({"lab": x, "other": rng.normal(size=160)})
    rows = np.repeat(np.arange(160), visits)
    return X.iloc[rows].reset_index(drop=True), y[rows], rows, sites[rows]


def left_out(visits=1, **changes):
    X, y, patient, sites = two_sites(visits)
    settings = {"cv": "leave-one-site-out", "sites": sites, "groups": patient, **QUICK, **changes}
    settings["duplicates"] = "ignore"
    return cross_validate(Shifted(), X, y, **settings)


def test_sites_are_judged_within_themselves_and_not_against_each_other():
    """Models of different sites have different offsets: pooled ranks compare those."""
    result = left_out(n_bootstrap=300)
    each = [fold.scores["auc"] for fold in result.fold_scores]
    pooled, within = result.report.scores["auc"], result.within_sites["auc"]
    assert min(each) > 0.7 and pooled.estimate < 0.45
    assert within.estimate == pytest.approx(np.mean(each))
    assert within.low < within.estimate < within.high and within.low > 0.6
    assert result.verdict.startswith(
        f"AUC {within.estimate:.3f} ({within.low:.3f} to {within.high:.3f}) on average within 2 "
        "sites, on 160 rows of 160 patients, judged by models fitted on other sites."
    )
    said = f"All rows pooled, though judged by different models: AUC {pooled.estimate:.3f} ("
    assert said in result.verdict
    assert "ece" not in result.within_sites  # small parts make it larger than it is
    labels = [text.get_text() for text in result.plot().get_legend().get_texts()]
    assert f"mean of sites: {within.estimate:.3f}" in labels
    assert f"all rows pooled: {pooled.estimate:.3f}" in labels
    for shown in (repr(result), result._repr_html_()):
        assert "mean of sites" in shown and "all rows pooled" in shown
        assert "Report on all rows pooled" in shown
    plt.close("all")


def test_folds_that_are_no_sites_are_pooled_as_before():
    X, y, patient = cohort()
    result = cross_validate(LogisticRegression(), X, y, groups=patient, **QUICK)
    assert result.within_sites is None
    assert "pooled" not in repr(result) and "on average" not in result.verdict


def test_interval_within_sites_draws_patients_and_every_site_in_full():
    once, often = (left_out(visits, n_bootstrap=300).within_sites["auc"] for visits in (1, 4))
    assert often.estimate == pytest.approx(once.estimate)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.2)
    # Mean and spread of two independent sites.
    X, y, _, sites = two_sites()
    alone = [
        af.evaluate(X["lab"][sites == s].rank(pct=True), y=y[sites == s], n_bootstrap=300)
        for s in ("north", "south")
    ]
    width = np.hypot(*[r.scores["auc"].high - r.scores["auc"].low for r in alone]) / 2
    assert once.high - once.low == pytest.approx(width, rel=0.2)


def test_repeats_of_sites_are_averaged_before_they_are_scored():
    once, twice = left_out(), left_out(repeats=2)
    assert twice.within_sites == once.within_sites


def test_canary_of_sites_is_judged_within_them():
    result = left_out(canary=True)
    assert result.canary.name == "auc" and abs(result.canary.score.estimate - 0.5) < 0.1
    X, y, _, sites = two_sites()
    # Of labels dealt anew one site has more; a model of the other then says too little.
    dealt = permute_labels(np.arange(160), np.arange(160), derive_seed(0, "canary"))
    expected = [roc_auc_score(y[dealt][sites == s], X["lab"][sites == s]) for s in set(sites)]
    assert result.canary.score.estimate == pytest.approx(np.mean(expected))


def test_site_of_one_class_is_left_out_of_the_mean():
    X, y, patient, sites = two_sites()
    y[sites == "north"] = np.arange(80) % 2
    sites = np.where(np.arange(160) < 150, sites, "tiny")
    y[150:] = 1
    options = {"cv": "leave-one-site-out", "groups": patient, **QUICK}
    result = cross_validate(Shifted(), X, y, sites=sites, **options)
    each = [fold.scores["auc"] for fold in result.fold_scores]
    assert np.isnan(each[2])
    assert result.within_sites["auc"].estimate == pytest.approx(np.mean(each[:2]))
    assert "on average within 2 sites, on 160 rows" in result.verdict
    assert "In 1 of them it is undefined" in result.verdict
    one_class = np.char.add(y.astype(str), (np.arange(160) % 2).astype(str))
    none = cross_validate(Shifted(), X, y, sites=one_class, **options)
    assert np.isnan(none.within_sites["auc"].estimate)
    assert none.verdict.startswith("AUC is undefined within each of 4 sites, on 160 rows")
    assert "pooled" in none.verdict
    none.plot()
    plt.close("all")


def test_errors_within_sites():
    X, _, patient, sites = two_sites()
    y = 2 * X["lab"] + np.where(sites == "north", 5.0, 0.0)
    result = cross_validate(
        Ridge(), X, y, groups=patient, cv="leave-one-site-out", sites=sites, canary=True, **QUICK
    )
    each = [fold.scores["mae"] for fold in result.fold_scores]
    assert result.within_sites["mae"].estimate == pytest.approx(np.mean(each))
    assert "Mean absolute error" in result.verdict and result.canary.name == "r2"


def test_patient_at_two_sites_is_refused():
    X, y, patient = cohort(20, 2)
    sites = np.arange(40) // 21
    sites[1] = 1
    with pytest.raises(InputError, match="one site, got 2 patient.s. at several.*the first"):
        cross_validate(Spy(), X, y, groups=patient, cv="leave-one-site-out", sites=sites, **QUICK)


# --- models ---------------------------------------------------------------------------


def test_search_chooses_by_whole_patients():
    X, y, patient = cohort()
    Spy.seen.clear()
    search = GridSearchCV(Spy(), {}, cv=3)
    cross_validate(search, X, y, groups=patient, cv=2, **QUICK)
    assert search.cv == 3  # the model that was passed is as it was
    inner = [X for X, _, _ in Spy.seen if len(X) < 60]
    assert len(inner) == 6
    for rows in inner:
        left = set(patient) - set(patient[rows.index])
        # A patient who was fitted was fitted with all visits.
        counts = pd.Series(patient[rows.index]).value_counts()
        assert (counts == 3).all() and left


def test_search_in_a_pipeline_and_a_splitter_in_a_search():
    X, y, patient = cohort()
    grid = {"C": [0.01, 1.0]}
    search = GridSearchCV(LogisticRegression(), grid, cv=3)
    result = cross_validate(
        make_pipeline(StandardScaler(), search), X, y, groups=patient, cv=3, **QUICK
    )
    assert result.report.scores["auc"].estimate > 0.75
    by_splitter = GridSearchCV(LogisticRegression(), grid, cv=GroupKFold(3))
    assert cross_validate(by_splitter, X, y, groups=patient, cv=3, **QUICK).report.n_rows == 120


def test_search_with_too_few_patients():
    X, y, patient = cohort(4)
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]})
    with pytest.raises(InputError, match="GridSearchCV, inner cv: expected at least 5 groups"):
        cross_validate(search, X, y, groups=patient, cv=2, **QUICK)


def memorable():
    """Return visits that are nearly alike, labels of patients that nothing tells, and patients."""
    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat(np.arange(40), 4))
    X, y = rng.normal(size=(40, 3))[patient], rng.permutation(np.arange(40) % 2)[patient]
    return X + 0.01 * rng.normal(size=X.shape), y, patient


MEMORY = KNeighborsClassifier(1)  # knows a patient again, and nothing else
CALIBRATED = CalibratedClassifierCV(MEMORY, method="isotonic", cv=4)
STACKED = StackingClassifier([("memory", MEMORY)], LogisticRegression(C=100.0), cv=4)


@pytest.mark.parametrize(
    "model",
    [
        CALIBRATED,
        STACKED,
        GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 60]}, cv=4),
        make_pipeline(StandardScaler(), CALIBRATED),
        VotingClassifier([("a", CALIBRATED), ("b", STACKED)], voting="soft"),
        OneVsRestClassifier(CALIBRATED),
        FixedThresholdClassifier(make_pipeline(STACKED)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_inner_folds_do_not_trust_a_model_that_knows_patients_again(model):
    """Nothing can be known of a new patient: the best there is to say is one half."""
    X, y, patient = memorable()
    by_patient = cross_validate(model, X, y, groups=patient, cv=4, **QUICK)
    assert by_patient.report.scores["brier"].estimate < 0.3


def test_inner_folds_of_rows_are_the_leak():
    X, y, patient = memorable()
    cv = list(GroupKFold(4).split(X, y, patient))
    by_row = cross_validate(CALIBRATED, X, y, cv=cv, duplicates="ignore", **QUICK)
    assert by_row.report.scores["brier"].estimate > 0.45


class SeesFolds(LassoCV):
    """Notes which folds it is fitted with."""

    seen: list = []  # noqa: RUF012 (shared by clones on purpose)

    def fit(self, X, y, sample_weight=None):
        self.seen.append((self.cv, len(X)))
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline(StandardScaler(), model),
        lambda model: TransformedTargetRegressor(model),
        lambda model: MultiOutputRegressor(model),
        lambda model: make_pipeline(make_union(SelectFromModel(model)), Ridge()),
    ],
)
def test_a_number_of_folds_means_folds_of_patients(wrap):
    X, _, patient = cohort()
    y = np.asarray(X["lab_0"])
    y = np.column_stack([y, -y]) if isinstance(wrap(Ridge()), MultiOutputRegressor) else y
    SeesFolds.seen.clear()
    model = wrap(SeesFolds(cv=3))
    cv = list(GroupKFold(4).split(X, y, patient))
    cross_validate(model, X, y, groups=patient, cv=cv, **QUICK)
    assert len(SeesFolds.seen) == 4 * (2 if y.ndim == 2 else 1)
    by_length = {len(train): [] for train, _ in cv}
    assert len(by_length) == 1
    turns = np.repeat(np.arange(4), len(SeesFolds.seen) // 4)
    for turn, (folds, n_rows) in zip(turns, SeesFolds.seen, strict=True):
        here = patient[cv[turn][0]]
        assert n_rows == len(here) and len(folds) == 3
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(n_rows))
        assert not any(set(here[one]) & set(here[other]) for one, other in folds)
    assert {v for k, v in model.get_params().items() if k.split("__")[-1] == "cv"} == {3}


def test_inner_folds_stay_what_they_are_where_they_are_no_number():
    X, _, patient = cohort()
    SeesFolds.seen.clear()
    splitter = KFold(3)
    cross_validate(SeesFolds(cv=splitter), X, X["lab_0"], groups=patient, cv=2, **QUICK)
    assert all(isinstance(cv, KFold) for cv, _ in SeesFolds.seen)
    SeesFolds.seen.clear()
    cross_validate(SeesFolds(cv=3), X, X["lab_0"], cv=2, **QUICK)
    assert [cv for cv, _ in SeesFolds.seen] == [3, 3]
    # Ridge without a number leaves out row by row, in closed form.
    one = cross_validate(RidgeCV(), X, X["lab_0"], groups=patient, cv=2, **QUICK)
    assert np.isfinite(one.predictions).all()


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegressionCV(Cs=2, l1_ratios=(0.0,), cv=5),
        make_pipeline(RFECV(LogisticRegression()), LogisticRegression()),
    ],
)
def test_too_few_patients_for_inner_folds_is_told(model):
    X, y, patient = cohort(6)
    with pytest.raises(InputError, match=r"CV, inner cv: expected at least 5 groups of each"):
        cross_validate(model, X, y, groups=patient, cv=2, **QUICK)


def test_groups_reach_those_who_take_them():
    X, y, patient = cohort(20)
    numbers = np.unique(patient, return_inverse=True)[1]
    Spy.seen.clear()
    cross_validate(Spy(), X, y, groups=patient, cv=2, **QUICK)
    cross_validate(make_pipeline(StandardScaler(), Spy()), X, y, groups=patient, cv=2, **QUICK)
    searched = GridSearchCV(make_pipeline(StandardScaler(), Spy()), {}, cv=2, refit=True)
    cross_validate(searched, X, y, groups=patient, cv=2, **QUICK)
    assert len(Spy.seen) == 2 + 2 + 2 * 3
    for rows, _, groups in Spy.seen[:2]:
        assert np.array_equal(groups, numbers[rows.index])
    assert all(groups is not None for _, _, groups in Spy.seen)


def test_fusion_of_modalities_polars_and_pandas():
    X, y, patient = cohort(40, 2)
    encoders = {"a": af.TabularEncoder(["lab_0", "lab_1"]), "b": af.TabularEncoder("lab_2")}
    model = af.EarlyFusionClassifier(encoders, LogisticRegression(), verbose=0)
    settings = {"groups": patient, "cv": 3, **QUICK}
    pandas = cross_validate(model, X, pd.Series(y, name="relapse"), **settings)
    polars = cross_validate(model, pl.from_pandas(X), pl.Series("relapse", y), **settings)
    assert np.array_equal(pandas.predictions, polars.predictions)
    assert pandas.report.scores["auc"].estimate > 0.75


def test_label_keeps_its_name_for_those_who_check_it():
    X, y, patient = cohort(20)
    X = X.rename(columns={"lab_0": "crp"})
    model = af.EarlyFusionClassifier({"labs": af.TabularEncoder("crp")}, verbose=0)
    with pytest.raises(af.exceptions.CircularityError, match="asdas"):
        cross_validate(model, X, pd.Series(y, name="asdas_crp"), groups=patient, cv=2, **QUICK)


def test_models_that_can_say_what_they_do_only_once_fitted():
    X, y, patient = cohort(40)
    stack = StackingClassifier(
        [("a", LogisticRegression()), ("b", RandomForestClassifier(5))], cv=2
    )
    assert not hasattr(stack, "predict")
    found = cross_validate(stack, X, y, groups=patient, cv=2, **QUICK)
    assert found.report.task == "binary" and np.isfinite(found.predictions).all()


def test_number_of_processes_changes_nothing():
    X, y, patient = cohort(20)
    forest = RandomForestClassifier(5)  # its seed comes from ours
    settings = {"groups": patient, "cv": 2, "repeats": 2, "canary": True, **QUICK}
    one = cross_validate(forest, X, y, **settings)
    two = cross_validate(forest, X, y, n_jobs=2, **settings)
    assert np.array_equal(one.predictions, two.predictions)
    assert one.canary == two.canary
    other = cross_validate(forest, X, y, random_state=1, **settings)
    assert not np.array_equal(one.predictions, other.predictions)


@pytest.mark.parametrize("column", [pd.DataFrame, pl.DataFrame, lambda d: d["y"][:, None]])
@pytest.mark.parametrize("model", [LogisticRegression(), Ridge()])
def test_targets_in_one_column_are_as_good_as_in_a_row(model, column):
    X, y, patient = cohort(20)
    settings = {"groups": patient, "cv": 2, **QUICK}
    one = cross_validate(model, X, y, **settings)
    same = cross_validate(model, X, column({"y": y}), **settings)
    assert same.report.task == one.report.task
    assert np.array_equal(same.predictions, one.predictions)
    assert same.fold_scores == one.fold_scores


def test_regression():
    X, _, patient = cohort(40)
    y = 3 * X["lab_0"] + 0.5 * X["lab_1"]
    one = cross_validate(Ridge(), X, y, groups=patient, canary=True, **QUICK)
    assert one.report.task == "regression" and one.predictions.shape == (120,)
    assert one.report.scores["r2"].estimate > 0.95
    assert one.canary.name == "r2" and one.canary.score.estimate < 0.1
    both = cross_validate(Ridge(), X, np.stack([y, -y], axis=1), groups=patient, **QUICK)
    assert both.predictions.shape == (120, 2)
    # Two distinct targets are still numbers.
    few = cross_validate(Ridge(), X, (y > 0).astype(int), groups=patient, **QUICK)
    assert few.report.task == "regression"


class Broken(Ridge):
    """Predicts nothing for one row."""

    def predict(self, X):
        answers = super().predict(X)
        answers[0] = np.nan
        return answers


def test_rows_without_a_prediction_are_not_left_out_in_silence():
    X, _, patient = cohort(20)
    with pytest.raises(InputError, match="finite numbers, got NaN or infinity in 5 row"):
        cross_validate(Broken(), X, X["lab_0"], groups=patient, **QUICK)


def test_classes_by_name_and_one_that_a_fold_lacks():
    X, _, patient = cohort(30, 1)
    y = pd.Series(np.array(["mild", "none", "severe"], dtype=object)[np.arange(30) % 3])
    settings = {"groups": patient, "canary": True, **QUICK}
    result = cross_validate(LogisticRegression(), X, y, **settings)
    assert result.report.classes == ("mild", "none", "severe")
    assert result.canary.name == "auc" and not result.canary.sings
    assert result.predictions.shape == (30, 3)
    severe = np.arange(30) % 3 == 2
    by_class = [(np.flatnonzero(~severe), np.flatnonzero(severe)), (np.arange(2, 30), [0, 1])]
    lacking = cross_validate(LogisticRegression(), X, y, cv=by_class, **QUICK)
    assert (lacking.predictions[severe][:, 2] == 0).all()
    assert np.isnan(lacking.fold_scores[0].scores["auc"])


# --- thresholds -----------------------------------------------------------------------


def _rare(n_rows=240):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n_rows, 3)), columns=list("abc"))
    return X, (rng.random(n_rows) < 1 / (1 + np.exp(1 - X["a"]))).to_numpy().astype(int)


def _fusion(threshold):
    encoders = {"labs": af.TabularEncoder(list("abc"))}
    return af.EarlyFusionClassifier(
        encoders, LogisticRegression(), threshold=threshold, verbose=0, random_state=0
    )


@pytest.mark.parametrize(
    "model",
    [
        _fusion(0.2),
        _fusion("prevalence"),
        _fusion({"sensitivity": 0.9}),
        FixedThresholdClassifier(LogisticRegression(), threshold=0.2),
        make_pipeline(StandardScaler(), TunedThresholdClassifierCV(LogisticRegression())),
    ],
)
def test_each_row_is_called_by_the_threshold_of_its_fold(model):
    X, y = _rare()
    X = X if isinstance(model, af.EarlyFusionClassifier) else X.to_numpy()
    cv = list(KFold(3, shuffle=True, random_state=0).split(X))
    result = cross_validate(model, X, y, cv=cv, **QUICK)
    called, cuts = np.empty(len(y), int), []
    for fold, (train, test) in zip(result.fold_scores, cv, strict=True):
        rows = X.iloc if isinstance(X, pd.DataFrame) else X
        alone = clone(model).fit(rows[train], y[train])
        called[test] = alone.predict(rows[test])
        cuts.append(af.evaluate(alone, rows[test], y[test], n_bootstrap=2).threshold)
        assert fold.scores["sensitivity"] == pytest.approx(recall_score(y[test], called[test]))
        price = cuts[-1] / (1 - cuts[-1])
        gain = (called[test] * (y[test] - price * (1 - y[test]))).mean()
        assert fold.scores["net_benefit"] == pytest.approx(gain)
    report = result.report
    assert report.scores["sensitivity"].estimate == pytest.approx(recall_score(y, called))
    assert report.scores["accuracy"].estimate == pytest.approx((called == y).mean())
    assert report.threshold_source == "folds"
    assert report.threshold_range == (min(cuts), max(cuts))
    assert min(cuts) <= report.threshold <= max(cuts)


def test_thresholds_of_folds_leave_net_benefit_on_the_decision_curve():
    X, y = _rare()
    result = cross_validate(_fusion("prevalence"), X, y, cv=3, repeats=2, **QUICK)
    plain = cross_validate(_fusion(0.5), X, y, cv=3, repeats=2, **QUICK)
    assert result.report.curves == plain.report.curves
    at = result.report.threshold
    by_one = af.evaluate(result.predictions, y=y, threshold=at, n_bootstrap=2).scores
    assert result.report.scores["net_benefit"].estimate == by_one["net_benefit"].estimate
    low, high = result.report.threshold_range
    assert low < high
    said = f"Threshold {low:.3g} to {high:.3g}, stored in the model of each fold"
    assert said in repr(result) and f"at their median, {at:.3g}" in repr(result)
    assert f"{low:.4g} to {high:.4g}, stored" in str(result.report.model_card())
    again = Report.from_json(result.report.to_json())
    assert again.threshold_range == (low, high)
    labels = [text.get_text() for text in result.report.plot()[0].get_legend().get_texts()]
    assert f"thresholds {low:.2g} to {high:.2g}" in labels
    plt.close("all")


def test_one_threshold_in_all_folds_and_repeats_is_that_one():
    X, y = _rare()
    report = cross_validate(_fusion(0.2), X, y, cv=3, repeats=3, **QUICK).report
    assert report.threshold == 0.2 and report.threshold_range == (0.2, 0.2)
    assert "Threshold 0.2, stored in the model of each fold" in repr(report)
    default = cross_validate(LogisticRegression(), X.to_numpy(), y, cv=3, **QUICK).report
    assert default.threshold == 0.5 and default.threshold_source == "default"
    assert default.threshold_range is None


# --- what is shown --------------------------------------------------------------------


def test_text_page_and_picture(tmp_path):
    X, y, patient = cohort()
    sites = (np.unique(patient, return_inverse=True)[1] % 2).astype(str)
    folds = cross_validate(LogisticRegression(), X, y, groups=patient, repeats=2, **QUICK)
    by_site = cross_validate(
        LogisticRegression(),
        X,
        y,
        groups=patient,
        cv="leave-one-site-out",
        sites=np.char.add("<b>$", sites),
        canary=True,
        **QUICK,
    )
    assert "on 120 rows of 40 patients, judged by models fitted on other patients" in repr(folds)
    assert "10 folds in 2 repeats" in folds.verdict
    page = by_site._repr_html_()
    assert "&lt;b&gt;$0" in page and "<b>$0" not in page and "<script" not in page
    assert page in by_site.to_html(tmp_path / "page.html").read_text()
    axis = by_site.plot()
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [r"<b>\$0", r"<b>\$1"]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert any(label.startswith("permuted labels") for label in labels)
    assert folds.plot(plt.figure().subplots()).get_xlabel() == "AUC"
    plt.close("all")


def test_long_names_of_sites_leave_room():
    X, y, patient = cohort(30, 1)
    sites = np.array(["Universitätsklinikum Hamburg-Eppendorf, Klinik für Rheumatologie", "b"])
    where = {"cv": "leave-one-site-out", "sites": sites[np.arange(30) % 2]}
    result = cross_validate(LogisticRegression(), X, y, groups=patient, **where, **QUICK)
    axis = result.plot()
    axis.figure.canvas.draw()
    assert axis.get_position().width > 0.4
    assert "Rheumatologie" in axis.get_yticklabels()[0].get_text() and sites[0] in repr(result)
    plt.close("all")


def test_undefined_fold_is_told():
    X, *_ = cohort(20, 1)
    y = np.array([0, 1] * 5 + [0] * 10)
    cv = [(np.arange(5), np.arange(10, 20)), (np.arange(5, 20), np.arange(5))]
    result = cross_validate(LogisticRegression(), X, y, cv=cv, **QUICK)
    assert np.isnan(result.fold_scores[0].scores["auc"])
    assert "In 1 of them it is undefined" in result.verdict


# --- refusals -------------------------------------------------------------------------


def _fitted_before():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    sigmoid = af.RecalibratedClassifier(forest, "sigmoid", prefit=True)
    frozen = FrozenEstimator(forest)
    late = {"estimator": {"labs": frozen}}
    return [
        (sigmoid, "prefit=True.*Pass prefit=False"),
        (af.ConformalClassifier(forest, prefit=True), "prefit=True"),
        (make_pipeline(StandardScaler(), sigmoid), "prefit=True"),
        (frozen, "a FrozenEstimator.*Pass the estimator in it"),
        (af.LateFusionClassifier({"labs": af.TabularEncoder("lab_0")}, **late), "FrozenEstimator"),
        (StackingClassifier([("a", forest)], LogisticRegression(), cv="prefit"), "cv='prefit'"),
    ]


@pytest.mark.parametrize(("model", "match"), _fitted_before())
def test_model_that_was_fitted_before_is_refused(model, match):
    X, y, _ = cohort(20)
    with pytest.raises(
        ConfigurationError, match=f"model: expected .* each fold fits, got .*{match}"
    ):
        cross_validate(model, X, y, **QUICK)


def test_fitted_model_that_a_copy_forgets_is_taken():
    X, y, _ = cohort(20)
    fitted = LogisticRegression().fit(X, y)
    assert cross_validate(fitted, X, y, **QUICK).report.n_rows == 60


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": RandomForestClassifier}, "got the class RandomForestClassifier"),
        ({"model": "forest"}, "model: expected an unfitted .* estimator, got str"),
        ({"model": LinearSVC()}, "classifier with predict_proba, got LinearSVC"),
        ({"cv": "sites"}, "cv: expected an integer, .* or 'leave-one-site-out', got 'sites'"),
        ({"cv": "leave-one-site-out"}, "sites: expected sites exactly when .* got None"),
        ({"sites": np.zeros(60)}, "sites: expected sites exactly when .* another cv"),
        ({"cv": ShuffleSplit(4, random_state=0)}, "cv: expected each row in at most one test"),
        ({"cv": []}, "cv: expected at least one split, got none"),
        ({"cv": None}, "cv: expected an integer of at least 2, got None"),
        ({"repeats": 0}, "repeats: expected an integer of at least 1"),
        ({"duplicates": "drop"}, "duplicates: expected one of"),
        ({"n_jobs": 0}, "n_jobs: expected None, -1 or at least 1, got 0"),
        ({"n_jobs": 2.5}, "n_jobs: expected an integer of at least -1, got 2.5"),
        ({"n_bootstrap": 0}, "n_bootstrap: expected an integer"),
    ],
)
def test_unusable_parameters(change, match):
    X, y, _ = cohort(20)
    settings = {"model": LogisticRegression(), **QUICK, **change}
    with pytest.raises(ConfigurationError, match=match):
        cross_validate(settings.pop("model"), X, y, **settings)


@pytest.mark.parametrize("model", [LogisticRegression(), RandomForestClassifier(5)])
def test_fold_without_a_class_to_learn_from_is_named(model):
    X, *_ = cohort(20)
    y, told = np.arange(60) // 30, "split 0: expected training rows of at least 2 classes, got 1"
    with pytest.raises(InputError, match=f"{told} class in 30 rows. It tests on row 0 and 29 more"):
        cross_validate(model, X, y, cv=[(np.arange(30, 60), np.arange(30))], **QUICK)
    site = {"cv": "leave-one-site-out", "sites": np.where(y, "a", "b")}
    with pytest.raises(InputError, match=told):
        cross_validate(model, X, y, **site, **QUICK)


def test_unusable_rows():
    X, y, patient = cohort(20)
    with pytest.raises(InputError, match="y: expected at least 2 classes, got 1"):
        cross_validate(LogisticRegression(), X, np.zeros(60, int), **QUICK)
    with pytest.raises(InputError, match="y: expected one label per row for a classifier"):
        cross_validate(LogisticRegression(), X, np.stack([y, y], axis=1), **QUICK)
    with pytest.raises(InputError, match="y: expected numbers, got dtype"):
        cross_validate(Ridge(), X, y.astype(str), **QUICK)
    with pytest.raises(InputError, match="sites: expected at least 2 sites, got 1"):
        cross_validate(
            LogisticRegression(), X, y, cv="leave-one-site-out", sites=np.zeros(60), **QUICK
        )
    with pytest.raises(InputError, match="expected at least 25 groups of each class"):
        cross_validate(LogisticRegression(), X, y, groups=patient, cv=25, **QUICK)
