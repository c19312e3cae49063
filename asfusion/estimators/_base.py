"""What early, joint and late fusion share: reading rows, encoders, priors, saving."""

from __future__ import annotations

import copy
import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from asfusion._arrays import read_weights
from asfusion._checks import check_row_labels
from asfusion._door import learns, public
from asfusion._frames import Frame, is_lazy
from asfusion._launch import together
from asfusion._progress import progress_shown, tell
from asfusion._random import derive_seed, draw_seed
from asfusion._splits import Split, check_learnable
from asfusion._stubs import fusion_modules
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.bundle._probe import Probed
from asfusion.bundle.objects import Bundled, save_bundle
from asfusion.clinical.provenance import check_circularity
from asfusion.encoders._base import Encoder
from asfusion.encoders._given import read_encoders
from asfusion.estimators._params import PartsMixin
from asfusion.estimators._parts import Content, Parts
from asfusion.estimators._rows import (
    TrainingRows,
    cells_present,
    check_target_apart,
    is_table,
    read_array,
    read_groups,
    read_table,
    target_names,
)
from asfusion.estimators._scored import ScoredClassifier, ScoredRegressor
from asfusion.estimators._splits import inner_splits
from asfusion.estimators._streams import Given, InPieces, opened, said_of
from asfusion.estimators._threshold import (
    DEFAULT,
    call_classes,
    check_threshold,
    choose_threshold,
    needs_unseen,
)
from asfusion.estimators.views.drawn import FusionDrawn
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Target
from asfusion.targets.classes import Classes
from asfusion.targets.numbers import Numbers

MEMORY_GB = 2.0  # where rows are read in pieces
_FOLDS = 5  # of the predictions by which a threshold is chosen

_CLASSES: dict[tuple[str, str], type[FusionEstimator]] = {}


def estimator_class(family: str, target: Target) -> Any:
    """Return the class of a family ("auto", "early", "joint", "late") that predicts a target."""
    if (family, target.face) not in _CLASSES:
        for module in fusion_modules(family):  # which bring their classes
            importlib.import_module(module)
    return _CLASSES[family, target.face]


