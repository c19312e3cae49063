"""`compare`: the same folds for all, honest baselines, a verdict in words."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot as plt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.svm import LinearSVC

from asfusion.comparison.comparer import compare
from asfusion.datasets.axspa_cohort import make_axspa_cohort
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.slices import SliceEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.encoders.volume import VolumeEncoder
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.evaluation.report import evaluate
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.fusion.gated import Gated

FAST = {"families": ["early"], "cv": 3, "n_bootstrap": 100, "verbose": 0}


def make(n=120, seed=0, target="sum", missing=0.0):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), 2)[:n]
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "bmi"])
    score = X["crp"] + X["bmi"] if target == "sum" else 1.0 * X["crp"]
    y = (score + 0.1 * rng.normal(size=n) > 0).astype(int).to_numpy()
    lost = rng.random(n) < missing
    X.loc[lost, ["crp", "esr"]] = np.nan
    return SimpleNamespace(X=X, y=y, groups=patient, score=score.to_numpy(), lost=lost)


def encoders():
    return {"labs": TabularEncoder(["crp", "esr"]), "body": TabularEncoder(["bmi"])}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def board():
    rows = make(missing=0.2)
    network = JointFusionClassifier(max_epochs=2, learning_rate=1e-2, verbose=0)
    return compare(
        rows.X,
        rows.y,
        encoders(),
        groups=rows.groups,
        cv=2,
        fusions=["concat", Gated(d_out=8)],
        combines=["mean", "product"],
        estimators={"forest": RandomForestClassifier(5)},
        network=network,
        seeds=(0, 1),
        n_bootstrap=100,
        verbose=0,
    )


def test_everything_asked_for_stands_once(board):
    fusion = {s.name for s in board.standings if s.kind == "fusion"}
    single = {s.name for s in board.standings if s.kind == "single"}
    assert fusion == {
        "early", "early: forest", "joint: concat", "joint: Gated", "late: mean",
        "late: product", "late: mean, forest", "late: product, forest", "plain: mean",
    }  # fmt: skip
    assert single == {
        "labs", "body", "labs: forest", "body: forest", "plain: labs", "plain: body",
    }  # fmt: skip
    assert {s.name for s in board.standings if s.kind == "baseline"} == {
        "presence only", "tables only: boosted", "tables only: linear",
    }  # fmt: skip
    assert len(board.standings) == 18


def test_best_stands_first_and_differences_are_to_the_best_single(board):
    scores = [s.score.estimate for s in board.standings]
    assert scores == sorted(scores, reverse=True)
    single = board.best_single
    assert single.difference is None
    for standing in board.standings:
        if standing is not single:
            expected = standing.score.estimate - single.score.estimate
            assert standing.difference.estimate == pytest.approx(expected)
            assert standing.difference.low <= standing.difference.high


def test_scores_are_of_the_predictions_and_seeds_are_told(board):
    rows = make(missing=0.2)
    for standing in board.standings:
        p = board.predictions[standing.name]
        assert p.shape == (120,) and np.isfinite(p).all()
        assert roc_auc_score(rows.y, p) == pytest.approx(standing.score.estimate)
        assert len(standing.seed_scores) == 2
    frame = board.to_frame()
    first = board.standings[0]
    assert frame.loc[first.name, "one_fit"] == pytest.approx(np.mean(first.seed_scores))
    assert frame.loc[board.best_single.name, "difference"] == 0
    assert {"auc", "low", "high", "brier", "seconds"} <= set(frame.columns)
    judged = evaluate(p, y=rows.y, groups=rows.groups, n_bootstrap=50)
    assert judged.scores["auc"].estimate == pytest.approx(standing.score.estimate)


def test_rows_without_the_modality_get_the_training_prior():
    rows = make(missing=0.3)
    folds = list(GroupKFold(3).split(rows.X, rows.y, rows.groups))
    found = compare(
        rows.X, rows.y, encoders(), **{**FAST, "families": ["early", "late"], "cv": folds},
        network=JointFusionClassifier(max_epochs=2, verbose=0),
    ).predictions  # fmt: skip
    for train, test in folds:
        lost = test[rows.lost[test]]
        assert found["plain: labs"][lost] == pytest.approx(rows.y[train].mean())
        assert found["labs"][lost] == pytest.approx(rows.y[train].mean())
        assert (found["plain: mean"][lost] == found["plain: body"][lost]).all()


def test_folds_are_the_same_for_all_and_hide_no_training_row():
    """A model that remembers its rows is no better than chance on labels without meaning."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(50), 4)
    X = pd.DataFrame(rng.normal(size=(50, 2))[patient] + 0.01 * rng.normal(size=(200, 2)))
    X.columns = ["crp", "bmi"]
    y = rng.integers(0, 2, 50)[patient]
    parts = {"labs": TabularEncoder(["crp"]), "body": TabularEncoder(["bmi"])}
    model = {"tree": RandomForestClassifier(20)}
    apart = compare(X, y, parts, groups=patient, estimators=model, **FAST)
    mixed = compare(X, y, parts, estimators=model, **FAST)
    scores = {n: b.to_frame().loc["early: tree", "auc"] for n, b in
              {"apart": apart, "mixed": mixed}.items()}  # fmt: skip
    assert scores["mixed"] > 0.9
    assert abs(scores["apart"] - 0.5) < 0.2


