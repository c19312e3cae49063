"""What each family learns, and what sets it apart."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, RandomForestClassifier
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators import _blocks
from asfusion.estimators import _joint as joint_module
from asfusion.estimators.early import EarlyFusionClassifier, EarlyFusionRegressor
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.estimators.late import LateFusionClassifier, LateFusionRegressor
from asfusion.exceptions import AsfusionWarning


def encoders():
    return {"labs": TabularEncoder(["crp", "esr"]), "genes": TabularEncoder(["rs1", "rs2"])}


def make(n=400, seed=0, interact=False):
    """Two modalities; alone each gives little (sum) or nothing (product) away."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["crp", "esr", "rs1", "rs2"])
    score = X["crp"] * X["rs1"] if interact else X["crp"] + X["rs1"]
    return X, (score > 0).astype(int).to_numpy(), score.to_numpy()


def auc(model, X, y):
    return roc_auc_score(y, model.predict_proba(X)[:, 1])


@pytest.mark.parametrize("fusion", ["concat", "gated", "attention"])
def test_joint_learns_what_no_modality_knows_alone(fusion):
    X, y, _ = make(600, interact=True)
    model = JointFusionClassifier(
        encoders(), fusion, learning_rate=3e-3, verbose=0, random_state=0
    ).fit(X[:450], y[:450])
    assert auc(model, X[450:], y[450:]) > 0.85
    alone = JointFusionClassifier({"labs": encoders()["labs"]}, verbose=0, random_state=0)
    assert auc(alone.fit(X[:450], y[:450]), X[450:], y[450:]) < 0.65


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        RandomForestClassifier(100),
        AdaBoostClassifier(),
        XGBClassifier(n_estimators=50),
        make_pipeline(StandardScaler(), LogisticRegression()),
        JointFusionClassifier(max_epochs=40, learning_rate=3e-3, verbose=0),
    ],
    ids=["default", "forest", "adaboost", "xgboost", "pipeline", "network"],
)
@pytest.mark.parametrize("family", [EarlyFusionClassifier, LateFusionClassifier])
def test_early_and_late_take_any_classifier(family, estimator):
    X, y, _ = make(300)
    weights = np.linspace(0.5, 1.5, 220)
    model = family(encoders(), estimator, verbose=0, random_state=0)
    model.fit(X[:220], y[:220], sample_weight=weights)
    assert auc(model, X[220:], y[220:]) > 0.85


@pytest.mark.parametrize(
    "estimator", [None, Ridge(), AdaBoostRegressor(), XGBRegressor(n_estimators=50)]
)
@pytest.mark.parametrize("family", [EarlyFusionRegressor, LateFusionRegressor])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_regression_on_one_and_several_targets(family, estimator, n_targets):
    X, _, score = make(300)
    y = score if n_targets == 1 else np.c_[score, 10 + 5 * X["crp"]]
    options = {} if family is EarlyFusionRegressor else {"combine": "stacking"}
    model = family(encoders(), estimator, verbose=0, random_state=0, **options)
    predicted = model.fit(X[:220], y[:220]).predict(X[220:])
    assert predicted.shape == y[220:].shape
    assert r2_score(y[220:], predicted) > 0.5


def test_joint_regression_in_the_units_of_y():
    X, _, score = make(300)
    y = np.c_[1000 + 50 * score, 0.01 * X["esr"]]
    model = JointFusionRegressor(encoders(), verbose=0, random_state=0).fit(X[:220], y[:220])
    assert r2_score(y[220:], model.predict(X[220:])) > 0.8
    constant = JointFusionRegressor(encoders(), max_epochs=2, verbose=0, random_state=0)
    np.testing.assert_allclose(constant.fit(X, np.full(300, 7.0)).predict(X), 7.0, atol=0.5)


@pytest.mark.parametrize("combine", ["mean", "weighted", "product", "stacking"])
def test_late_combinations_are_better_than_their_parts(combine):
    X, y, _ = make(400)
    model = LateFusionClassifier(
        encoders(), LogisticRegression(), combine, verbose=0, random_state=0
    ).fit(X[:300], y[:300])
    parts = [auc(part, X[300:], y[300:]) for part in model.models_.values()]
    assert auc(model, X[300:], y[300:]) > max(parts) + 0.05
    assert sum(model.weights_.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("combine", ["mean", "weighted", "product", "stacking"])
def test_late_regression_combinations(combine):
    X, _, score = make(300)
    model = LateFusionRegressor(encoders(), Ridge(), combine, verbose=0, random_state=0)
    assert r2_score(score[220:], model.fit(X[:220], score[:220]).predict(X[220:])) > 0.4


def test_given_weights_are_used():
    X, y, _ = make(100)
    model = LateFusionClassifier(
        encoders(),
        LogisticRegression(),
        "weighted",
        weights={"labs": 1.0, "genes": 0.0},
        verbose=0,
    ).fit(X, y)
    labs = model.models_["labs"].predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), labs)


