"""Bad input: every estimator says what, expected, got and fix, and shows no cell."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import is_classifier
from sklearn.linear_model import LinearRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier

from asfusion._checks import check_modality_name
from asfusion.encoders.tabular import TabularEncoder
from asfusion.estimators.early import EarlyFusionClassifier, EarlyFusionRegressor
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.estimators.late import LateFusionClassifier, LateFusionRegressor
from asfusion.exceptions import (
    AsfusionWarning,
    CircularityError,
    ColumnError,
    ConfigurationError,
    InputError,
)

FAMILIES = [
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    JointFusionClassifier,
    JointFusionRegressor,
    LateFusionClassifier,
    LateFusionRegressor,
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
SECRET = "Mustermann"


def make(family, encoders="auto", **params):
    joint = JointFusionClassifier if is_classifier(family()) else JointFusionRegressor
    if "Joint" in family.__name__:
        params.setdefault("max_epochs", 1)
    else:
        params.setdefault("network", joint(max_epochs=1))
    return family(encoders, verbose=0, **{"random_state": 0, **params})


def labs():
    return {"labs": TabularEncoder(["crp", "esr"])}


def table(n=20):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "bmi"])
    return X, np.arange(n) % 2


def fails(family, X, y, match, error=InputError, encoders=None, **fit):
    with pytest.raises(error, match=match) as caught:
        make(family, labs() if encoders is None else encoders).fit(X, y, **fit)
    assert SECRET not in str(caught.value)


@every_family
def test_a_column_that_is_not_there(family):
    X, y = table()
    fails(
        family,
        X.rename(columns={"crp": "crp_mg"}),
        y,
        "column 'crp' in X, .*mean 'crp_mg'",
        ColumnError,
    )
    model = make(family, labs()).fit(X, y)
    told = "expected the column 'esr' in X.* Give what is absent as a column of missing cells"
    with pytest.raises(ColumnError, match=told):
        model.predict(X[["crp"]])
    assert len(model.predict(X[["bmi", "esr", "crp"]])) == 20, "order and more columns are fine"


@every_family
def test_visits_of_a_patient_may_share_an_index_label(family):
    X, y = table()
    labels = [SECRET] * 2 + list(range(18))
    visits = X.set_axis(labels)
    model, other = (make(family, labs()).fit(table, y) for table in (X, visits))
    np.testing.assert_array_equal(other.predict(visits), model.predict(X))
    other = make(family, labs()).fit(visits, pd.Series(y, index=labels))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    # A label that stands twice finds no row: no other order of them can be told.
    shuffled = pd.Series(y, index=labels[::-1])
    told = r"same index labels in another order. Use y.to_numpy\(\) if the rows are right"
    fails(family, visits, shuffled, told)


@every_family
def test_a_duplicated_column(family):
    X, y = table()
    fails(family, X.set_axis(["crp", "esr", "crp"], axis=1), y, "each column once", ColumnError)
    fails(family, X.set_axis(["crp", "esr", 3], axis=1), y, "names that are strings", ColumnError)


@every_family
def test_other_containers(family):
    with pytest.raises(InputError, match="a pandas or polars DataFrame or a 2-D array, got dict"):
        make(family).fit({"crp": [1.0, 2.0]}, [0, 1])


@every_family
def test_infinite_cells(family):
    X, y = table()
    X.loc[3, "crp"] = np.inf
    fails(family, X, y, "Column 'crp': expected finite .* got infinity in 1 row.* position 3")
    with pytest.raises(ValueError, match="infinity"):
        make(family).fit(X.to_numpy(), y)


@every_family
def test_text_among_numbers(family):
    X, y = table()
    with pytest.raises(InputError, match="array of numbers, got text") as caught:
        make(family).fit(np.array([[SECRET, 1.0]] * 20, dtype=object), y)
    assert SECRET not in str(caught.value)
    model = make(family, labs()).fit(X, y)
    with pytest.raises(ColumnError) as caught:
        model.predict(X.assign(crp=SECRET))
    assert SECRET not in str(caught.value)


@every_family
def test_one_row_and_none(family):
    X, y = table()
    fails(family, X.head(1), y[:1], "at least 2 rows to fit, got n_samples=1")
    fails(family, X.head(0), y[:0], r"at least 1 row and 1 column, got shape=\(0, 2\)")


@every_family
def test_nothing_but_missing_cells(family):
    X, y = table()
    X[["crp", "esr"]] = np.nan
    with pytest.warns(AsfusionWarning, match="Modality 'labs'"):
        fails(family, X, y, "expected at least one modality")


@every_family
def test_targets(family):
    X, y = table()
    fails(family, X, None, "requires y to be passed, but the target y is None")
    fails(family, X, y[:-1], "y: expected 20 entries, one per row of X, got 19")
    missing = pd.Series(y, dtype="Int64")
    missing[4] = pd.NA
    fails(family, X, missing, r"got 1 missing \(NaN\), the first at position 4. Drop")
    shuffled = pd.Series(y, index=X.index[::-1])
    fails(family, X, shuffled, r"same index labels in another order.*y.loc\[X.index\]")


@pytest.mark.parametrize("family", [f for f in FAMILIES if is_classifier(f())])
def test_classes(family):
    X, y = table()
    fails(family, X, np.ones(20), "at least 2 classes, got 1 class")
    fails(family, X, y, "at least 2 classes", sample_weight=y)
    fails(family, X, np.linspace(0, 1, 20), "Unknown label type", ValueError)
    with pytest.raises(ConfigurationError, match="class_weight: expected None, 'balanced' or a"):
        make(family, labs(), class_weight=3).fit(X, y)
    with pytest.raises(ConfigurationError, match="at least one class in y to weigh more"):
        make(family, labs(), class_weight={0: 0, 1: 0}).fit(X, y)


@pytest.mark.parametrize("family", [f for f in FAMILIES if not is_classifier(f())])
def test_regression_targets(family):
    X, y = table()
    fails(family, X, np.array([SECRET] * 20), "y: expected numbers")
    fails(family, X, np.where(y, np.inf, 1.0), "y: expected finite numbers, got infinity")
    fails(family, X, np.ones((20, 2, 2)), "got 3 dimensions")


@every_family
def test_weights_and_groups(family):
    X, y = table()
    fails(family, X, y, r"sample_weight: expected shape \(20,\)", sample_weight=np.ones(3))
    fails(family, X, y, "weights of at least zero", sample_weight=-np.ones(20))
    fails(family, X, y, "weight above zero", sample_weight=np.zeros(20))
    fails(family, X, y, "sample_weight: expected numbers", sample_weight=[SECRET] * 20)
    fails(family, X, y, r"groups: expected shape \(20,\)", groups=[1, 2])
    fails(
        family,
        X,
        y,
        "groups: expected a label for every row, got 1 missing",
        groups=[None, *range(19)],
    )


@every_family
def test_encoders_that_are_not_encoders(family):
    X, y = table()
    fails(family, X, y, "expected 'auto' or a non-empty dict", ConfigurationError, encoders={})
    one = TabularEncoder()
    told = r"got a TabularEncoder. For example {'labs': asfusion.Tab"
    fails(family, X, y, told, ConfigurationError, encoders=one)
    fails(family, X, y, "expected 'auto' or a", ConfigurationError, encoders="all")
    fails(
        family,
        X,
        y,
        r"encoders\['labs'\]: expected an encoder",
        ConfigurationError,
        encoders={"labs": LinearRegression()},
    )
    fails(
        family,
        X,
        y,
        "Modality name 'my__labs': expected an identifier",
        ConfigurationError,
        encoders={"my__labs": TabularEncoder()},
    )


@pytest.mark.parametrize("family", [EarlyFusionClassifier, LateFusionClassifier])
def test_estimators_that_cannot_take_part(family):
    X, y = table()

    def fit(estimator, **fit_params):
        return make(family, labs(), estimator=estimator).fit(X, y, **fit_params)

    with pytest.raises(ConfigurationError, match="with predict_proba, got Perceptron. Wrap it in"):
        fit(Perceptron())
    with pytest.raises(ConfigurationError, match="expected a scikit-learn estimator, got int"):
        fit(7)
    with pytest.raises(ConfigurationError, match="weighted .* KNeighborsClassifier does not"):
        fit(KNeighborsClassifier(), sample_weight=np.arange(1, 21))
    regress = EarlyFusionRegressor if family is EarlyFusionClassifier else LateFusionRegressor
    with pytest.raises(ConfigurationError, match="expected a regressor, got the classifier"):
        make(regress, labs(), estimator=KNeighborsClassifier()).fit(X, y)
    with pytest.raises(ConfigurationError, match="network: expected None or a JointFusionClass"):
        make(family, labs(), network=LinearRegression()).fit(
            X, y
        ) if family is LateFusionClassifier else (
            make(family, {"note": _untrained()}, network=LinearRegression()).fit(
                X.assign(note="pain"), y
            )
        )


def _untrained():
    from asfusion.encoders.text import TextEncoder

    return TextEncoder("note")


def test_joint_parameters():
    X, y = table()
    for params, match in [
        ({"early_stopping": "yes"}, "early_stopping: expected True, False or 'auto'"),
        ({"training__validation_fraction": 0.9}, "validation_fraction: expected"),
        ({"fusion": "gates"}, "fusion: expected one of .* Did you mean 'gated'"),
        ({"training__dropout": -1}, "dropout: expected a number"),
        ({"training": {"dropout": 0.1}}, "training: expected None or .*TrainingOptions.* got dict"),
        ({"batch_size": 0}, "batch_size: expected an integer"),
        ({"random_state": "seed"}, "random_state: expected None, a non-negative integer"),
    ]:
        with pytest.raises(ConfigurationError, match=match):
            make(JointFusionClassifier, labs()).set_params(**params).fit(X, y)


def test_late_parameters():
    X, y = table()
    for params, match in [
        ({"combine": "votes"}, "combine: expected one of"),
        ({"estimator": {"mri": LinearRegression()}}, "estimator: expected modalities among"),
        ({"weights": {"labs": 1.0}}, "expected combine='weighted' with them, got 'auto'"),
        ({"combine": "weighted", "weights": {"x": 1}}, "weights: expected a dict with a weight"),
        ({"combine": "weighted", "weights": {"labs": -1}}, "weights: expected finite weights"),
        ({"combine": "stacking", "cv": 1}, "expected enough rows and groups for inner folds"),
    ]:
        with pytest.raises((ConfigurationError, InputError), match=match):
            make(LateFusionClassifier, labs(), **params).fit(X, y)
    half = np.arange(20) // 10
    split = [(np.arange(0, 15), np.arange(15, 20))]
    with pytest.raises(ConfigurationError, match="cv, split 0: expected each group on one side"):
        make(LateFusionClassifier, labs(), combine="stacking", cv=split).fit(X, y, groups=half)


def test_score_is_not_predicted_from_its_own_items(df_module) -> None:
    rng = np.random.default_rng(0)
    X = df_module.DataFrame({"crp": rng.gamma(2.0, 4.0, 20), "age": rng.normal(40, 9, 20)})
    target = df_module.DataFrame({"asdas_crp": rng.normal(2, 1, 20)})["asdas_crp"]
    model = EarlyFusionRegressor(verbose=0)
    with pytest.raises(CircularityError, match="Target 'asdas_crp'.* got 'crp'"):
        model.fit(X, target)
    model.fit(X, target.to_numpy())  # without its name, nobody can know


def test_arrow_tables_and_names_of_several_levels() -> None:
    arrow = pytest.importorskip("pyarrow")
    X = arrow.table({"crp": [1.0, 2.0, 9.0, 8.0], "sex": ["f", "m", "f", "m"]})
    model = EarlyFusionClassifier(verbose=0).fit(X, [0, 0, 1, 1])
    assert model.predict(X).tolist() == [0, 0, 1, 1]
    levels = pd.DataFrame(np.ones((4, 2)), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    with pytest.raises(ColumnError, match="expected one level of column names"):
        EarlyFusionClassifier(verbose=0).fit(levels, [0, 0, 1, 1])


def test_names_that_networks_need_are_all_known():
    # In torch's own words: packages that other tests import add methods of theirs.
    theirs = torch.nn.ModuleDict
    names = [name for name in dir(theirs) if not name.startswith("_")]
    homes = [getattr(getattr(theirs, name), "__module__", None) or "torch" for name in names]
    own = [name for name, home in zip(names, homes, strict=True) if home.startswith("torch")]
    assert len(own) > 40
    for name in own:
        with pytest.raises(ConfigurationError, match="which torch needs itself"):
            check_modality_name(name)


@every_family
@pytest.mark.parametrize("name", ["keys", "items", "train", "type"])
def test_a_modality_with_a_name_that_networks_need(family, name):
    X, y = pd.DataFrame({"crp": np.arange(20.0)}), np.arange(20) % 2
    with pytest.raises(ConfigurationError, match=f"got '{name}', which torch needs itself"):
        family({name: TabularEncoder("crp")}, verbose=0).fit(X, y)