def test_same_seed_same_board_and_containers_agree():
    rows = make(missing=0.2)
    tables = [rows.X, rows.X, pl.from_pandas(rows.X)]
    boards = [compare(X, rows.y, encoders(), groups=rows.groups, **FAST) for X in tables]
    for other in boards[1:]:
        for name, answers in boards[0].predictions.items():
            assert (answers == other.predictions[name]).all()
        assert [s.score for s in other.standings] == [s.score for s in boards[0].standings]


def test_several_classes():
    rows = make()
    y = np.array(["hernia", "normal", "slip"])[np.digitize(rows.score, [-0.7, 0.7])]
    board = compare(rows.X, y, encoders(), groups=rows.groups, **FAST)
    assert (board.task, board.primary) == ("multiclass", "auc")
    assert board.predictions["early"].shape == (120, 3)
    assert board.best_fusion.score.estimate > 0.8


@pytest.mark.parametrize("n_targets", [1, 2])
def test_regression(n_targets):
    rows = make(missing=0.2)
    y = rows.score if n_targets == 1 else np.c_[rows.score, rows.X["bmi"]]
    board = compare(
        rows.X,
        y,
        encoders(),
        families=["early", "joint", "late"],
        estimators={"forest": RandomForestRegressor(5)},
        network=JointFusionRegressor(max_epochs=1, verbose=0),
        cv=2,
        n_bootstrap=50,
        verbose=0,
    )
    assert (board.task, board.primary) == ("regression", "mae")
    scores = [s.score.estimate for s in board.standings]
    assert scores == sorted(scores)  # an error: lower is better
    assert board.predictions["early"].shape == (120, n_targets)


def test_whole_numbers_are_classes_only_while_they_are_few():
    rows = make()
    many = np.arange(120) // 4
    assert compare(rows.X, many, encoders(), **FAST).task == "regression"
    assert compare(rows.X, rows.y, encoders(), task="regression", **FAST).task == "regression"


@pytest.mark.parametrize("column", [pd.DataFrame, pl.DataFrame, lambda d: d["y"][:, None]])
def test_labels_in_one_column_are_classes(column):
    rows = make(60)
    options = {**FAST, "cv": 2, "families": ["early"]}
    one = compare(rows.X, rows.y, encoders(), **options)
    same = compare(rows.X, column({"y": rows.y}), encoders(), **options)
    assert same.task == "binary"
    assert [s.score for s in same.standings] == [s.score for s in one.standings]


def test_explicit_split_judges_its_test_rows_only():
    rows = make()
    split = [(np.arange(80), np.arange(80, 120))]
    board = compare(rows.X, rows.y, encoders(), groups=rows.groups, **{**FAST, "cv": split})
    assert (board.n_rows, board.n_groups, board.n_folds) == (40, 20, 1)
    assert np.isnan(board.predictions["early"][:80]).all()


def test_families_decide_who_answers_for_a_modality():
    rows = make(80)
    network = JointFusionClassifier(max_epochs=1, verbose=0)
    joint = compare(rows.X, rows.y, encoders(), network=network, **{**FAST, "families": ["joint"]})
    names = {s.name for s in joint.standings}
    assert {"joint: concat", "labs", "body"} <= names
    assert not any(name.startswith(("early", "late")) for name in names)