def test_multi_class_with_labels_of_any_kind():
    X, _, score = make(300)
    y = np.array(["axial", "none", "peripheral"])[np.digitize(score, [-1, 1])]
    for model in (
        EarlyFusionClassifier(encoders(), verbose=0),
        JointFusionClassifier(encoders(), verbose=0, random_state=0),
        LateFusionClassifier(encoders(), LogisticRegression(), "product", verbose=0),
    ):
        model.fit(X[:220], y[:220])
        assert list(model.classes_) == ["axial", "none", "peripheral"]
        assert model.score(X[220:], y[220:]) > 0.6
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_a_class_that_a_modality_never_saw():
    """XGBoost wants classes without gaps; a modality may lack a class altogether."""
    X, _, score = make(200)
    y = np.digitize(score, [-1, 1])
    X.loc[y == 1, ["rs1", "rs2"]] = np.nan
    model = LateFusionClassifier(encoders(), XGBClassifier(n_estimators=20), verbose=0)
    model.fit(X, y)
    assert (model.models_["genes"].predict_proba(X[y != 1])[:, 1] == 0).all()
    assert np.isfinite(model.predict_proba(X)).all()


def test_groups_reach_a_search_inside():
    X, y, _ = make(80)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=GroupKFold(3))
    model = EarlyFusionClassifier(encoders(), search, verbose=0)
    model.fit(X, y, groups=np.arange(80) // 4)
    assert model.estimator_.best_params_["C"] in (0.1, 1.0)


class SeesFolds(LassoCV):
    """Note which folds it is fitted with."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(self.cv)
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: make_pipeline(model)])
def test_a_number_of_folds_inside_keeps_patients_whole(wrap, n_targets):
    X, _, score = make(80)
    y = np.column_stack([score, -score])[:, :n_targets]
    patients = np.arange(80) // 4
    model = EarlyFusionRegressor(encoders(), wrap(SeesFolds(cv=3)), verbose=0)
    SeesFolds.seen.clear()
    model.fit(X, y, groups=patients)
    assert len(SeesFolds.seen) == n_targets
    for folds in SeesFolds.seen:
        assert len(folds) == 3
        assert not any(set(patients[one]) & set(patients[other]) for one, other in folds)
    kept = model.estimator_.get_params(deep=True)
    assert {v for k, v in kept.items() if k.split("__")[-1] == "cv"} == {3}
    for fitted in getattr(model.estimator_, "estimators_", []):
        assert {v for k, v in fitted.get_params().items() if k.split("__")[-1] == "cv"} == {3}
    SeesFolds.seen.clear()
    model.fit(X, y)
    assert SeesFolds.seen == [3] * n_targets, "without patients scikit-learn's own folds"


def test_a_search_inside_is_not_flattered_by_visits_of_one_patient():
    rng = np.random.default_rng(0)
    patients = rng.permutation(np.repeat(np.arange(40), 4))
    X = pd.DataFrame(rng.normal(size=(40, 3))[patients], columns=["crp", "esr", "bmi"])
    y = rng.integers(0, 2, 40)[patients]  # nothing to learn but who it is
    parts = {"labs": TabularEncoder(["crp", "esr", "bmi"])}
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 30]}, cv=4)
    calibrated = CalibratedClassifierCV(KNeighborsClassifier(1), cv=None, method="isotonic")
    model = EarlyFusionClassifier(parts, search, verbose=0, random_state=0)
    assert model.fit(X, y, groups=patients).estimator_.best_score_ < 0.75
    model.fit(X, y)
    assert model.estimator_.best_score_ > 0.9, "the leak that groups close"
    model = EarlyFusionClassifier(parts, calibrated, verbose=0).fit(X, y, groups=patients)
    assert len(model.estimator_.calibrated_classifiers_) == 5


def test_early_features_are_named_in_their_units():
    X, y, _ = make(60)
    X.loc[::3, ["rs1", "rs2"]] = np.nan
    model = EarlyFusionClassifier(encoders(), RandomForestClassifier(5), verbose=0).fit(X, y)
    features, names = model.features(X)
    assert features.shape == (60, len(names)) and np.isfinite(features).all()
    assert names[0] == "labs__crp" and names[-1] == "genes__present"
    np.testing.assert_array_equal(features[:, -1] == 0, np.arange(60) % 3 == 0)


class GivesItsOwn(TabularEncoder):
    """One that hands out the array that it keeps."""

    def transform(self, X):
        if not hasattr(self, "kept_"):
            self.kept_ = super().transform(X)
        return self.kept_


@pytest.mark.parametrize("estimator", [None, RandomForestClassifier(5)])
def test_early_writes_to_no_array_of_an_encoder(estimator):
    X, y, _ = make(60)
    X.loc[::3, ["rs1", "rs2"]] = np.nan
    parts = {"labs": GivesItsOwn(["crp", "esr"]), "genes": GivesItsOwn(["rs1", "rs2"])}
    model = EarlyFusionClassifier(parts, estimator, verbose=0, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    model.features(X)
    for encoder in model.encoders_.values():
        np.testing.assert_array_equal(encoder.kept_, TabularEncoder.transform(encoder, X))
    plain = EarlyFusionClassifier(encoders(), estimator, verbose=0, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    np.testing.assert_array_equal(plain.predict_proba(X), before)


def test_the_scale_of_early_features_does_not_depend_on_how_many_are_read_at_once(monkeypatch):
    X, y, _ = make(60)
    X = X.assign(**{f"p{i}": X["crp"] ** i for i in range(7)})
    X.loc[::5, X.columns != "esr"] = np.nan
    parts = {"own": TabularEncoder("esr"), "t": TabularEncoder([*X.columns.drop("esr")])}
    one = EarlyFusionClassifier(parts, verbose=0).fit(X, y)
    monkeypatch.setattr(_blocks, "_VALUES_AT_ONCE", 1)
    other = EarlyFusionClassifier(parts, verbose=0).fit(X, y)
    np.testing.assert_array_equal(other.scales_["t"], one.scales_["t"])
    np.testing.assert_array_equal(other.predict_proba(X), one.predict_proba(X))


def test_early_trains_networks_that_are_not_pretrained():
    X, y, _ = make(120)
    X["note"] = np.where(y == 1, "inflammatory pain at night", "pain after lifting boxes")
    parts = {**encoders(), "notes": TextEncoder("note")}
    network = JointFusionClassifier(max_epochs=15, learning_rate=3e-3)
    model = EarlyFusionClassifier(parts, network=network, verbose=0, random_state=0)
    model.fit(X[:80], y[:80])
    assert auc(model, X[80:], y[80:]) > 0.95
    assert network.encoders == "auto", "the template is left alone"


def test_the_trained_network_is_shared_with_the_encoders():
    X, y, _ = make(60)
    X["note"] = "pain at night"
    parts = {**encoders(), "notes": TextEncoder("note")}
    model = JointFusionClassifier(parts, max_epochs=2, verbose=0, random_state=0).fit(X, y)
    assert model.encoders_["notes"].network_ is model.network_.encoders["notes"]
    assert model.encoders_["notes"].transform(X).shape[0] == 60
    assert not model.network_.training


def test_early_stopping_is_automatic_from_a_thousand_rows():
    X, y, _ = make(1000)
    groups = np.arange(1000) // 3
    model = JointFusionClassifier(encoders(), max_epochs=2, verbose=0, random_state=0)
    assert "validation_loss" in model.fit(X, y, groups=groups).history_[0]
    assert "validation_loss" not in model.fit(X[:990], y[:990]).history_[0]
    model.set_params(early_stopping=True)
    assert "validation_loss" in model.fit(X[:90], y[:90]).history_[0]
    with pytest.warns(AsfusionWarning, match="Too few rows or groups to hold out"):
        model.fit(X[:90], y[:90], groups=np.zeros(90))


def test_a_network_that_learns_from_words_stops_early_from_a_hundred_rows():
    X, y, _ = make(100)
    X["note"] = "pain at night"
    notes = TextEncoder("note", backbone="transformer")
    parts = {**encoders(), "notes": notes}
    model = JointFusionClassifier(parts, max_epochs=1, verbose=0, random_state=0)
    assert "validation_loss" in model.fit(X, y).history_[0]
    assert "validation_loss" not in model.fit(X[:99], y[:99]).history_[0]


@pytest.mark.parametrize(("n_rows", "expected"), [(60, 100), (140, 60), (400, 40)])
def test_few_rows_make_enough_steps(n_rows, expected):
    X, y, _ = make(n_rows)
    model = JointFusionClassifier(encoders(), verbose=0, random_state=0)
    model._read_training(X, y, None, None)
    model.encoders_ = model.encoders
    assert model._n_epochs(n_rows, 128) == expected
    assert model.set_params(max_epochs=7)._n_epochs(n_rows, 128) == 7


def test_labels_are_smoothed_more_where_rows_are_few_and_numbers_never():
    X, y, _ = make(60)
    model = JointFusionClassifier(encoders(), max_epochs=1, verbose=0, random_state=0).fit(X, y)
    few = 10 * model._n_features
    assert model._settings(few).label_smoothing == 0.1
    assert model._settings(few - 1).label_smoothing == 0.2
    assert model.set_params(label_smoothing=0.0)._settings(9).label_smoothing == 0.0
    numbers = JointFusionRegressor(encoders(), max_epochs=1, verbose=0).fit(X, y)
    assert numbers._settings(9).label_smoothing == 0.0


def test_one_modality_alone_is_neither_dropped_nor_blended():
    X, y, _ = make(60)
    one = {"labs": encoders()["labs"]}
    model = JointFusionClassifier(one, max_epochs=1, verbose=0, random_state=0).fit(X, y)
    assert not len(model.network_.unimodal) and not model.network_.hybrid
    assert {m.p for m in model.network_.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    several = JointFusionClassifier(encoders(), max_epochs=1, verbose=0, random_state=0).fit(X, y)
    assert several.network_.hybrid and several.network_.dropout.p == 0.3
    assert several.network_.encoders["labs"].adapter[1].p == 0.3


def test_the_validation_part_keeps_groups_whole(monkeypatch):
    X, y, _ = make(120)
    groups = np.arange(120) // 4
    seen = {}

    def spy(network, rows, validation, **options):
        seen["rows"], seen["validation"] = rows, validation
        return []

    monkeypatch.setattr(joint_module, "train", spy)
    X["crp"] = groups.astype(float)
    JointFusionClassifier(
        {"labs": TabularEncoder(["crp"])}, early_stopping=True, verbose=0, random_state=0
    ).fit(X, y, groups=groups)
    left, right = (
        set(part.modalities["labs"].tensors["x"][part.positions, 0].tolist())
        for part in seen.values()
    )
    assert left and right and not left & right


def test_a_killed_fit_goes_on(tmp_path, monkeypatch):
    X, y, _ = make(120)
    options = {"max_epochs": 6, "verbose": 0, "random_state": 0}
    straight = JointFusionClassifier(encoders(), **options).fit(X, y)
    from asfusion.training import loop

    original = loop._Run.run_epoch

    def dies(self, epoch):
        if epoch == 3:
            raise KeyboardInterrupt
        return original(self, epoch)

    model = JointFusionClassifier(encoders(), checkpoint=tmp_path / "run", **options)
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "run_epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    model.fit(X, y, resume=True)
    assert model.history_ == straight.history_
    np.testing.assert_array_equal(model.predict_proba(X), straight.predict_proba(X))


def test_late_networks_have_checkpoints_of_their_own(tmp_path):
    X, y, _ = make(60)
    network = JointFusionClassifier(max_epochs=2, checkpoint=tmp_path)
    model = LateFusionClassifier(
        encoders(), "network", "stacking", cv=2, network=network, verbose=0, random_state=0
    ).fit(X, y)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["genes.ckpt", "labs.ckpt"]
    again = model.predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y, resume=True).predict_proba(X), again)


def test_tables_alone_are_computed_in_double_precision():
    X, y, _ = make(40)
    model = JointFusionClassifier(encoders(), max_epochs=1, verbose=0, random_state=0).fit(X, y)
    assert model.network_.head.weight.dtype == torch.float64


def test_progress_bars_are_silent_when_told(capsys):
    X, y, _ = make(40)
    JointFusionClassifier(encoders(), max_epochs=2, verbose=0, random_state=0).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""
