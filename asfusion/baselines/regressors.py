"""BASDAI and BASFI from labs and examination: plain models that others must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from asfusion._checks import check_number
from asfusion._door import public
from asfusion._random import RandomState
from asfusion.baselines._index import IndexRegressor
from asfusion.baselines._models import MODELS
from asfusion.baselines._runs import BoardOptions, judge_models
from asfusion.baselines._scores import IndexInfo
from asfusion.baselines._standing import BaselineStanding
from asfusion.baselines.board import BaselineBoard
from asfusion.clinical.provenance import standard_name
from asfusion.exceptions import ConfigurationError

__all__ = [
    "BasdaiRegressor",
    "BasfiRegressor",
    "ClinicalIndexRegressor",
    "BaselineBoard",
    "BaselineStanding",
    "compare_baselines",
]

ModelName = Literal["forest", "adaboost", "xgboost", "linear", "mean"]
Columns = Mapping[str, str] | Sequence[str] | None

_BASDAI = IndexInfo("BASDAI", "basdai", (0.0, 10.0), 0.7, 1.1, active_from=4.0)
# Active disease is a BASDAI of 4 or more for BASFI, too: BASFI itself does not say it.
_BASFI = IndexInfo("BASFI", "basfi", (0.0, 10.0), 0.4, 0.6)


class ClinicalIndexRegressor(IndexRegressor):
    """Predict a clinical index from a table by a plain model.

    The table may hold numbers, categories, booleans and dates, with missing cells. What
    defines the index is refused as a feature. `BasdaiRegressor` and `BasfiRegressor` know
    their index; here it is described.

    Parameters
    ----------
    model : {"linear", "forest", "adaboost", "xgboost", "mean"} or scikit-learn regressor
        Ridge regression, random forest, AdaBoost of small trees, gradient boosting, or the
        mean of y whatever the row says.
    columns : dict of str to str, list of str, or None
        Columns to read; a dict gives them other names in all that is shown, such as
        ``{"crp": "CRP (mg/L)"}``. None reads all.
    target : str, optional
        Standard name of the index, such as ``"asdas_crp"``, for the check of circularity.
        By default the name of y, if it has one.
    value_range : tuple of two numbers, optional
        Lowest and highest possible value. A y outside is an error; predictions stay inside.
    important_change : float, optional
        Minimal important change in units of y, for the share of predictions within it.
    tune : bool
        Whether `fit` chooses parameters by inner cross-validation, by the lowest mean
        absolute error.
    param_grid : dict or list of dict, optional
        Parameters of the model to try, as in GridSearchCV. A named model has its own.
    tune_folds : int
        Inner folds of tuning.
    interval_folds : int
        Folds of patients behind `predict_interval`; 0 leaves it out, which fits faster.
        Fewer than two patients per fold leave it out, too.
    max_categories : int
        Most levels of a category that get a feature of their own.
    allow_circular : bool
        Whether to let the ingredients of the index in as features.
    random_state : int, RandomState, Generator or None
        Seeds models, folds and explanations.

    Attributes
    ----------
    model_ : scikit-learn regressor
        The fitted model, which reads prepared features.
    best_params_ : dict
        What tuning chose; empty without tuning.
    plan_ : list of dict
        What was learned of each column.
    n_patients_ : int
        Patients in fit; rows, without groups.
    n_features_in_ : int
        Number of columns that were read.
    feature_names_in_ : ndarray of str
        Names of the columns that were read, where X has names.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    InputError
        On `fit`, if X, y, groups or weights are.
    CircularityError
        On `fit`, if a column defines the index.

    Notes
    -----
    Units: those of y. The linear model is a ridge regression: where columns are few and
    rows are many it is ordinary least squares for all purposes.

    Weights of rows are exact for the linear model, boosting by XGBoost and the mean. Forest
    and AdaBoost draw rows, so that weights there hold on average over seeds.

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"CRP (mg/L)": rng.gamma(2, 5, 60), "smoker": rng.choice(["y", "n"], 60)})
    >>> y = 1.0 + 0.04 * X["CRP (mg/L)"].to_numpy() + 0.1 * rng.normal(size=60)
    >>> model = af.ClinicalIndexRegressor(columns={"crp": "CRP (mg/L)", "smoker": "smoker"})
    >>> model.fit(X, y).get_feature_names_out()
    array(['crp', 'smoker_n', 'smoker_y'], dtype=object)
    >>> model.predict_interval(X[:5]).shape
    (5, 2)
    """

    def __init__(
        self,
        model: ModelName | Any = "linear",
        *,
        columns: Columns = None,
        target: str | None = None,
        value_range: tuple[float, float] | None = None,
        important_change: float | None = None,
        tune: bool = False,
        param_grid: Any = None,
        tune_folds: int = 3,
        interval_folds: int = 5,
        max_categories: int = 20,
        allow_circular: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.model = model
        self.columns = columns
        self.target = target
        self.value_range = value_range
        self.important_change = important_change
        self.tune = tune
        self.param_grid = param_grid
        self.tune_folds = tune_folds
        self.interval_folds = interval_folds
        self.max_categories = max_categories
        self.allow_circular = allow_circular
        self.random_state = random_state

    def _index(self) -> IndexInfo:
        change = self.important_change
        if change is not None:
            change = check_number(change, "important_change", minimum=0.0)
        limits = None if self.value_range is None else _check_limits(self.value_range)
        return IndexInfo(self.target or "index", self.target, limits, change)


class _KnownIndexRegressor(IndexRegressor):
    """A regressor whose index, range and important change are fixed."""

    def __init__(
        self,
        model: ModelName | Any = "linear",
        *,
        columns: Columns = None,
        tune: bool = False,
        param_grid: Any = None,
        tune_folds: int = 3,
        interval_folds: int = 5,
        max_categories: int = 20,
        allow_circular: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.model = model
        self.columns = columns
        self.tune = tune
        self.param_grid = param_grid
        self.tune_folds = tune_folds
        self.interval_folds = interval_folds
        self.max_categories = max_categories
        self.allow_circular = allow_circular
        self.random_state = random_state


class BasdaiRegressor(_KnownIndexRegressor):
    """Predict BASDAI (0 to 10, unitless) from labs, examination and whatever else is there.

    BASDAI is what patients say of their fatigue, pain and stiffness. Labs and mobility tell
    a part of it at best: read `evaluate_nested` or `compare_baselines` before anything else.
    Its own items, scores made of them, and ASDAS, which shares them, are refused.

    Parameters
    ----------
    model : {"linear", "forest", "adaboost", "xgboost", "mean"} or scikit-learn regressor
        Ridge regression, random forest, AdaBoost of small trees, gradient boosting, or the
        mean of y whatever the row says.
    columns : dict of str to str, list of str, or None
        Columns to read; a dict gives them other names in all that is shown, such as
        ``{"crp": "CRP (mg/L)"}``. None reads all.
    tune : bool
        Whether `fit` chooses parameters by inner cross-validation, by the lowest mean
        absolute error.
    param_grid : dict or list of dict, optional
        Parameters of the model to try, as in GridSearchCV. A named model has its own.
    tune_folds : int
        Inner folds of tuning.
    interval_folds : int
        Folds of patients behind `predict_interval`; 0 leaves it out, which fits faster.
        Fewer than two patients per fold leave it out, too.
    max_categories : int
        Most levels of a category that get a feature of their own.
    allow_circular : bool
        Whether to let the ingredients of BASDAI in as features.
    random_state : int, RandomState, Generator or None
        Seeds models, folds and explanations.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    InputError
        On `fit`, if X, y, groups or weights are, or y lies outside 0 to 10.
    CircularityError
        On `fit`, if a column defines BASDAI.

    Notes
    -----
    Attributes as of `ClinicalIndexRegressor`. The share of predictions within the minimal
    important change counts errors up to 0.7, or up to 1.1 where the measured BASDAI is at
    least 4 [2]_. Those are changes over time within a patient, taken here as a yardstick.

    References
    ----------
    .. [1] Garrett et al., "A new approach to defining disease status in ankylosing
       spondylitis: the Bath Ankylosing Spondylitis Disease Activity Index", J Rheumatol
       1994;21:2286-2291.
    .. [2] Kviatkovsky et al., "The minimum clinically important improvement and
       patient-acceptable symptom state in the BASDAI and BASFI for patients with
       ankylosing spondylitis", J Rheumatol 2016;43:1680-1686.
       https://doi.org/10.3899/jrheum.151244

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"CRP": rng.gamma(2, 5, 80), "BMI_kg_m2": rng.normal(26, 4, 80)})
    >>> y = np.clip(2 + 0.1 * X["CRP"] + 0.5 * rng.normal(size=80), 0, 10)
    >>> model = af.BasdaiRegressor("forest", columns={"bmi": "BMI_kg_m2", "crp": "CRP"})
    >>> model.set_params(random_state=0, interval_folds=0).fit(X, y).predict(X[:2]).shape
    (2,)
    """

    def _index(self) -> IndexInfo:
        return _BASDAI


class BasfiRegressor(_KnownIndexRegressor):
    """Predict BASFI (0 to 10, unitless) from labs, examination and whatever else is there.

    BASFI is what patients say of their daily activities; its own items and scores made of
    them are refused as features.

    Parameters
    ----------
    model : {"linear", "forest", "adaboost", "xgboost", "mean"} or scikit-learn regressor
        Ridge regression, random forest, AdaBoost of small trees, gradient boosting, or the
        mean of y whatever the row says.
    columns : dict of str to str, list of str, or None
        Columns to read; a dict gives them other names in all that is shown, such as
        ``{"schober": "Schober (cm)"}``. None reads all.
    tune : bool
        Whether `fit` chooses parameters by inner cross-validation, by the lowest mean
        absolute error.
    param_grid : dict or list of dict, optional
        Parameters of the model to try, as in GridSearchCV. A named model has its own.
    tune_folds : int
        Inner folds of tuning.
    interval_folds : int
        Folds of patients behind `predict_interval`; 0 leaves it out, which fits faster.
        Fewer than two patients per fold leave it out, too.
    max_categories : int
        Most levels of a category that get a feature of their own.
    allow_circular : bool
        Whether to let the ingredients of BASFI in as features.
    random_state : int, RandomState, Generator or None
        Seeds models, folds and explanations.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    InputError
        On `fit`, if X, y, groups or weights are, or y lies outside 0 to 10.
    CircularityError
        On `fit`, if a column defines BASFI.

    Notes
    -----
    Attributes as of `ClinicalIndexRegressor`. The share of predictions within the minimal
    important change counts errors up to 0.4, or up to 0.6 in rows that ``active`` (BASDAI
    of at least 4) marks [2]_. Those are changes over time within a patient, taken here as
    a yardstick.

    References
    ----------
    .. [1] Calin et al., "A new approach to defining functional ability in ankylosing
       spondylitis: the development of the Bath Ankylosing Spondylitis Functional Index",
       J Rheumatol 1994;21:2281-2285.
    .. [2] Kviatkovsky et al., "The minimum clinically important improvement and
       patient-acceptable symptom state in the BASDAI and BASFI for patients with
       ankylosing spondylitis", J Rheumatol 2016;43:1680-1686.
       https://doi.org/10.3899/jrheum.151244

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"schober": rng.normal(4, 1, 80), "age": rng.integers(20, 70, 80)})
    >>> y = np.clip(7 - X["schober"] + 0.5 * rng.normal(size=80), 0, 10)
    >>> model = af.BasfiRegressor(random_state=0).fit(X, y)
    >>> model.shap_values(X[:3]).feature_names
    ['schober', 'age']
    """

    def _index(self) -> IndexInfo:
        return _BASFI


@public
def compare_baselines(
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    models: Sequence[str] | Mapping[str, Any] = MODELS,
    regressor: Any = None,
    cv: Any = 5,
    active: Any = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    random_state: RandomState = 0,
) -> BaselineBoard:
    """Compare plain models of a clinical index with its mean and a linear model.

    Nested cross-validation: all models predict the same unseen patients, each tuned inside
    the training rows of each outer fold.

    Parameters
    ----------
    X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
        One patient (or visit) per row.
    y : array of shape (n_rows,)
        The measured index.
    groups : array of shape (n_rows,), optional
        Patient of each row. A patient's rows stay in one fold, in the outer and the inner
        loop, and intervals resample patients.
    models : sequence of str, or dict of str to model
        Models as `ClinicalIndexRegressor` takes them, in a dict by the name that they get
        on the board. ``"linear"`` and ``"mean"`` are always there.
    regressor : ClinicalIndexRegressor, BasdaiRegressor or BasfiRegressor, optional
        Index, columns and settings of all models; by default those of the index that y is
        named after, and otherwise those of `ClinicalIndexRegressor`.
    cv : int, scikit-learn splitter, or iterable of (train, test)
        The outer folds.
    active : array of shape (n_rows,), bool, optional
        Rows of patients with active disease, for whom the important change is larger. For
        BASDAI it is read from y by default.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that the intervals aim at.
    random_state : int, RandomState, Generator or None
        Seeds folds, models and replicates.

    Returns
    -------
    BaselineBoard
        The smallest mean absolute error first, with intervals, paired differences to the
        mean predictor and the linear model, and a verdict in words.

    Raises
    ------
    InputError
        If rows, targets or groups cannot be used as given.
    CircularityError
        If a column defines the index.
    ConfigurationError
        If a parameter is unusable, or a split mixes a patient's rows.

    References
    ----------
    .. [1] Varma, Simon, "Bias in error estimation when using cross-validation for model
       selection", BMC Bioinformatics 2006. https://doi.org/10.1186/1471-2105-7-91

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.baselines import compare_baselines
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 90), "bmi": rng.normal(26, 4, 90)})
    >>> y = pd.Series(np.clip(2 + 0.1 * X["crp"] + rng.normal(size=90), 0, 10), name="basdai")
    >>> board = compare_baselines(X, y, models=["linear"], n_bootstrap=200)
    >>> board.index, [standing.name for standing in board.standings]
    ('BASDAI', ['linear', 'mean'])
    """
    template = _regressor_for(y) if regressor is None else regressor
    if not isinstance(template, IndexRegressor):
        msg = (
            "regressor: expected a ClinicalIndexRegressor, BasdaiRegressor or BasfiRegressor, got "
            f"{type(template).__name__}. Pass other regressors in models=."
        )
        raise ConfigurationError(msg)
    options = BoardOptions(cv, active, n_bootstrap, confidence, random_state)
    return judge_models(template, _read_models(models), X, y, groups, options)


def _regressor_for(y: Any) -> IndexRegressor:
    name = getattr(y, "name", None)
    standard = standard_name(name) if isinstance(name, str) else None
    if standard == "basdai":
        return BasdaiRegressor()
    return BasfiRegressor() if standard == "basfi" else ClinicalIndexRegressor()


def _read_models(models: Any) -> dict[str, Any]:
    if isinstance(models, Mapping):
        return {str(name): model for name, model in models.items()}
    if isinstance(models, str) or not all(isinstance(name, str) for name in models):
        msg = (
            "models: expected a sequence of names such as ['forest', 'linear'], or a dict of name "
            f"to model, got {type(models).__name__}."
        )
        raise ConfigurationError(msg)
    return {name: name for name in models}


def _check_limits(limits: Any) -> tuple[float, float]:
    is_pair = isinstance(limits, Sequence) and not isinstance(limits, str) and len(limits) == 2
    if is_pair:
        low, high = (check_number(limit, "value_range") for limit in limits)
        if low < high:
            return low, high
    msg = "value_range: expected None or a pair of numbers (low, high) with low < high."
    raise ConfigurationError(msg)