@pytest.mark.filterwarnings("ignore:TextEncoder")  # notes are cut, to be quick
def test_auto_encoders_are_told_and_ladder_reads_plain_features(capsys, tmp_path):
    cohort = make_axspa_cohort(40, path=tmp_path, modalities=["labs", "notes", "xray"])
    quick = {
        "xray": ImageEncoder("pelvis_xray", size=32),
        "note": TextEncoder("clinical_note", max_tokens=128),
        "labs": TabularEncoder(["crp", "esr"]),
    }
    network = JointFusionClassifier(max_epochs=1, verbose=0)
    board = compare(
        cohort.X, cohort.y, quick, groups=cohort.groups, network=network, families=["joint"],
        cv=2, n_bootstrap=20, verbose=0,
    )  # fmt: skip
    assert {"plain: xray", "plain: note", "plain: labs"} <= set(board.predictions)
    assert capsys.readouterr().out == ""
    two = cohort.X[["crp", "clinical_note"]]
    compare(two, cohort.y, **{**FAST, "verbose": 1, "cv": 2}, network=network)
    assert "encoders='auto' chose for 40 rows" in capsys.readouterr().out


def test_modality_that_few_training_rows_have_is_answered_by_the_prior():
    rows = make(60)
    X = rows.X.assign(crp=np.nan, esr=np.nan)
    X.loc[:1, ["crp", "esr"]] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board = compare(X, rows.y, encoders(), **{**FAST, "families": ["late"], "cv": 2},
                        network=JointFusionClassifier(max_epochs=1, verbose=0))  # fmt: skip
    assert np.isfinite(board.predictions["labs"]).all()


# -- words -----------------------------------------------------------------------------


def test_verdict_when_fusion_helps():
    rows = make(200)
    board = compare(rows.X, rows.y, encoders(), groups=rows.groups, **FAST)
    assert board.verdict.startswith("Fusion helps: 'early' is better than the best single")
    assert "presence only" not in board.predictions  # nothing is missing


def test_verdict_when_fusion_does_not_help():
    rows = make(200, target="one")
    board = compare(
        rows.X, rows.y, encoders(), estimators={"tree": RandomForestClassifier(5)}, **FAST
    )
    assert "Fusion does not help" in board.verdict
    assert "is the best of 2 fusions tried on the same rows" in board.verdict


def test_one_table_is_boosted_only_and_no_table_not_at_all():
    rows = make(80)
    note = np.where(rows.X["crp"] > 0, "stiff and hot joints", "calm joints at rest")
    words = TextEncoder("note", backbone="tfidf")
    X = rows.X.assign(note=note, other=note[::-1])
    one = compare(X, rows.y, {"labs": TabularEncoder(["crp", "bmi"]), "note": words}, **FAST)
    assert "tables only: boosted" in one.predictions
    assert "tables only: linear" not in one.predictions  # it is 'plain: labs'
    texts = {"note": words, "other": TextEncoder("other", backbone="tfidf")}
    none = compare(X, rows.y, texts, **FAST)
    assert not any(name.startswith("tables") for name in none.predictions)
    assert none.best_tables is None and none.over_tables is None


def test_tables_see_all_tables_and_rows_without_any_get_the_prior():
    rows = make(200, missing=0.3)
    X = rows.X.copy()
    X.loc[:19, ["crp", "esr", "bmi"]] = np.nan
    folds = list(GroupKFold(3).split(X, rows.y, rows.groups))
    board = compare(X, rows.y, encoders(), groups=rows.groups, **{**FAST, "cv": folds})
    for name in ("tables only: boosted", "tables only: linear"):
        p = board.predictions[name]
        assert roc_auc_score(rows.y[20:], p[20:]) > 0.8
        for train, test in folds:
            lost = test[test < 20]
            assert p[lost] == pytest.approx(rows.y[train].mean())


