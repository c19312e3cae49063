"""Models that are learned once at each site and asked together: forests, boosting, linear ones.

The plan builds encoders, fillings and scales alike; each site fits estimators to its own rows and
sends them as arrays (`_local`). Features are moved to means of bins that the plan holds before
trees are grown, so that a threshold lies between those and never between the cells of two rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone

from asfusion._checks import quoted
from asfusion._described import Described
from asfusion.encoders._base import Encoder
from asfusion.estimators._named import LINEAR, is_linear, model_of
from asfusion.estimators._rows import TrainingRows, cells_present
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated._local import (
    Floats,
    LocalModel,
    Trees,
    is_histogram,
    is_linear_model,
    is_xgboost,
    local_model,
    rounded,
)
from asfusion.federated.ensemble import BETWEEN, SiteEnsemble, grouped
from asfusion.federated.update import Update
from asfusion.tabular.told import Told
from asfusion.targets._base import Target
from asfusion.trees._arrays import is_supported

Arrays = Mapping[str, NDArray[Any]]

_FAMILIES = ("early", "late")
_ONE = "model"  # the only part of early fusion; late fusion has one for each modality
_MOST_HESSIAN = {True: 0.5, False: 1.0}  # of a row in XGBoost's loss: of classes, of numbers


def is_bagged(model: Any) -> bool:
    """Return whether sites send models, and not weights to be averaged."""
    return getattr(model, "_family", "") in _FAMILIES


def check_bagged(model: Any) -> None:
    """Raise unless all that a model learns can be sent without a row."""
    target = model._target()
    for name, encoder in model._check_encoders().items():
        if encoder.needs_training:
            msg = (
                f"Modality {name!r}: expected an encoder that does not learn, got one with a "
                "network. Choose a frozen backbone, or a JointFusion model, whose weights sites "
                "average."
            )
            raise ConfigurationError(msg)
    if getattr(model, "combine", "mean") not in ("auto", "mean"):
        msg = f"combine: expected 'mean', which learns from no row, got {model.combine!r}."
        raise ConfigurationError(msg)
    for given in _estimators(model):
        _check_estimator(target, given)


def _estimators(model: Any) -> list[Any]:
    given = model.estimator
    if model._family == "early":
        return [given]
    return [
        given.get(name) if isinstance(given, Mapping) else given for name in model._check_encoders()
    ]


def _check_estimator(target: Target, given: Any) -> None:
    """Raise unless what is learned are trees or coefficients: others keep rows, or may."""
    if is_linear(given):
        return
    made = model_of(target, given)
    known = is_linear_model(made) or is_histogram(made) or is_supported(made)
    if not known or type(made).__name__.startswith("AdaBoost"):
        msg = (
            "estimator: expected a forest, XGBoost, boosting by histograms or a linear model, "
            f"got {type(made).__name__}, which may hold rows. Use {LINEAR!r}, 'forest', 'boosted' "
            "or 'xgboost'."
        )
        raise ConfigurationError(msg)


# -- from the plan -----------------------------------------------------------------------


def planned_model(model: Any, told: Mapping[str, Told], rows: TrainingRows, n_rows: int) -> Any:
    """Return a model that has read rows of nobody, fitted in all but its estimators."""
    fitted = {name: clone(model.encoders[name])._fit_told(one) for name, one in told.items()}
    if model._family == "early":
        _fill_early(model, fitted, told, rows, n_rows)
        return model
    model.models_ = {}
    for name, encoder in fitted.items():
        part = model._model_of(name, clone(encoder))
        _fill_early(part, {name: encoder}, told, rows, n_rows)
        model.models_[name] = part
    model.weights_ = dict.fromkeys(fitted, 1.0 / len(fitted))
    model.dependence_, model.combination_ = 0.0, "mean"
    return model


def _fill_early(
    part: Any,
    encoders: Mapping[str, Encoder],
    told: Mapping[str, Told],
    rows: TrainingRows,
    n_rows: int,
) -> None:
    part.encoders_ = dict(encoders)
    part.penalty_ = None
    moments = {}
    for name, encoder in encoders.items():
        is_full = told[name].n_rows == n_rows or len(encoders) == 1
        moments[name] = *_center_and_spread(encoder, told[name], rows), is_full
    part._set_filling(moments)


def _center_and_spread(encoder: Encoder, told: Told, rows: TrainingRows) -> tuple[Floats, Floats]:
    """Return mean and spread of features over rows of nobody; 0 and 1 where those have none."""
    if not told.columns:
        width = len(encoder.get_feature_names_out())
        return np.zeros(width), np.ones(width)
    block = _of_nobody(encoder, rows)
    return block.mean(axis=0), block.std(axis=0)


def _of_nobody(encoder: Encoder, rows: TrainingRows) -> Floats:
    """Return features of the rows of nobody that have a table."""
    frame = rows.frame
    block: Any = (
        encoder._sparse_vectors(frame) if encoder.is_sparse else encoder._vectors(frame, "cpu")
    )
    dense = np.asarray(block.toarray() if issparse(block) else block, dtype=np.float64)
    return dense[~np.isnan(dense).any(axis=1)]


class Grid:
    """Where features may lie: at values that the plan's bins have, else at two digits."""

    def __init__(self, part: Any, told: Mapping[str, Told], rows: TrainingRows) -> None:
        self._values: list[Floats | None] = []
        for name, encoder in part.encoders_.items():
            width = len(part.centers_[name])
            if not told[name].columns:
                self._values += [None] * width
                continue
            block = _of_nobody(encoder, rows)
            own = np.vstack([block, part.centers_[name]])
            if part._scales:
                own = (own - part.centers_[name]) / part.scales_[name]
            self._values += [np.unique(column.astype(np.float32)) for column in own.T]
        self._values += [np.array([0.0, 1.0])] * len(part.flagged_)

    def snap(self, features: Any) -> Floats:
        """Return each feature at the nearest value."""
        dense = features.toarray() if issparse(features) else features
        columns = zip(np.asarray(dense, dtype=np.float64).T, self._values, strict=True)
        return np.column_stack([_nearest(column, values) for column, values in columns])


