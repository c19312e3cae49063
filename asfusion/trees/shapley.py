"""Exact Shapley values of tree models, from the trees alone.

A feature that is unknown sends a row down both sides of a split, in proportion to the training
weight that went there: the path-dependent game of TreeSHAP. The values are the exact ones; how
they are summed is described in `_tree_kernel`.

Dimensions: N rows, F features, K outputs, M coalitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, in_words, quoted
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.trees._arrays import (
    Ensemble,
    is_supported,
    leaf_sums_are_constant,
    read_ensemble,
)
from asfusion.trees._kernel import (
    Edges,
    add_tree,
    coalition_values,
    expectation,
    make_edges,
    make_table,
)

Floats = NDArray[np.float64]
Output = Literal["auto", "median", "mean"]

__all__ = ["TreeShap", "supports_trees", "tree_shap", "tree_shap_interactions"]

_MOST_ENUMERATED = 10  # features of a weighted median: 2**10 coalitions per row


@dataclass(frozen=True, slots=True, eq=False)
class TreeShap:
    """Shapley values of the rows of a table.

    Parameters
    ----------
    values : ndarray of shape (N, F) or (N, F, K)
        What each feature adds, in the units of the explained output: probability for forests
        and trees that classify, the target's unit for regressors, log-odds (or the margin of
        the objective) for boosting, the decision function for `AdaBoostClassifier`.
    base_value : float or ndarray of shape (K,)
        The output when no feature is known. It and a row's values add up to the row's output.
    n_features : int
        Number of features, F.
    surrogate_error : float or None
        None where the values explain the model's own output. Else they explain the weighted
        mean of the trees instead of their weighted median, and this is the largest distance of
        the two over the rows given, in the unit of the target.
    """

    values: Floats
    base_value: float | Floats
    n_features: int
    surrogate_error: float | None = None


def supports_trees(model: Any) -> bool:
    """Return whether `tree_shap` can explain a model.

    Parameters
    ----------
    model : object
        A model, fitted or not.

    Returns
    -------
    bool
        True for scikit-learn's decision trees, random forests, extra trees, gradient boosting
        and AdaBoost of trees, and for `XGBClassifier` and `XGBRegressor`.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from asfusion.trees.shapley import supports_trees
    >>> supports_trees(RandomForestClassifier()), supports_trees(LogisticRegression())
    (True, False)
    """
    return is_supported(model)


def tree_shap(model: Any, X: Any, *, output: Output = "auto") -> TreeShap:
    """Return the exact path-dependent Shapley values of a tree model.

    Parameters
    ----------
    model : estimator
        A fitted model for which `supports_trees` is true.
    X : array-like or DataFrame of shape (N, F)
        Rows to explain, as the model takes them.
    output : {"auto", "median", "mean"}, default="auto"
        What to explain of an `AdaBoostRegressor`, which predicts a weighted median of trees.
        ``"median"`` explains that (a coalition's payoff is the weighted median of what the
        trees expect of it), by visiting every coalition of the features in use, of which there
        may be 10. ``"mean"`` explains the weighted mean and states its distance from the
        median. ``"auto"`` takes the median where it can. Other models have one output.

    Returns
    -------
    TreeShap
        Values, base value, and the error of the surrogate if there is one.

    Raises
    ------
    InputError
        If the rows do not fit the model.
    ConfigurationError
        If the model is not supported or not fitted, or `output` does not fit it.

    Notes
    -----
    The values are those of the game in [1]_; the way of summing them is exact too, and takes
    time in proportion to leaves times depth. The first call compiles for some seconds.

    References
    ----------
    .. [1] Lundberg et al., From local explanations to global understanding with explainable AI
       for trees. Nature Machine Intelligence 2 (2020). doi:10.1038/s42256-019-0138-9

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from asfusion.trees.shapley import tree_shap
    >>> X = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> model = DecisionTreeRegressor(max_depth=1).fit(X, [0.0, 0.0, 4.0, 4.0])
    >>> shap = tree_shap(model, X[:1])
    >>> shap.base_value, shap.values.tolist()
    (2.0, [[-2.0, 0.0]])
    """
    check_choice(output, "output", ("auto", "median", "mean"))
    ensemble = read_ensemble(model)
    rows = _check_rows(X, ensemble)
    edges = [make_edges(tree) for tree in ensemble.trees]
    if ensemble.median_weights is None:
        if output != "auto":
            msg = (
                f"output: {in_words(output)} is for AdaBoostRegressor, got a "
                f"{type(model).__name__}. Leave output at 'auto'."
            )
            raise ConfigurationError(msg)
        return _added_up(rows, ensemble, edges)
    if _enumerates(edges, output):
        payoffs, used = _median_game(rows, ensemble, edges)
        values = np.zeros(rows.shape)
        values[:, used] = _shapley(payoffs)
        return TreeShap(values, float(_plain_median(ensemble, edges)), rows.shape[1])
    mean = _added_up(rows, _mean_of(ensemble), edges)
    predicted = mean.base_value + mean.values.sum(axis=1)
    error = np.abs(_medians(rows, ensemble, edges) - predicted).max(initial=0.0)
    return replace(mean, surrogate_error=float(error))


def tree_shap_interactions(model: Any, X: Any) -> Floats:
    """Return the exact Shapley interaction values of a tree model.

    Parameters
    ----------
    model : estimator
        A fitted model for which `supports_trees` is true.
    X : array-like or DataFrame of shape (N, F)
        Rows to explain, as the model takes them.

    Returns
    -------
    ndarray of shape (N, F, F) or (N, F, F, K)
        Off the diagonal half of what two features add together beyond what each adds alone;
        on it what remains of a feature. Each row of a matrix adds up to the feature's value of
        `tree_shap`. For an `AdaBoostRegressor` they explain what ``output="auto"`` explains.

    Raises
    ------
    InputError
        If the rows do not fit the model.
    ConfigurationError
        If the model is not supported or not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from asfusion.trees.shapley import tree_shap_interactions
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> model = DecisionTreeRegressor().fit(X, [0.0, 0.0, 0.0, 4.0])
    >>> tree_shap_interactions(model, X[3:]).tolist()
    [[[1.0, 0.5], [0.5, 1.0]]]
    """
    ensemble = read_ensemble(model)
    rows = _check_rows(X, ensemble)
    edges = [make_edges(tree) for tree in ensemble.trees]
    if ensemble.median_weights is not None:
        if _enumerates(edges, "auto"):
            return _median_interactions(rows, ensemble, edges)
        ensemble = _mean_of(ensemble)
    n_features = rows.shape[1]
    pairs = np.zeros((n_features, len(rows), n_features, len(ensemble.base)))
    for tree, walk in zip(ensemble.trees, edges, strict=True):
        outputs = slice(tree.first, tree.first + tree.values.shape[1])
        for held, feature in enumerate(walk.used):
            into = pairs[feature, :, :, outputs]
            for known, sign in ((True, 0.5), (False, -0.5)):
                table = make_table(walk, held=held, known=known)
                add_tree(rows, walk, table, sign * tree.values, into)
    matrix = np.moveaxis(pairs, 0, 2)
    single = _added_up(rows, ensemble, edges).values.reshape(len(rows), n_features, -1)
    diagonal = np.arange(n_features)
    matrix[:, diagonal, diagonal] = single - matrix.sum(axis=1)
    return np.ascontiguousarray(matrix[..., 0] if ensemble.scalar else matrix)


def _check_rows(X: Any, ensemble: Ensemble) -> Floats:
    """Return the rows in single precision, as the models compare them, held as doubles."""
    _check_names(X, ensemble.names)
    try:
        rows = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        msg = (
            "X: expected numbers, got values that are not. Pass the rows as the model takes "
            "them, encoded."
        )
        raise InputError(msg) from None
    if rows.ndim != 2 or rows.shape[1] != ensemble.n_features:
        msg = (
            f"X: expected rows of {ensemble.n_features} features, as the model was fitted "
            f"with, got an array of shape {rows.shape}. Pass the same columns."
        )
        raise InputError(msg)
    if not math.isnan(ensemble.missing):
        rows = np.where(rows == ensemble.missing, np.nan, rows)
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32).astype(np.float64)
    _check_cells(rows, ensemble)
    return np.ascontiguousarray(rows)


def _check_names(X: Any, names: tuple[str, ...] | None) -> None:
    columns = getattr(X, "columns", None)
    if columns is None or names is None:
        return
    got = tuple(str(column) for column in columns)
    if got != names:
        extra, lacking = set(got) - set(names), set(names) - set(got)
        what = quoted(sorted(lacking or extra)) if lacking or extra else "another order"
        state = "missing" if lacking else "not known to the model" if extra else "found"
        msg = (
            f"X: expected the {len(names)} columns that the model was fitted with, in their "
            f"order; {state}: {what}. Select X[model.feature_names_in_]."
        )
        raise InputError(msg)


def _check_cells(rows: Floats, ensemble: Ensemble) -> None:
    n_infinite = int(np.isinf(rows).any(axis=1).sum())
    if n_infinite:
        msg = (
            f"X: expected numbers that fit single precision, got infinite ones in {n_infinite} "
            f"of {len(rows)} rows. Mark them as missing or clip them."
        )
        raise InputError(msg)
    n_missing = int(np.isnan(rows).any(axis=1).sum())
    if n_missing and not ensemble.accepts_missing:
        msg = (
            f"X: expected no missing cells, which this model does not take, got some in "
            f"{n_missing} of {len(rows)} rows. Impute them first."
        )
        raise InputError(msg)


def _added_up(rows: Floats, ensemble: Ensemble, edges: list[Edges]) -> TreeShap:
    n_outputs = len(ensemble.base)
    # Where the outputs of a leaf add up to a constant, the last one follows from the others.
    closed = leaf_sums_are_constant(ensemble.trees, n_outputs)
    n_walked = n_outputs - closed
    values = np.zeros((*rows.shape, n_outputs))
    base = ensemble.base.copy()
    for tree, walk in zip(ensemble.trees, edges, strict=True):
        last = tree.first + tree.values.shape[1]
        base[tree.first : last] += expectation(tree, walk)
        into = values[:, :, tree.first : min(last, n_walked)]
        add_tree(rows, walk, make_table(walk), tree.values[:, : into.shape[2]], into)
    if closed:
        values[..., -1] = -values[..., :-1].sum(axis=-1)
    if ensemble.scalar:
        return TreeShap(values[..., 0], float(base[0]), rows.shape[1])
    return TreeShap(values, base, rows.shape[1])


def _mean_of(ensemble: Ensemble) -> Ensemble:
    weights = _weights(ensemble)
    shares = weights / weights.sum()
    trees = [
        replace(tree, values=tree.values * share)
        for tree, share in zip(ensemble.trees, shares, strict=True)
    ]
    return replace(ensemble, trees=trees, median_weights=None)


def _weights(ensemble: Ensemble) -> Floats:
    assert ensemble.median_weights is not None  # asked for only where the model has them
    return ensemble.median_weights


def _features_in_use(edges: list[Edges]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([walk.used for walk in edges]))


def _enumerates(edges: list[Edges], output: str) -> bool:
    """Return whether a weighted median is explained by visiting every coalition."""
    n_used = len(_features_in_use(edges))
    if output == "median" and n_used > _MOST_ENUMERATED:
        msg = (
            f"output: 'median' visits every coalition of the features that the trees use, up to "
            f"{_MOST_ENUMERATED}, got {n_used}. Use output='mean', or fit with fewer features."
        )
        raise ConfigurationError(msg)
    return output != "mean" and n_used <= _MOST_ENUMERATED


def _weighted_median(predictions: Floats, weights: Floats) -> Floats:
    """Return the lower weighted median over the last axis, as AdaBoost.R2 takes it."""
    order = np.argsort(predictions, axis=-1)
    reached = np.cumsum(weights[order], axis=-1)
    position = (reached >= 0.5 * reached[..., -1:]).argmax(axis=-1)[..., None]
    chosen = np.take_along_axis(order, position, axis=-1)
    return np.asarray(np.take_along_axis(predictions, chosen, axis=-1)[..., 0])


def _payoffs(
    rows: Floats, ensemble: Ensemble, edges: list[Edges], coalitions: NDArray[np.bool_]
) -> Floats:
    """Return the weighted median of the trees' expectations, (N, M)."""
    weights = _weights(ensemble)
    payoffs = np.empty((len(rows), len(coalitions)))
    # One row at a time keeps coalitions times trees in memory, not rows times that.
    for n in range(len(rows)):
        expected = [
            coalition_values(rows[n : n + 1], walk, tree.values[:, 0], coalitions)[0]
            for tree, walk in zip(ensemble.trees, edges, strict=True)
        ]
        payoffs[n] = _weighted_median(np.stack(expected, axis=-1), weights)
    return payoffs


