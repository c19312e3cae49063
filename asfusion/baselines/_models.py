"""The models behind the index regressors: what they are, what is tuned, how they explain."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_choice
from asfusion._foreign import Algorithm, Asked, import_shap, shap_in_our_words
from asfusion.targets.numbers import Numbers
from asfusion.trees.shapley import supports_trees, tree_shap, tree_shap_interactions

Floats = NDArray[np.float64]

MODELS = ("forest", "adaboost", "xgboost", "linear", "mean")

GRIDS: dict[str, dict[str, list[Any]]] = {
    "forest": {"min_samples_leaf": [5, 20], "max_features": [0.33, 1.0]},
    "adaboost": {"learning_rate": [0.03, 0.3], "estimator__max_depth": [2, 4]},
    "xgboost": {"max_depth": [2, 4], "n_estimators": [20, 60, 200]},
    "linear": {"alpha": [0.1, 1.0, 10.0, 100.0, 1000.0]},
    "mean": {},
}

_ROUNDS = 10  # passes over the features, there and back, of the model-agnostic explainer


def make_model(model: Any) -> Any:
    """Return an unfitted regressor for a name of `MODELS`, or a copy of the one given."""
    if not isinstance(model, str):
        Numbers().check_part(model, "model")
        return clone(model)
    name = check_choice(model, "model", MODELS)
    return {
        "forest": _forest,
        "adaboost": _adaboost,
        "xgboost": _xgboost,
        "linear": _linear,
        "mean": _mean,
    }[name]()


def make_grid(model: Any, param_grid: Any) -> Any:
    """Return what tuning tries: the grid given, or the own one of a named model."""
    if param_grid is not None:
        return param_grid
    return GRIDS[model] if isinstance(model, str) else {}


def _forest() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=200, min_samples_leaf=5, max_features=0.33)


def _adaboost() -> Any:
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    return AdaBoostRegressor(DecisionTreeRegressor(max_depth=3), learning_rate=0.1)


def _xgboost() -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=100, learning_rate=0.05, max_depth=3, n_jobs=1)


def _linear() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=1.0)


def _mean() -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor()


class Explained(NamedTuple):
    """What the features of N rows add to a regressor's output.

    `values` is (N, F), `base` (N,). What a surrogate of the model leaves unexplained is
    `remainder` (N,), None where the values explain the model itself.
    """

    values: Floats
    base: Floats
    remainder: Floats | None = None


def explain_model(
    model: Any, features: Floats, background: Floats, seed: int, algorithm: Algorithm = "auto"
) -> Explained:
    """Return the SHAP values of a fitted regressor.

    Trees read no background, the linear model its mean. Whatever has no method of its
    own is asked with features replaced by those of the background.
    """
    kind = _kind(model)
    if kind == "constant":
        base = np.asarray(model.predict(features), dtype=np.float64)
        return Explained(np.zeros(features.shape), base)
    if kind == "tree" and algorithm == "auto":
        exact = tree_shap(model, features)
        base = np.broadcast_to(exact.base_value, (len(features),)).astype(np.float64)
        values = np.asarray(exact.values, dtype=np.float64).reshape(features.shape)
        if exact.surrogate_error is None:
            return Explained(values, base)
        return Explained(values, base, model.predict(features) - base - values.sum(axis=1))
    found = _ask_shap(kind, model, features, background, seed)
    values = np.asarray(found.values, dtype=np.float64).reshape(features.shape)
    base = np.asarray(found.base_values, dtype=np.float64).ravel()
    return Explained(values, np.broadcast_to(base, (len(features),)).copy())


def _ask_shap(kind: str, model: Any, features: Floats, background: Floats, seed: int) -> Any:
    from sklearn.ensemble import AdaBoostRegressor

    shap = import_shap()
    predict = Asked(model.predict)
    with shap_in_our_words(predict):
        if kind == "tree" and not isinstance(model, AdaBoostRegressor):  # unknown to shap
            return shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")(features)
        masker = shap.maskers.Independent(background, max_samples=len(background))
        if kind == "linear":
            return shap.LinearExplainer(model, masker)(features)
        explainer = shap.PermutationExplainer(predict, masker, seed=seed)
        evaluations = _ROUNDS * (2 * features.shape[1] + 1)
        return explainer(features, max_evals=evaluations, silent=True)


def reference_of(model: Any, algorithm: Algorithm = "auto") -> Literal["none", "trees", "rows"]:
    """Return what a fitted regressor's values are measured against by `explain_model`.

    ``"none"``: a constant depends on no column. ``"trees"``: the training rows on each branch.
    ``"rows"``: the background.
    """
    from sklearn.ensemble import AdaBoostRegressor

    kind = _kind(model)
    if kind == "tree":
        asked = algorithm == "shap" and isinstance(model, AdaBoostRegressor)
        return "rows" if asked else "trees"
    return "none" if kind == "constant" else "rows"


def pairs_of_features(model: Any, features: Floats) -> Floats | None:
    """Return exact interaction values (N, F, F); None where the model is no tree."""
    return tree_shap_interactions(model, features) if supports_trees(model) else None


def _kind(model: Any) -> str:
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

    if isinstance(model, DummyRegressor):
        return "constant"
    if supports_trees(model):
        return "tree"
    return "linear" if isinstance(model, LinearRegression | Ridge | Lasso | ElasticNet) else "other"