def test_tables_with_nothing_to_learn_from_answer_the_prior():
    rows = make(60)
    X = rows.X.assign(note="calm joints at rest")
    X.loc[:, ["crp", "esr", "bmi"]] = np.nan
    X.loc[:0, "crp"] = 1.0
    parts = {"labs": TabularEncoder("crp"), "note": TextEncoder("note", backbone="tfidf")}
    folds = [(np.arange(1, 40), np.r_[0, 40:60]), (np.arange(30), np.arange(30, 60))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board = compare(X, rows.y, parts, **{**FAST, "cv": folds})
    expected = rows.y[1:40].mean()
    assert board.predictions["tables only: boosted"][0] == pytest.approx(expected)


def test_verdict_says_when_fusion_does_not_beat_the_tables():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["crp", "bmi"])
    y = (X["crp"] * X["bmi"] > 0).astype(int)  # no linear fusion can say it
    parts = {"labs": TabularEncoder("crp"), "body": TabularEncoder("bmi")}
    board = compare(X, y, parts, **FAST)
    assert board.standings[0].name == "tables only: boosted"
    assert "Nor does fusion beat the tables by themselves ('early' against" in board.verdict
    gap = board.best_fusion.score.estimate - board.best_tables.score.estimate
    assert board.over_tables.estimate == pytest.approx(gap)
    assert board.over_tables.high < 0


def test_verdict_is_silent_on_tables_that_fusion_beats():
    rows = make(200)
    note = np.where(rows.X["bmi"] > 0, "stiff and hot joints", "calm joints at rest")
    parts = {"labs": TabularEncoder(["crp"]), "note": TextEncoder("note", backbone="tfidf")}
    board = compare(rows.X.assign(note=note), rows.y, parts, **FAST)
    assert board.over_tables.low > 0
    assert "the tables by themselves" not in board.verdict


def test_verdict_when_fusion_helps_and_the_tables_do_as_well():
    rows = make(200)
    board = compare(rows.X, rows.y, encoders(), groups=rows.groups, **FAST)
    assert "But fusion does not clearly beat the tables by themselves" in board.verdict


def test_verdict_warns_of_missingness_that_predicts():
    rows = make(150)
    X = rows.X.copy()
    X.loc[rows.y == 1, ["crp", "esr"]] = np.nan
    board = compare(X, rows.y, encoders(), **FAST)
    assert "Which modalities a row has predicts the target by itself" in board.verdict


def test_verdict_tells_when_the_plain_mean_leads():
    rows = make(120)

    class Guess(LogisticRegression):
        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    board = compare(
        rows.X, rows.y, encoders(), **{**FAST, "families": ["late"]},
        network=JointFusionClassifier(max_epochs=1, verbose=0), estimators={"guess": Guess()},
    )  # fmt: skip
    assert next(s.name for s in board.standings if s.kind == "fusion") == "plain: mean"
    assert "plain mean of one linear model per modality leads all fusions" in board.verdict


def test_verdict_on_very_few_rows_is_modest():
    rows = make(8, seed=1)
    split = [(list(range(2, 8)), [0, 1])]
    board = compare(rows.X, np.arange(8) % 2, encoders(), **{**FAST, "cv": split})
    assert board.standings[0].score.n_undefined > 0
    assert "est single modality" in board.verdict


def test_text_html_and_picture(board, tmp_path):
    text = repr(board)
    assert "120 rows of 60 patients, 2 folds, 2 seeds" in text
    assert board.verdict.split(".")[0] in text
    page = board.to_html(tmp_path / "board.html").read_text()
    assert page.count("research tool, not a medical device") == 1
    assert "<script" not in page and "late: product, forest" in page
    axis = board.plot()
    assert len(axis.get_yticklabels()) == 18
    assert "AUC" in axis.get_xlabel() and "higher is better" in axis.get_xlabel()
    _, given = plt.subplots()
    assert board.plot(given) is given


def test_long_names_of_modalities_leave_room():
    rows = make(60)
    name = "a_very_long_name_for_the_mri_of_both_sacroiliac_joints_and_so_on"
    found = compare(rows.X, rows.y, {name: TabularEncoder(["crp"]), **encoders()}, **FAST)
    axis = found.plot()
    axis.figure.canvas.draw()
    assert axis.get_position().width > 0.3
    assert name in repr(found)


# -- sites -----------------------------------------------------------------------------


