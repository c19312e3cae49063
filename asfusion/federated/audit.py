"""What a fitted model betrays of who it was fitted on: membership inference, with a control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_integer
from asfusion._door import public
from asfusion._frames import Frame, group_labels
from asfusion._processes import side_by_side
from asfusion._progress import progress, progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.estimators._base import forget_checkpoints
from asfusion.estimators._inner_folds import group_options
from asfusion.estimators._sklearn import seeded_copy
from asfusion.estimators.joint import JointFusionClassifier
from asfusion.evaluation._inputs import check_confidence
from asfusion.evaluation.delong import delong_interval
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated.audited import LEVELS, Attack, PrivacyAudit
from asfusion.training.options import TrainingOptions

Floats = NDArray[np.float64]

_LEAST = 1e-6  # of probabilities: trees are sure beyond what a shadow could differ by
_EPOCHS = 200  # in which an overfitted network learns its rows by heart
_FEWEST_SHADOWS, _FEWEST_ROWS = 4, 20


@public
def privacy_audit(
    model: Any,
    X_in: Any,
    y_in: Any,
    X_out: Any,
    y_out: Any,
    *,
    groups_in: Any = None,
    groups_out: Any = None,
    n_shadows: int = 16,
    control: Any = "overfitted",
    confidence: float = 0.95,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
    verbose: int = 1,
) -> PrivacyAudit:
    """Attack a fitted classifier: who tries to tell the rows it learned from others.

    Two attacks are run. The first calls a row learned where its loss is low [1]_. The second
    (LiRA [2]_) fits the same description anew on random halves of all rows, and asks whether what
    the model says of a row is more like what models say that learned from it. Both are run on an
    overfitted model of the same rows as well: if they do not see even that, the audit says nothing.

    An attack that fails proves nothing: others may succeed. Differential privacy bounds them all
    (`asfusion.federated.DifferentialPrivacy`).

    Parameters
    ----------
    model : EarlyFusionClassifier, JointFusionClassifier, LateFusionClassifier or classifier
        Fitted on the first rows, and on none of the others.
    X_in : DataFrame or array of n_in rows
        Rows it was fitted on.
    y_in : array of n_in rows
        Their classes.
    X_out : DataFrame or array of n_out rows
        Rows of the same kind of patients that it has not seen; best as many.
    y_out : array of n_out rows
        Their classes.
    groups_in, groups_out : arrays of n_in and n_out rows, optional
        Patient of each row: a patient is learned from as a whole, or not.
    n_shadows : int
        Models that are fitted on halves: an even number from 4 on. More see more.
    control : "overfitted", classifier or None
        What is known to leak: by default a joint network on the model's encoders, without all
        that keeps it from learning rows by heart. None leaves it out, and with it any proof that
        the audit can see.
    confidence : float
        Coverage that intervals aim at.
    random_state : int, RandomState, Generator or None
        Of halves and shadow models.
    n_jobs : int, optional
        Processes, as joblib understands it.
    verbose : int
        Whether to show progress.

    Returns
    -------
    PrivacyAudit
        Areas under the curves with intervals, and the share of learned rows that are found where
        1 % and 0.1 % of the others are called learned by mistake.

    Raises
    ------
    InputError
        If rows are too few, of other columns or classes, or a patient is on both sides.
    ConfigurationError
        If the model gives no probabilities, or a parameter is unusable.

    References
    ----------
    .. [1] Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to
       Overfitting", CSF 2018. https://doi.org/10.1109/CSF.2018.00027
    .. [2] Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022.
       https://doi.org/10.1109/SP46214.2022.9833649

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(80, modalities=["labs"], random_state=0)
    >>> X, y = cohort.X, cohort.y
    >>> model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(["age", "crp"])}, verbose=0)
    >>> model = model.fit(X[:40], y[:40])
    >>> audit = af.federated.privacy_audit(
    ...     model, X[:40], y[:40], X[40:], y[40:], n_shadows=4, verbose=0
    ... )
    >>> audit.to_frame()["of"].tolist()
    ['model', 'model', 'control', 'control']
    """
    check_confidence(confidence)
    if check_integer(n_shadows, "n_shadows", minimum=_FEWEST_SHADOWS) % 2:
        raise ConfigurationError(f"n_shadows: expected an even number, got {n_shadows}.")
    if not hasattr(model, "predict_proba"):
        msg = (
            "model: expected a classifier with predict_proba, got "
            f"{type(model).__name__}. Other models have no such audit yet."
        )
        raise ConfigurationError(msg)
    pool = _Pool(X_in, y_in, X_out, y_out, groups_in, groups_out)
    seed = draw_seed(random_state)
    with progress_shown(bool(verbose)):
        kinds = {"model": (_shadow_of(model), pool.surety(model))}
        if control is not None:
            leaky = _overfitted(model) if control == "overfitted" else _shadow_of(control)
            fitted = pool.fitted(leaky, np.flatnonzero(pool.is_in), derive_seed(seed, "control"))
            kinds["control"] = (leaky, pool.surety(fitted))
        shadows = _shadows(pool, {k: one for k, (one, _) in kinds.items()}, n_shadows, seed, n_jobs)
    attacks: list[Attack] = []
    for of, (_, said) in kinds.items():
        for name, score in (("loss", said), ("LiRA", _likelier(said, *shadows[of]))):
            area = delong_interval(pool.is_in, score, groups=pool.patients, confidence=confidence)
            found = {level: _found(score, pool.is_in, level) for level in LEVELS}
            attacks.append(Attack(name, of, area, found, score[pool.is_in], score[~pool.is_in]))
    account = getattr(model, "privacy_", None)
    return PrivacyAudit(tuple(attacks), n_shadows, confidence, account)


class _Pool:
    """All rows: those that were learned from, then the others."""

    def __init__(
        self, X_in: Any, y_in: Any, X_out: Any, y_out: Any, groups_in: Any, groups_out: Any
    ) -> None:
        first, second = Frame.read(X_in), Frame.read(X_out)
        missing = [name for name in first.columns if name not in second.columns]
        if missing:
            second.check_columns(missing, "X_out")
        self.frame, self.is_array = first.stack(second), isinstance(X_in, np.ndarray)
        n_in, n_out = len(first), len(second)
        if min(n_in, n_out) < _FEWEST_ROWS:
            msg = (
                f"X_in, X_out: expected at least {_FEWEST_ROWS} rows each, got {n_in} and {n_out}."
            )
            raise InputError(msg)
        self.y = np.concatenate([_labels(y_in, n_in, "y_in"), _labels(y_out, n_out, "y_out")])
        self.is_in = np.arange(n_in + n_out) < n_in
        self.patients = _patients(groups_in, groups_out, n_in, n_out)

    def __len__(self) -> int:
        return len(self.y)

    def fitted(self, model: Any, rows: NDArray[np.int64], seed: int) -> Any:
        """Return a copy of a model, fitted on rows with a seed of its own."""
        copy = seeded_copy(model, seed)
        groups = self.patients[rows]
        return copy.fit(self._rows(rows), self.y[rows], **group_options(copy, groups))

    def surety(self, model: Any) -> Floats:
        """Return the log odds (N,) that a model gives to the true class of each row."""
        said = np.asarray(model.predict_proba(self._rows(np.arange(len(self)))))
        classes = np.asarray(model.classes_)
        found = (self.y[:, None] == classes[None, :]) * said
        p = np.clip(found.sum(axis=1), _LEAST, 1.0 - _LEAST)
        return np.asarray(np.log(p) - np.log1p(-p))

    def halves(self, n_pairs: int, seed: int) -> list[NDArray[np.int64]]:
        """Return random halves and what each leaves out, by patients, classes spread evenly."""
        rng = np.random.default_rng(seed)
        first = np.unique(self.patients, return_index=True)[1]
        owners, classes = self.patients[first], self.y[first].astype(str)
        halves = []
        for _ in range(n_pairs):
            order = rng.permutation(len(owners))
            order = order[np.argsort(classes[order], kind="stable")]
            half = np.isin(self.patients, owners[order[rng.integers(2) :: 2]])
            halves += [np.flatnonzero(half), np.flatnonzero(~half)]
        return halves

    def _rows(self, rows: NDArray[np.int64]) -> Any:
        part = self.frame.take(rows).to_native()
        return np.asarray(part) if self.is_array else part


def _shadows(
    pool: _Pool, models: Mapping[str, Any], n_shadows: int, seed: int, n_jobs: int | None
) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Return what shadow models (S, N) say of all rows, and which (S, N) they learned from."""
    halves = pool.halves(n_shadows // 2, derive_seed(seed, "halves"))
    asked = [(of, n, derive_seed(seed, of, n)) for of in models for n in range(n_shadows)]
    found = side_by_side(
        _shadow,
        range(len(asked)),
        n_jobs,
        shared=(pool, dict(models), halves, asked),
        fits_models=True,
        kind=lambda place: asked[place][0],
        name=lambda _: "a fit of a shadow model",
    )
    said = list(progress(found, "Fitting shadow models", total=len(asked), unit="fit"))
    learned = np.stack([np.isin(np.arange(len(pool)), half) for half in halves])
    return {
        of: (np.stack([s for s, (k, *_) in zip(said, asked, strict=True) if k == of]), learned)
        for of in models
    }


def _shadow(place: int, shared: Any) -> Floats:
    """Return what one shadow model says of all rows."""
    pool, models, halves, asked = shared
    of, number, seed = asked[place]
    found: Floats = pool.surety(pool.fitted(models[of], halves[number], seed))
    return found


def _likelier(said: Floats, shadows: Floats, learned: NDArray[np.bool_]) -> Floats:
    """Return how much likelier (N,) what is said is where a row was learned from, in logs.

    Spreads are those of all rows together, as the paper has it where shadows are few.
    """
    scores = np.zeros(len(said))
    for sign, mask in ((1.0, learned), (-1.0, ~learned)):
        mean = np.where(mask, shadows, 0.0).sum(axis=0) / mask.sum(axis=0)
        spread = max(float((shadows - mean)[mask].std()), 1e-3)
        scores += sign * (-0.5 * ((said - mean) / spread) ** 2 - np.log(spread))
    return scores


def _found(score: Floats, is_in: NDArray[np.bool_], level: float) -> float:
    """Return the share of learned rows above all but so large a share of the others."""
    others = np.sort(score[~is_in])[::-1]
    return float((score[is_in] > others[int(level * len(others))]).mean())


def _shadow_of(model: Any) -> Any:
    """Return the description of a model, as quiet as can be and with a seed to be drawn."""
    copy = clone(model)
    known = copy.get_params(deep=False)
    copy.set_params(**{k: v for k, v in {"verbose": 0, "random_state": None}.items() if k in known})
    forget_checkpoints(copy)
    return copy


def _overfitted(model: Any) -> Any:
    """Return the description of a model that learns its rows by heart."""
    return JointFusionClassifier(
        clone(model).get_params(deep=False).get("encoders", "auto"),
        max_epochs=_EPOCHS,
        modality_dropout=0.0,
        early_stopping=False,
        training=TrainingOptions(dropout=0.0, mixup=0.0, weight_decay=0.0),
        label_smoothing=0.0,
        verbose=0,
    )


def _labels(y: Any, n_rows: int, name: str) -> NDArray[Any]:
    found = np.asarray(y)
    if found.shape != (n_rows,):
        raise InputError(f"{name}: expected {n_rows} classes, got shape {found.shape}.")
    return found


def _patients(groups_in: Any, groups_out: Any, n_in: int, n_out: int) -> NDArray[Any]:
    if (groups_in is None) != (groups_out is None):
        raise InputError("groups_in, groups_out: expected both or none, got one of them.")
    if groups_in is None:
        return np.arange(n_in + n_out)
    first, second = group_labels(groups_in, n_in), group_labels(groups_out, n_out)
    both = np.intersect1d(first, second)
    if len(both):
        msg = (
            f"groups: expected no patient both learned from and not, got {len(both)}. Leave them "
            "out of one side."
        )
        raise InputError(msg)
    return np.unique(np.concatenate([first, second]), return_inverse=True)[1].ravel()