class FusionEstimator(FusionDrawn, InPieces, Probed, Bundled, PartsMixin):
    """Common face of all fusion estimators.

    A family writes `_fit_rows` (learn from checked rows) and `_raw` (outputs and
    presence of rows); a task mixin reads targets and turns outputs into predictions.
    """

    encoders: Any
    target: Any
    verbose: int
    random_state: Any
    seed_: int
    target_: Target
    prior_: NDArray[np.float64]
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    columns_in_: tuple[str, ...] | None

    # What predictions are explained by, and whether gradients lead from them to the content.
    _explained_as: ClassVar[str] = "modalities"
    has_gradients: ClassVar[bool] = False

    # Whether what no cells can be made up of is absent unread: a probe runs no network on images.
    _skips_content: bool = False

    # How the family is named, and what the task mixin adds to it.
    _family: ClassVar[str]
    _face: ClassVar[str]
    _usual_target: ClassVar[type[Target]]
    _task_attributes: tuple[str, ...]

    def __init_subclass__(cls, **options: Any) -> None:
        """Remember which class predicts which targets in which family."""
        super().__init_subclass__(**options)
        if hasattr(cls, "_family") and hasattr(cls, "_face"):
            _CLASSES.setdefault((cls._family, cls._face), cls)

    @learns
    def fit(
        self,
        X: Any,
        y: Any,
        groups: Any = None,
        sample_weight: Any = None,
        resume: bool = False,
    ) -> Self:
        """Fit on rows that may lack cells, or whole modalities.

        Parameters
        ----------
        X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
            One patient (or visit) per row.
        y : array of shape (n_rows,) or (n_rows, n_targets)
            Class labels or regression targets.
        groups : array of shape (n_rows,), optional
            Patient of each row; a patient's rows stay together in every inner split.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row; zero is the same as leaving the row out.
        resume : bool
            Go on from the networks' checkpoints where there are any.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        InputError
            If rows, targets, groups or weights cannot be used as given.
        CircularityError
            If `y` is a Series with the standard name of a clinical score, and a column is
            an ingredient of that score.
        ConfigurationError
            If a parameter is unusable.
        """
        given = Given(X, y, groups, sample_weight)
        with progress_shown(bool(self.verbose)), together(), opened(self, given) as given:
            rows = self._read_training(*given)
            self._fit_rows(rows, resume=resume)
            self._finish(rows)
            self._let_go()
        return self

    @abstractmethod
    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        """Learn from checked rows."""

    def _finish(self, rows: TrainingRows) -> None:
        """Learn what only the whole model, not a part of another, needs."""

    def _let_go(self) -> None:
        """Forget what is kept of rows while fit goes on: a fitted model holds no patient."""

    def _unseen(self, rows: TrainingRows) -> tuple[NDArray[np.float64], TrainingRows]:
        """Return outputs (n, K) of rows by models that did not learn from them, and the rows.

        Here, by fitting anew on inner folds; families that know a shorter way take it.
        """
        outputs, judged = [], []
        for learn, judge in self._inner_folds(rows):
            part = clone(self).set_params(encoders=self._chosen_encoders(), verbose=0)
            part._adopt(self)
            forget_checkpoints(part)
            part._fit_rows(rows.take(learn))
            found, present = part._raw(rows.frame.take(judge))
            outputs.append(found[present])
            judged.append(judge[present])
        return np.concatenate(outputs), rows.take(np.concatenate(judged))

    def _inner_folds(self, rows: TrainingRows) -> list[Split]:
        """Return folds for `_unseen` that keep groups whole."""
        splits = inner_splits(rows, _FOLDS, target=self.target_, seed=self._seed("unseen"))
        if not splits:
            msg = (
                f"threshold: expected enough rows and groups for inner folds, got {len(rows)} "
                "rows. Give a number instead."
            )
            raise InputError(msg)
        check_learnable(rows.y, splits, "threshold", "a number as threshold")
        return splits

    @abstractmethod
    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        """Return rows with each modality (or only those of `names`) encoded."""

    @abstractmethod
    def _encode_prepared(self, name: str, prepared: Prepared) -> Content:
        """Return what `_encode` gives for one modality, from rows that are tensors already."""

    @abstractmethod
    def _decide(self, parts: Parts) -> NDArray[np.float64]:
        """Return outputs (N, K) of encoded rows; those of rows without a modality are void."""

    def _raw(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return outputs (N, K) and which rows (N,) have any modality."""
        parts = self._encode(frame)
        return self._decide(parts), np.asarray(parts.present.any(axis=1))

    def _decided(self, parts: Parts) -> NDArray[np.float64]:
        """Return outputs (N, K) of encoded rows, the prior for those without a modality."""
        nothing = np.asarray(~parts.present.any(axis=1))
        if nothing.all():
            return np.tile(self.prior_, (len(parts), 1))
        return np.where(nothing[:, None], self.prior_, self._decide(parts))

    def _untrained(self) -> Self | None:
        """Return the same model as if it had learned nothing; None where there is no such state."""
        return None

    def _modality_encoders(self) -> dict[str, Encoder]:
        """Return the fitted encoder of each modality."""
        return dict(self.encoders_)

    @property
    def _where(self) -> dict[str, Any]:
        """Where backbones compute, and in which precision: as the networks of the template do."""
        usual = {"device": "auto", "precision": "auto"}
        return dict(getattr(getattr(self, "network", None), "_where", usual))

    def _target(self) -> Target:
        """Return what y is, nothing of it learned yet."""
        given = self.target
        if given is None:
            return self._usual_target()
        if not isinstance(given, Target) or given.face != self._face:
            msg = (
                f"target: expected None or a target for a {self._face}, such as "
                f"asfusion.targets.{self._usual_target.__name__}(), got {type(given).__name__}."
            )
            raise ConfigurationError(msg)
        copy: Target = clone(given)
        return copy

    def _begin(self, rows: TrainingRows, target: Target) -> TrainingRows:
        """Learn what is predicted; return rows with y as the families read it."""
        self.seed_ = draw_seed(self.random_state)
        self.target_ = target.fit(rows.y)
        self.n_outputs_ = self.target_.n_outputs_
        rows = self._weigh(rows)
        rows = replace(rows, y=self.target_.code(rows.y))
        self.prior_ = self.target_.prior(rows.y, rows.loss_weight)
        return rows

    def _weigh(self, rows: TrainingRows) -> TrainingRows:
        """Return rows with the weights that the loss gives them."""
        return rows

    @public
    def save(self, path: str | Path) -> Path:
        """Save the fitted model as a folder that `asfusion.load` reads.

        Parameters
        ----------
        path : str or Path
            Folder to write; a saved model already there is replaced at once or not at all.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        BundleError
            If a part cannot be saved safely, or `path` holds something else.
        """
        check_is_fitted(self)
        save_bundle(self, Path(path))
        return Path(path)

    def _probe_cells(self) -> dict[str, list[Any]]:
        """Return the cells that encoders can make up."""
        cells: dict[str, list[Any]] = {}
        for encoder in self._modality_encoders().values():
            cells |= encoder._probe_cells()
        return cells

    def _as_probed(self) -> Self:
        asked = copy.copy(self)
        asked._skips_content = True
        return asked

    def _skips(self, encoder: Encoder) -> bool:
        """Return whether the modality of an encoder is absent, whatever the cells."""
        return self._skips_content and not encoder._makes_up

    # -- reading -----------------------------------------------------------------------

    def _read_training(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> TrainingRows:
        frame = self._read_X(X, reset=True)
        n_rows = len(frame)
        check_row_labels(X, y=y, groups=groups, sample_weight=sample_weight)
        check_circularity(() if frame.is_array else frame.columns, y)
        check_target_apart(frame, y)
        target = self._target()
        targets = target.read(y, n_rows)
        if n_rows < 2:
            msg = f"X: expected at least 2 rows to fit, got n_samples={n_rows}."
            raise InputError(msg)
        weights = read_weights(sample_weight, n_rows)
        rows = TrainingRows(
            frame=frame,
            y=targets,
            sample_weight=weights,
            loss_weight=weights,
            groups=read_groups(groups, n_rows),
            origin=np.arange(n_rows),
            names=target_names(y),
        )
        if (weights == 0).any():
            rows = rows.take(np.flatnonzero(weights))
        return self._begin(rows, target)

    def _read_X(self, X: Any, *, reset: bool) -> Frame:
        if is_table(X):
            X = Frame.read(X)
            columns = self._used_columns(X) if reset else getattr(self, "columns_in_", None)
            frame = read_table(self, X, columns=columns, reset=reset)
            if reset:
                self.columns_in_ = None if columns is None else tuple(columns)
            return frame
        if reset:
            self.columns_in_ = None
        return read_array(self, X, reset=reset)

    def _used_columns(self, X: Any) -> list[str] | None:
        """Return the columns that the given encoders read, or None for all."""
        if isinstance(self.encoders, str):
            return None
        frame = Frame.read(X)
        used: dict[str, None] = {}
        for name, encoder in self._check_encoders().items():
            columns = (*columns_of(encoder, frame), *encoder._columns_beside())
            frame.check_columns(columns, f"Modality {name!r}")
            used |= dict.fromkeys(columns)
        return list(used)

    # -- encoders ----------------------------------------------------------------------

    def _check_encoders(self) -> dict[str, Encoder]:
        """Return the encoders that were given, without those that are left out."""
        return read_encoders(self.encoders)

    def _described(self, rows: TrainingRows) -> dict[str, Encoder]:
        """Return unfitted encoders of one's own: copies of those given, or inferred ones."""
        if isinstance(self.encoders, str) and self.encoders == "auto":
            return self._infer_encoders(rows)
        return {name: clone(encoder) for name, encoder in self._check_encoders().items()}

    def _fit_encoders(self, rows: TrainingRows) -> dict[str, Encoder]:
        """Return fitted copies of the encoders that have any training row."""
        fitted = {}
        for name, encoder in self._described(rows).items():
            if not cells_present(rows.frame, columns_of(encoder, rows.frame)).any():
                warn_user(f"Modality {name!r}: no training row has it. It is left out.")
                continue
            own, weight = encoder._rows_to_learn(rows.frame, rows.sample_weight)
            read = encoder._reads_targets and len(own) == len(rows)
            fitted[name] = encoder.fit(own, rows.y if read else None, sample_weight=weight)
        if not fitted:
            msg = "X: expected at least one modality with data, got only missing cells."
            raise InputError(msg)
        return fitted

    def _chosen_encoders(self) -> Mapping[str, Encoder]:
        """Return encoders by which a part of the rows is read as all of them were."""
        if isinstance(self.encoders, Mapping):
            return self._check_encoders()
        return {name: clone(encoder) for name, encoder in self._modality_encoders().items()}

    def _infer_encoders(self, rows: TrainingRows) -> dict[str, Encoder]:
        """Return encoders for the columns that may be learned from, and say what was chosen."""
        # Here, since it brings all that is known of notes and genomes, which tables do without.
        from asfusion.encoders.infer import choose_encoders

        y = self.target_.decode(rows.y)
        choice = choose_encoders(rows.frame, y, rows.groups, rows.names)
        choice.warn()
        if self.verbose and not rows.frame.is_array:
            tell(choice.describe(rows.frame))
        return choice.encoders

    # -- priors and seeds --------------------------------------------------------------

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return outputs (N, K); rows without any modality get the training prior."""
        check_is_fitted(self)
        if is_lazy(X):
            return np.concatenate([said.outputs for said in said_of(self, X)])
        frame = self._read_X(X, reset=False)
        with progress_shown(bool(self.verbose)):
            outputs, present = self._raw(frame)
        for encoder in self._modality_encoders().values():
            encoder._tell_gaps(frame)
        self._tell_absent(int((~present).sum()))
        return np.where(present[:, None], outputs, self.prior_)

    def _seed(self, *keys: object) -> int:
        """Return a seed for one purpose; drawn once per fit."""
        return derive_seed(self.seed_, *keys)

    def _adopt(self, parent: FusionEstimator) -> Self:
        """Take over the task of `parent`, to be fitted as one of its parts."""
        for name in parent._task_attributes:
            setattr(self, name, getattr(parent, name))
        self.seed_ = parent.seed_ if self.random_state is None else draw_seed(self.random_state)
        self.n_features_in_ = parent.n_features_in_
        self.columns_in_ = parent.columns_in_
        if hasattr(parent, "feature_names_in_"):
            self._expect_own_columns(parent.feature_names_in_)
        return self

    def _expect_own_columns(self, known: NDArray[np.object_]) -> None:
        """Ask later rows for the columns of the own encoders only."""
        names = [str(name) for name in known]
        parts = self._check_encoders().values()
        read = [(*part._columns_among(names), *part._columns_beside()) for part in parts]
        own = dict.fromkeys(name for columns in read for name in columns)
        columns = tuple(own) if own else tuple(known)
        self.columns_in_ = columns
        self.n_features_in_ = len(columns)
        self.feature_names_in_ = np.asarray(columns, dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """Say that cells may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class FusionClassifier(ScoredClassifier):
    """What classification adds to a family."""

    class_weight: Any
    threshold: Any
    classes_: NDArray[Any]
    threshold_: float
    target_: Any
    _face: ClassVar[str] = "classifier"
    _usual_target: ClassVar[type[Target]] = Classes
    _task_attributes: tuple[str, ...] = ("prior_", "n_outputs_", "target_", "classes_")

    @public
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._outputs(X)  # type: ignore[no-any-return]

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class, or the middle grade (see `asfusion.targets.Grades`).

        Of two classes it is the second from the threshold on.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,)
            Class labels.
        """
        return call_classes(self, self.predict_proba(X))

    def _finish(self, rows: TrainingRows) -> None:
        if len(self.classes_) == 2:
            self.threshold_ = self._chosen_threshold(rows)
        super()._finish(rows)

    def _chosen_threshold(self, rows: TrainingRows) -> float:
        rule = self.threshold
        if needs_unseen(rule):
            outputs, judged = self._unseen(rows)
            return choose_threshold(rule, judged.y, outputs[:, 1], judged.sample_weight)
        if rule == "prevalence":
            return float(self.prior_[1])
        return float(rule)

    def _weigh(self, rows: TrainingRows) -> TrainingRows:
        self.classes_ = self.target_.classes_
        rule = check_threshold(self.threshold)
        if len(self.classes_) > 2 and rule != DEFAULT:
            msg = f"threshold: expected {DEFAULT} for {len(self.classes_)} classes, got another."
            raise ConfigurationError(msg)
        if len(self.classes_) < 2:
            msg = (
                "y: expected at least 2 classes, got 1 class (rows of weight zero do not count). "
                "Use a Regressor for a continuous target, or more rows."
            )
            raise InputError(msg)
        loss_weight = rows.sample_weight * compute_sample_weight(self._class_weight(), rows.y)
        if not loss_weight.any():
            msg = "class_weight: expected at least one class in y to weigh more than zero."
            raise ConfigurationError(msg)
        return replace(rows, loss_weight=loss_weight)

    def _class_weight(self) -> Any:
        weight = self.class_weight
        if weight is None or weight == "balanced" or isinstance(weight, Mapping):
            return weight
        msg = f"class_weight: expected None, 'balanced' or a dict, got {type(weight).__name__}."
        raise ConfigurationError(msg)


class FusionRegressor(ScoredRegressor):
    """What regression adds to a family."""

    target_: Target
    _face: ClassVar[str] = "regressor"
    _usual_target: ClassVar[type[Target]] = Numbers
    _task_attributes: tuple[str, ...] = ("prior_", "n_outputs_", "target_")

    @public
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted targets.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any modality may be missing.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
            In the units of y, shaped as y was.
        """
        outputs = self._outputs(X)
        return np.asarray(self.target_.shaped(outputs))

    def __sklearn_tags__(self) -> Tags:
        """Say that several targets may be predicted at once."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def forget_checkpoints(model: FusionEstimator) -> None:
    """Keep a fold's networks from writing where the final ones do."""
    if hasattr(model, "checkpoint"):
        model.checkpoint = None
    if getattr(model, "network", None) is not None:
        model.network = clone(model.network).set_params(checkpoint=None)


def columns_of(encoder: Encoder, frame: Frame) -> tuple[str, ...]:
    """Return the columns that an unfitted encoder will read."""
    return encoder._columns_among(frame.columns) or frame.columns
