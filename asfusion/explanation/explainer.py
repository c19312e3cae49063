"""`explain`: what a fitted model's predictions rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.estimators._base import FusionEstimator
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.explanation._asking import IMAGE_METHODS, WORD_METHODS, ImageMethod, WordMethod
from asfusion.explanation._details import Details
from asfusion.explanation._game import LEAVING_OUT, Game, Link
from asfusion.explanation.of_indices import explain_index
from asfusion.explanation.players import exact_shapley, permutation_shapley, shapley_interactions
from asfusion.explanation.result import Explanation

_EXACT = 10
_PERMUTATIONS = 64


@public
def explain(
    model: Any,
    X: Any,
    *,
    background: Any = None,
    output: Any = None,
    absence: Literal["missing", "background"] = "missing",
    link: Link = "identity",
    n_background: int = 20,
    units: Mapping[str, str] | None = None,
    image_method: ImageMethod = "auto",
    word_method: WordMethod = "shapley",
    n_samples: int = 128,
    algorithm: Literal["auto", "shap"] = "auto",
    interactions: bool = False,
    verbose: int = 1,
    random_state: RandomState = 0,
) -> Explanation:
    """Say which modality, and what within it, moved each prediction.

    The value of a modality is its exact Shapley value: what it adds to the prediction, on
    average over all orders in which modalities could have become known. Modalities are
    encoded once, and each coalition costs a pass of the fusion head alone. Within a modality,
    columns, visits, words or pixels share its value in the same units; they are computed when they
    are first asked for.

    Parameters
    ----------
    model : fitted estimator
        Early, joint or late fusion, or a regressor of a clinical index, such as `BasdaiRegressor`.
    X : DataFrame or array of n_rows rows
        The rows to explain; a handful, since each is taken apart.
    background : DataFrame or array, optional
        Rows that columns are replaced from, best the training rows. X itself by default, and
        the average training row for a clinical index. Indices from trees read none.
    output : class label, label, int, float or str, optional
        The class or label whose probability is explained, or the position of a target; a
        clinical index has one. By default the second of two classes, the predicted class of each
        row among several, or the first target. Of ordered grades also ``">=2"``: the probability
        of grade 2 or above. Of times to an event ``"risk"``, the default, which is what `predict`
        returns, or a time: the probability of no event by then.
    absence : {"missing", "background"}
        What it means for a modality to be left out: ``"missing"``, as the model meets it in
        patients who lack it, or ``"background"``, replaced by that of background rows. The
        second asks about typical content, the first about having the modality at all.
    link : {"identity", "logit"}
        Whether a class is explained by its probability or by its log odds. Near 0 and 1 a
        probability hardly moves, whatever is left out; log odds do, so that pixels and words of
        a patient who is a clear case are told apart better. Probabilities nearer than 1e-6 to 0
        or 1 count as that near.
    n_background : int
        Background rows that are drawn; more is steadier and slower.
    units : mapping of str to str, optional
        Unit of a column, such as ``{"crp": "mg/L"}``, to stand on axes; names must be known.
    image_method : {"auto", "integrated_gradients", "smoothgrad", "grad_cam", "occlusion"}
        How pixels are attributed. ``"auto"`` is integrated gradients in joint fusion, and
        occlusion where there is no gradient from output to pixel. ``"smoothgrad"`` points
        more sharply at what counts and takes as long as integrated gradients, but its pixels
        do not add up by themselves.
    word_method : {"shapley", "deletion", "integrated_gradients"}
        How words are attributed: by leaving them out, in many orders or one by one, or, in
        joint fusion over networks, by gradients to their embeddings, which is quicker.
    n_samples : int
        Orders of words that are tried for each note, or of values for each visit, at least 4.
    algorithm : {"auto", "shap"}
        Who computes values of columns: asfusion's own solvers (`asfusion.trees` for the trees
        of a `ClinicalIndexRegressor`), or the package shap, which is slower.
    interactions : bool
        Whether a `ClinicalIndexRegressor` made of trees is asked for pairs of columns, too.
        Fusion estimators always are: pairs of modalities up to ten, and of columns up to ten.
    verbose : int
        0 hides progress bars.
    random_state : int, RandomState, Generator or None
        Seeds background rows and orders.

    Returns
    -------
    Explanation
        ``modalities`` and, by name, the attribution within each.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable, means nothing for this model, or the model is of another kind;
        or if ``absence="background"`` is asked of a single row without a background.
    InputError
        If X or background is no table, or a row has no modality.

    Warns
    -----
    AsfusionWarning
        Where columns of a single row are asked for without a background.

    Notes
    -----
    An explanation says what the model did, not what is true of the patient: a confounded
    model is explained faithfully. `Explanation.check` says how far to trust the attribution
    itself.

    References
    ----------
    .. [1] Lundberg and Lee, "A unified approach to interpreting model predictions",
       NeurIPS 2017. https://doi.org/10.48550/arXiv.1705.07874

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["crp", "esr", "bmi"])
    >>> y = np.asarray(X["crp"] + X["bmi"] > 0, dtype=int)
    >>> encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder("bmi")}
    >>> model = af.EarlyFusionClassifier(encoders, random_state=0).fit(X, y)
    >>> e = af.explain(model, X.head(3), background=X, verbose=0)
    >>> e.modalities.columns.tolist()
    ['labs', 'body']
    >>> bool(np.allclose(e.modalities.sum(axis=1) + e.base_values, e.predictions))
    True
    """
    check_choice(absence, "absence", ("missing", "background"))
    check_choice(link, "link", ("identity", "logit"))
    check_integer(n_background, "n_background", minimum=1)
    check_choice(image_method, "image_method", IMAGE_METHODS)
    check_choice(word_method, "word_method", WORD_METHODS)
    check_integer(n_samples, "n_samples", minimum=4)
    check_choice(algorithm, "algorithm", ("auto", "shap"))
    _check_table(X, "X")
    _check_table(background, "background")
    if not isinstance(units, Mapping | None):
        msg = (
            f"units: expected a mapping of columns, such as {{'crp': 'mg/L'}}, got "
            f"{type(units).__name__}."
        )
        raise ConfigurationError(msg)
    _check_model(model, link)
    if type(model)._explained_as == "columns":
        return explain_index(
            model,
            X,
            background,
            units or {},
            output=output,
            absence=absence,
            algorithm=algorithm,
            interactions=interactions,
        )
    seed = draw_seed(random_state)
    with progress_shown(bool(verbose)):
        frame, n_rows = _read(model, X, background, n_background, seed)
        if absence == "background" and background is None and n_rows == 1:
            msg = (
                "background: expected rows with absence='background', got none, and a row by "
                "itself can only be replaced by itself. Pass the training rows."
            )
            raise ConfigurationError(msg)
        parts = model._encode(frame)
        _check_present(parts.present[:n_rows])
        outputs = model._decided(parts.take(np.arange(n_rows)))
        columns = model.target_.choose_output(outputs, output)
        _check_odds(model, columns, link)
        n_mixed = len(frame) - n_rows if absence == "background" else 0
        game = Game(model, parts, columns, n_mixed, link)
        details = Details(
            game=game,
            frame=frame,
            output_names=_name_outputs(model, columns, link),
            units=dict(units or {}),
            image_method=image_method,
            word_method=word_method,
            n_samples=int(n_samples),
            algorithm=algorithm,
            has_background=background is not None,
            verbose=bool(verbose),
            seed=derive_seed(seed, "details"),
        )
        details.check(X)
        values, errors, pairs, base = _modalities(game, seed)
    return Explanation(
        names=game.names,
        values=values,
        errors=errors,
        interactions=pairs,
        base_values=base,
        predictions=game.outcomes(outputs, np.arange(n_rows)),
        present=game.present,
        output_names=details.output_names,
        absence=absence,
        details=details,
    )


def _check_model(model: Any, link: Link) -> None:
    """Raise unless the model can be explained, and by log odds if that is asked."""
    if isinstance(model, type) or not hasattr(type(model), "_explained_as"):
        raise ConfigurationError(_advise(model))
    check_is_fitted(model)
    target = getattr(model, "target_", None)
    if link == "logit" and not (target is not None and target.is_probability):
        msg = "link: expected 'identity' for a model of numbers, which have no odds, got 'logit'."
        raise ConfigurationError(msg)


def _check_odds(model: FusionEstimator, columns: NDArray[np.int64], link: Link) -> None:
    """Raise if log odds are asked of what is no probability."""
    without = [k for k in columns.tolist() if not model.target_.has_odds(k)]
    if link == "logit" and without:
        name = model.target_.describe_output(without[0])
        msg = (
            f"link: expected 'identity' for the {name}, which has no odds, got 'logit'. Say by "
            "output= which probability is meant."
        )
        raise ConfigurationError(msg)


def _check_table(X: Any, name: str) -> None:
    """Raise if one row is given by itself, without the names of a table."""
    if len(getattr(X, "shape", (0, 0))) != 1:
        return
    msg = (
        f"{name}: expected rows of a table, got one {type(X).__name__} of one dimension. Keep "
        "the row in a table: X.iloc[[0]], or array[[0]]."
    )
    raise InputError(msg)


def _advise(model: Any) -> str:
    """Return what to explain in place of a model that is no fusion."""
    if isinstance(model, type) and hasattr(model, "_explained_as"):
        return (
            f"model: expected a fitted estimator, got the class {model.__name__} itself. Pass "
            f"{model.__name__}().fit(X, y)."
        )
    got = type(model).__name__
    calibrated = getattr(model, "calibrated_classifiers_", None)
    inner = {
        "estimator_": getattr(model, "estimator_", None),
        "best_estimator_": getattr(model, "best_estimator_", None),
        "calibrated_classifiers_[0].estimator": getattr(calibrated[0], "estimator", None)
        if calibrated
        else None,
    }
    for name, part in inner.items():
        if hasattr(type(part), "_explained_as"):
            return (
                f"model: expected a fusion estimator, got {got}, which is around one. Explain "
                f"what it wraps: explain(model.{name}, X)."
            )
    if hasattr(type(getattr(model, "estimator", None)), "_explained_as"):
        return (
            f"model: expected a fusion estimator, got {got}, which is around one. Fit it, and "
            "explain the estimator that it has fitted."
        )
    return (
        f"model: expected a fusion estimator or a ClinicalIndexRegressor, got {got}. Put it into "
        "one: EarlyFusionClassifier(encoders, model)."
    )


def _read(
    model: FusionEstimator, X: Any, background: Any, n_background: int, seed: int
) -> tuple[Frame, int]:
    """Return the rows with background rows below them, and how many the former are."""
    frame = model._read_X(X, reset=False)
    other = frame if background is None else model._read_X(background, reset=False)
    rng = np.random.default_rng(derive_seed(seed, "background"))
    chosen = np.sort(rng.permutation(len(other))[:n_background])
    return frame.stack(other.take(chosen)), len(frame)


def _check_present(present: NDArray[np.bool_]) -> None:
    """Raise if a row (N, M) has no modality."""
    lacking = np.flatnonzero(~present.any(axis=1))
    if len(lacking):
        msg = (
            f"X: expected a modality in every row, got {len(lacking)} row(s) without any, the "
            f"first at position {lacking[0]}. There is nothing to explain in them."
        )
        raise InputError(msg)


def _name_outputs(
    model: FusionEstimator, columns: NDArray[np.int64], link: Link
) -> tuple[str, ...]:
    """Return the name of what is explained of each row."""
    names = [model.target_.describe_output(k) for k in columns.tolist()]
    if link == "logit":
        names = [name.replace("probability", "log odds", 1) for name in names]
    return tuple(names)


def _modalities(
    game: Game, seed: int
) -> tuple[
    NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None, NDArray[np.float64]
]:
    """Return values (N, M), their errors, interactions (N, M, M), and base values (N,)."""
    n_names = len(game.names)
    if n_names <= _EXACT:
        outcomes = game.all_subsets()
        values = exact_shapley(outcomes).T
        interactions = np.moveaxis(shapley_interactions(outcomes), -1, 0)
        return _exact_zeros(values, game), None, interactions, outcomes[0]

    def play(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = np.tile(np.arange(game.n_rows), len(masks))
        outcome = game.values(rows, np.repeat(masks, game.n_rows, axis=0), work=LEAVING_OUT)
        return outcome.reshape(len(masks), -1)

    found = permutation_shapley(
        play, n_names, n_permutations=_PERMUTATIONS, seed=derive_seed(seed, "orders")
    )
    errors = None if found.errors is None else np.asarray(found.errors).T
    return _exact_zeros(np.asarray(found.values).T, game), errors, None, np.ravel(found.base)


def _exact_zeros(values: NDArray[np.float64], game: Game) -> NDArray[np.float64]:
    """Return values without the rounding noise of modalities that a row does not have."""
    if game.n_background:
        return values
    return np.where(game.present, values, 0.0)