def of_two_sites(visits=1, **options):
    """Compare where both sites rank alike, but say opposite things of the same cells."""
    rng = np.random.default_rng(0)
    sites = np.repeat(["north", "south"], 60)
    X = pd.DataFrame(rng.normal(size=(120, 2)), columns=["crp", "bmi"])
    noise = rng.normal(size=120)
    y = (X["crp"] + noise > np.where(sites == "north", 0.8, -0.8)).astype(int).to_numpy()
    rows = np.repeat(np.arange(120), visits)
    data = SimpleNamespace(X=X.iloc[rows], y=y[rows], groups=rows, sites=sites[rows])
    parts = {"labs": TabularEncoder("crp"), "body": TabularEncoder("bmi")}
    options = {"cv": "leave-one-site-out", "sites": data.sites, **options}
    settings = {"groups": data.groups, **FAST, **options}
    return data, compare(data.X, data.y, parts, **settings)


@pytest.fixture(scope="module")
def by_site():
    return of_two_sites(seeds=(0, 1))


def test_sites_are_scored_within_themselves_and_pooled_only_beside_it(by_site):
    data, board = by_site
    assert board.sites == ("north", "south") and board.n_folds == 2
    for standing in board.standings:
        said = board.predictions[standing.name]
        each = [roc_auc_score(data.y[data.sites == s], said[data.sites == s]) for s in board.sites]
        assert standing.score.estimate == pytest.approx(np.mean(each))
        assert standing.pooled.estimate == pytest.approx(roc_auc_score(data.y, said))
        assert standing.score.low <= standing.score.estimate <= standing.score.high
        assert len(standing.seed_scores) == 2
    best, other = board.best_single, board.standings[-1]
    assert best.name == "labs" and best.score.estimate > 0.7 > 0.6 > best.pooled.estimate
    assert other.difference.estimate == pytest.approx(other.score.estimate - best.score.estimate)
    assert board.to_frame().loc["labs", "pooled"] == best.pooled.estimate
    # The same model: replicates of two models draw the same patients.
    twin = next(s for s in board.standings if s.name == "plain: labs")
    assert (twin.difference.low, twin.difference.high) == pytest.approx((0, 0), abs=0.02)


def test_a_board_of_sites_says_what_it_ranks_by(by_site):
    board = by_site[1]
    page = repr(board) + board._repr_html_()
    assert page.count("AUC within sites") > 3 and page.count("all rows pooled") == 2
    assert "of 120 patients, each of 2 sites judged by models of the others, 2 seeds" in page
    assert "of patients, drawn within each site" in page
    assert board.plot().get_xlabel().startswith("AUC within sites (95 % interval")


def test_intervals_within_sites_draw_patients(by_site):
    once, often = by_site[1].best_single.score, of_two_sites(visits=3)[1].best_single.score
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.3)


def test_other_splits_are_pooled_as_before():
    data, board = of_two_sites(cv=2, sites=None)
    assert board.sites == () and {s.pooled for s in board.standings} == {None}
    assert "pooled" not in board.to_frame() and "within sites" not in repr(board)
    found = board.best_single
    expected = roc_auc_score(data.y, board.predictions[found.name])
    assert found.score.estimate == pytest.approx(expected)