def _nearest(column: Floats, values: Floats | None) -> Floats:
    if values is None:
        return rounded(column)
    edges = (values[1:] + values[:-1]) / 2
    return values[np.searchsorted(edges, column)].astype(np.float64)


# -- at a site ---------------------------------------------------------------------------


def learn_here(
    model: Any, told: Mapping[str, Told], nobody: TrainingRows, rows: TrainingRows, least: int
) -> dict[str, NDArray[Any]]:
    """Return the arrays of what these rows teach each part of a planned model.

    Parameters
    ----------
    model : EarlyFusion or LateFusion estimator
        From `planned_model`.
    told : mapping of str to Told
        What the plan holds.
    nobody : TrainingRows
        Rows that stand in for those of all sites.
    rows : TrainingRows
        Of this site.
    least : int
        Fewest rows of a leaf.

    Returns
    -------
    dict of str to ndarray
        By part and name; parts that too few rows can teach are not among them.
    """
    sent: dict[str, NDArray[Any]] = {}
    for name, part in parts_of(model).items():
        have = _present(part, rows)
        own = rows.take(np.flatnonzero(have))
        if len(own) < 2 * least or not part.target_.can_teach(own.y):
            continue
        learned = _learn_part(part, Grid(part, told, nobody), own, least)
        sent |= {f"{name}{BETWEEN}{key}": array for key, array in learned.arrays().items()}
    if not sent:
        raise InputError(f"X: {model.target_.lacks(rows.y, 'with a modality')}.")
    return sent


def _present(part: Any, rows: TrainingRows) -> NDArray[np.bool_]:
    """Return which rows have any modality of a part."""
    found = np.zeros(len(rows), dtype=bool)
    for encoder in part.encoders_.values():
        found |= np.asarray(cells_present(rows.frame, encoder._columns_among(rows.frame.columns)))
    return found


def _learn_part(part: Any, grid: Grid, rows: TrainingRows, least: int) -> LocalModel:
    features = part._scaled(part._fill(part._blocks(rows.frame))[0])
    if is_linear(part.estimator):
        dense = features.toarray() if issparse(features) else features
        fitted, _ = part._fit_head(dense, rows, part._seed("estimator"))
        return local_model(fitted, part.n_outputs_)
    given = part.estimator
    part.estimator = with_leaves(model_of(part.target_, given), rows, least)
    try:
        features = grid.snap(features)
        fitted, _ = part._fit_head(features, rows, part._seed("estimator"))
    finally:
        part.estimator = given
    learned = local_model(fitted, part.n_outputs_)
    _check_leaves(learned, features, least)
    return learned