def _medians(rows: Floats, ensemble: Ensemble, edges: list[Edges]) -> Floats:
    everything = np.ones((1, rows.shape[1]), dtype=bool)
    return _payoffs(rows, ensemble, edges, everything)[:, 0]


def _plain_median(ensemble: Ensemble, edges: list[Edges]) -> float:
    expected = [
        expectation(tree, walk)[0] for tree, walk in zip(ensemble.trees, edges, strict=True)
    ]
    return float(_weighted_median(np.array(expected), _weights(ensemble)))


def _median_game(
    rows: Floats, ensemble: Ensemble, edges: list[Edges]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the payoff of every coalition, numbered by its bits, and the features in use."""
    used = _features_in_use(edges)
    numbers = np.arange(2 ** len(used))[:, None]
    coalitions = np.zeros((len(numbers), rows.shape[1]), dtype=bool)
    coalitions[:, used] = (numbers >> np.arange(len(used))) & 1
    return _payoffs(rows, ensemble, edges, coalitions), used


def _without(n_players: int, out: int) -> Iterator[tuple[int, float]]:
    """Yield each coalition without the players of the bits `out`, and its Shapley weight."""
    n_out = out.bit_count()
    n_free = n_players - n_out
    for coalition in range(2**n_players):
        if not coalition & out:
            size = coalition.bit_count()
            yield coalition, 1.0 / ((n_free + 1) * math.comb(n_free, size))


def _shapley(payoffs: Floats) -> Floats:
    n_players = payoffs.shape[1].bit_length() - 1
    values = np.zeros((len(payoffs), n_players))
    for i in range(n_players):
        rest, weights = map(np.array, zip(*_without(n_players, 1 << i), strict=True))
        values[:, i] = (payoffs[:, rest | 1 << i] - payoffs[:, rest]) @ weights
    return values


def _median_interactions(rows: Floats, ensemble: Ensemble, edges: list[Edges]) -> Floats:
    payoffs, used = _median_game(rows, ensemble, edges)
    matrix = np.zeros((len(rows), rows.shape[1], rows.shape[1]))
    for i in range(len(used)):
        for j in range(i):
            a, b = 1 << i, 1 << j
            rest, weights = map(np.array, zip(*_without(len(used), a | b), strict=True))
            both = payoffs[:, rest | a | b] - payoffs[:, rest | a]
            pair = 0.5 * (both - payoffs[:, rest | b] + payoffs[:, rest]) @ weights
            matrix[:, used[i], used[j]] = matrix[:, used[j], used[i]] = pair
    single = np.zeros(rows.shape)
    single[:, used] = _shapley(payoffs)
    diagonal = np.arange(rows.shape[1])
    matrix[:, diagonal, diagonal] = single - matrix.sum(axis=1)
    return matrix