def test_site_of_one_class_has_no_say(by_site):
    data = by_site[0]
    sites = data.sites.copy()
    sites[np.flatnonzero(data.y)[:6]] = "tiny"
    _, board = of_two_sites(sites=sites)
    best, said = board.best_single, board.predictions[board.best_single.name]
    each = [roc_auc_score(data.y[sites == s], said[sites == s]) for s in ("north", "south")]
    assert best.score.estimate == pytest.approx(np.mean(each))
    assert best.seed_scores == pytest.approx([np.mean(each)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sites": None}, ConfigurationError, "sites: expected sites exactly when cv='leave"),
        ({"cv": 3}, ConfigurationError, "sites: expected sites exactly when cv='leave.* Pass cv="),
        ({"cv": "by-site"}, ConfigurationError, "cv: expected an integer.* got 'by-site'"),
        ({"sites": np.zeros(120)}, InputError, "sites: expected at least 2 sites, got 1"),
        ({"sites": np.arange(119)}, InputError, "sites: expected 120 entries, one per row"),
        (
            {"sites": np.arange(120) % 2, "groups": np.arange(120) // 2},
            InputError,
            "sites: expected each patient at one site, got 60 patient",
        ),
    ],
)
def test_unusable_sites_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        of_two_sites(**options)


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": ["middle"]}, "families: expected one of 'auto', 'early', 'joint', 'late'"),
        ({"families": "early"}, "families: expected a sequence of"),
        ({"families": []}, "families: expected a sequence of"),
        ({"task": "ranking"}, "task: expected one of 'auto'"),
        ({"seeds": [0, 0]}, "seeds: expected at least one seed and each once"),
        ({"seeds": []}, "seeds: expected at least one seed"),
        ({"seeds": [0.5]}, "seeds: expected an integer"),
        ({"n_bootstrap": 0}, "n_bootstrap: expected an integer of at least 1"),
        ({"confidence": 2}, "confidence: expected a number"),
        ({"encoders": {"labs": LogisticRegression()}}, r"encoders\['labs'\]: expected an encoder"),
        (
            {"encoders": "best"},
            "encoders: expected 'auto' or a dict of name to encoder, got 'best'",
        ),
        ({"estimators": [1]}, "estimators: expected a dict of name to scikit-learn estimator"),
        ({"estimators": {"r": Ridge()}}, "got Ridge. That is a regressor: pass a classifier"),
        ({"estimators": {"svm": LinearSVC()}}, "svm.*expected a classifier with predict_proba"),
        (
            {"estimators": {"ice": FrozenEstimator(LogisticRegression())}},
            "'ice'.*expected an estimator that each fold fits, got a FrozenEstimator",
        ),
        ({"network": JointFusionRegressor()}, "network: expected None or a JointFusionClassifier"),
        ({"cv": KFold(3, shuffle=True)}, r"expected each group \(patient\) on one side"),
        ({"families": ["joint"], "fusions": ["concat", "concat"]}, "each name once, got 'joint"),
        ({"families": ["joint"], "fusions": ["blend"]}, "fusion: expected one of"),
    ],
)
def test_unusable_parameters_are_refused(options, message):
    rows = make(60)
    chosen = options.pop("encoders", encoders())
    with pytest.raises(ConfigurationError, match=message):
        compare(rows.X, rows.y, chosen, groups=rows.groups, **{**FAST, **options})


class Unfittable(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise AssertionError("fitted before everything was checked")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusions": ["concat", "blend"]}, "fusion: expected one of"),
        ({"fusions": [Gated(), 3]}, "fusion: expected one of .* or a head such as .* got int"),
        ({"combines": ["mean", "median"]}, "combine: expected one of .* got 'median'"),
    ],
)
def test_unusable_parameters_are_refused_before_anything_is_fitted(options, message):
    rows = make(60)
    families = {"families": ["early", "joint", "late"], "estimators": {"x": Unfittable()}}
    with pytest.raises(ConfigurationError, match=message):
        compare(rows.X, rows.y, encoders(), **{**FAST, **families, **options})