def with_leaves(estimator: Any, rows: TrainingRows, least: int) -> Any:
    """Return a model whose trees have leaves of no fewer rows, as far as it can be told so."""
    params = estimator.get_params(deep=False)
    if is_xgboost(estimator):
        # Of sums of the loss' second derivative, of which no row has more than this.
        most = _MOST_HESSIAN[hasattr(estimator, "predict_proba")] * float(rows.loss_weight.max())
        given = params.get("min_child_weight")
        return clone(estimator).set_params(min_child_weight=max(least * most, given or 1.0))
    if "min_samples_leaf" not in params:
        return estimator
    given = params["min_samples_leaf"]
    n_rows = int(np.ceil(given * len(rows))) if isinstance(given, float) else given
    return clone(estimator).set_params(min_samples_leaf=max(least, n_rows))


def _check_leaves(learned: LocalModel, features: Floats, least: int) -> None:
    """Raise where a leaf holds few rows of this site."""
    if not isinstance(learned.content, Trees):
        return
    for leaves in learned.content.leaves(features).T:
        counts = np.bincount(leaves)
        if ((counts > 0) & (counts < least)).any():
            msg = (
                f"estimator: expected leaves of at least {least} rows, got smaller ones, which are "
                "not sent. Ask for larger ones (min_samples_leaf, min_child_weight)."
            )
            raise InputError(msg)


# -- at the server -----------------------------------------------------------------------


class Bagging(Described):
    """Put the models of sites together: what `simulate` does where there are no weights."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan

    def start(self) -> Self:
        """Forget earlier rounds."""
        self.refused_: dict[str, str] = {}
        return self

    def aggregate(self, weights: Arrays, updates: Mapping[str, Update]) -> dict[str, NDArray[Any]]:
        """Return the arrays of all sites' models, by numbers of sites, and how many rows each has.

        Raises
        ------
        InputError
            If no site sent anything usable.
        """
        self.refused_, sound = {}, {}
        parts = parts_of(self.plan.estimator())
        for name, update in updates.items():
            try:
                check_sent(parts, update)
                sound[name] = update
            except InputError as error:
                self.refused_[name] = str(error)
        if not sound:
            raise InputError(
                f"Round: expected models of at least one site, got none: refused "
                f"{quoted(self.refused_)}."
            )
        joined = {"rows": np.asarray([update.n_rows for update in sound.values()])}
        for number, update in enumerate(sound.values()):
            joined |= {f"{number}{BETWEEN}{key}": a for key, a in update.weights.items()}
        return joined


def check_sent(parts: Mapping[str, Any], update: Update) -> None:
    """Raise unless an update holds models that the plan's features can be given to."""
    sent = grouped(update.weights)
    if not sent or not set(sent) <= set(parts) or update.n_rows <= 0:
        raise InputError("Message: expected models of the plan's modalities, got others.")
    for name, arrays in sent.items():
        LocalModel.read(arrays, len(parts[name].feature_names_), parts[name].n_outputs_)


def with_models(model: Any, arrays: Arrays) -> Any:
    """Return a planned model with the estimators of a union.

    Raises
    ------
    InputError
        If the arrays are not those of a union.
    """
    try:
        return _with_models(model, arrays)
    except (KeyError, IndexError, ValueError):
        raise InputError("Message: expected models of sites, got something else.") from None


def _with_models(model: Any, arrays: Arrays) -> Any:
    rows = np.maximum(arrays["rows"].astype(int), 0).tolist()
    by_site = grouped({key: a for key, a in arrays.items() if key != "rows"})
    for name, part in parts_of(model).items():
        own = {site: found for site, sent in by_site.items() if (found := grouped(sent).get(name))}
        flat = {f"{site}{BETWEEN}{k}": a for site, one in own.items() for k, a in one.items()}
        counts = [rows[int(site)] for site in own]
        width = len(part.feature_names_)
        part.estimator_ = SiteEnsemble(flat, counts, width, part.n_outputs_)
    if model._family == "late":
        model.models_ = {n: one for n, one in model.models_.items() if one.estimator_.rows}
        model.weights_ = dict.fromkeys(model.models_, 1.0 / len(model.models_))
    return model


def parts_of(model: Any) -> dict[str, Any]:
    """Return the parts of a planned model that each have an estimator."""
    return {_ONE: model} if model._family == "early" else dict(model.models_)