def test_vote_over_numbers_is_refused_before_anything_is_fitted():
    rows = make(60)
    with pytest.raises(ConfigurationError, match="combine: expected one for a target without"):
        compare(rows.X, rows.score, encoders(), **{**FAST, "families": ["late"]}, combines=["vote"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoders": {"labs": TabularEncoder(["crp"])}}, "at least 2 modalities to fuse, got 1"),
        (
            {"encoders": {**encoders(), "x": TabularEncoder(["cpr"])}},
            "Modality 'x': expected .*crp",
        ),
        ({"y": np.zeros(60)}, "y: expected at least 2 classes, got 1"),
        ({"y": np.zeros((60, 2)), "task": "classification"}, "one label per row for a classifier"),
        ({"y": np.full(60, "a"), "task": "regression"}, "expected numbers, got dtype"),
        (
            {"y": np.r_[np.inf, np.ones(59)], "task": "regression"},
            "expected finite numbers, got infinity",
        ),
        ({"y": np.r_[np.nan, np.ones(59)]}, "y: expected a value for every row, got 1 missing"),
        ({"groups": [1, 2]}, "groups: expected 60 entries"),
        ({"cv": 50}, "cv: expected at least 50 rows of each class"),
        (
            {"y": np.arange(60) // 30, "cv": KFold(2)},
            "cv, split 0: expected training rows of at least 2 classes, got 1 class in 30 rows",
        ),
    ],
)
def test_unusable_input_is_refused(change, message):
    rows = make(60)
    options = {"encoders": encoders(), "y": rows.y, **FAST, **change}
    with pytest.raises(InputError, match=message):
        compare(rows.X, options.pop("y"), options.pop("encoders"), **options)


def test_test_rows_of_one_class_are_refused():
    rows = make(60)
    positive = np.flatnonzero(rows.y)
    split = [(np.setdiff1d(np.arange(60), positive[:4]), positive[:4])]
    with pytest.raises(InputError, match="cv: expected test rows of at least 2 classes"):
        compare(rows.X, rows.y, encoders(), **{**FAST, "cv": split})


@pytest.mark.usefixtures("eager_workers")
def test_side_by_side_gives_the_same_board():
    network = JointFusionClassifier(max_epochs=2, verbose=0)
    cohort = make_axspa_cohort(36, random_state=0, modalities=["labs", "notes"], missing=0.0)
    described = {
        "labs": TabularEncoder(["crp", "esr"]),
        "notes": TextEncoder("clinical_note", backbone="tfidf"),
    }
    options = {"families": ["joint"], "network": network, "cv": 2, "n_bootstrap": 50, "verbose": 0}
    one, two = (
        compare(cohort.X, cohort.y, described, groups=cohort.groups, n_jobs=n, **options)
        for n in (1, 2)
    )
    pd.testing.assert_frame_equal(
        one.to_frame().drop(columns="seconds", errors="ignore"),
        two.to_frame().drop(columns="seconds", errors="ignore"),
    )
    with pytest.raises(ConfigurationError, match="n_jobs: expected None, -1 or at least 1"):
        compare(cohort.X, cohort.y, described, n_jobs=0, **options)


# -- what the plain ladder reads of each kind of content ------------------------------------


def ladder_of(encoder, X):
    from asfusion._frames import Frame
    from asfusion.comparison._runs import plain_features

    train, test = Frame.read(X.iloc[:8]), Frame.read(X.iloc[8:])
    return plain_features(encoder, train, test)


def test_plain_ladder_reads_the_features_of_a_table():
    rows = make(12, missing=0.3)
    learned = TabularEncoder(["crp", "esr"]).fit(rows.X.iloc[:8])
    for found, part in zip(ladder_of(TabularEncoder(["crp", "esr"]), rows.X),
                           (rows.X.iloc[:8], rows.X.iloc[8:]), strict=True):  # fmt: skip
        np.testing.assert_array_equal(found, learned.transform(part))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Return twelve patients with two sequences each; T1 is missing in some, MRI in row 3."""
    folder = tmp_path_factory.mktemp("mri")
    cohort = make_axspa_cohort(12, random_state=0, path=folder, modalities=["labs", "mri"])
    X = cohort.X[["crp", "mri_stir", "mri_t1"]].copy()
    X.loc[3, ["mri_stir", "mri_t1"]] = None
    return X.fillna({"crp": 5.0})


@pytest.mark.parametrize("kind", [VolumeEncoder, SliceEncoder])
def test_plain_ladder_reads_thumbnails_of_series_that_would_have_to_learn(series, kind):
    size = {"shape": (8, 32, 32)} if kind is VolumeEncoder else {"size": 32}
    both = ladder_of(kind(["mri_stir", "mri_t1"], **size), series)
    for found, part in zip(both, (series.iloc[:8], series.iloc[8:]), strict=True):
        absent = part[["mri_stir", "mri_t1"]].isna().all(axis=1).to_numpy()
        assert np.isnan(found[absent]).all() and np.isfinite(found[~absent]).all()
        assert found.shape[1] < 1000
        without = part[["mri_stir", "mri_t1"]].isna().any(axis=1).to_numpy() & ~absent
        n = found.shape[1] // 2
        assert not found[without, n:].any() or not found[without, :n].any()
    there = both[0][~np.isnan(both[0]).any(axis=1)]
    assert len(np.unique(there, axis=0)) == len(there)  # patients differ


@pytest.mark.parametrize("kind", [VolumeEncoder, SliceEncoder])
def test_series_that_learn_are_compared(series, kind):
    size = {"shape": (8, 32, 32)} if kind is VolumeEncoder else {"size": 32}
    parts = {"mri": kind("mri_stir", **size), "labs": TabularEncoder(["crp"])}
    y = np.arange(12) % 2
    network = JointFusionClassifier(max_epochs=1, verbose=0)
    board = compare(series, y, parts, network=network, **{**FAST, "families": ["joint"], "cv": 2})
    assert np.isfinite(board.predictions["plain: mri"]).all()
    assert np.isfinite(board.predictions["joint: concat"]).all()
