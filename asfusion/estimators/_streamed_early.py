"""Early fusion of rows that are read in pieces: features on disk, then a model over blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.encoders._base import Encoder
from asfusion.estimators._named import is_linear, model_of
from asfusion.estimators._penalty import choose_penalty
from asfusion.estimators._rows import TrainingRows, check_some
from asfusion.estimators._sklearn import seeded_copy
from asfusion.exceptions import ConfigurationError
from asfusion.streams.boosting import boost, can_boost, check_boosting
from asfusion.streams.linear import can_fit_linear, fit_linear
from asfusion.streams.matrix import Matrix
from asfusion.streams.spool import SMALL, Spool, Stored
from asfusion.targets._base import Target

Floats = NDArray[np.float64]
Moments = dict[str, tuple[Floats, Floats, bool]]


def check_streamable(target: Target, estimator: Any, encoders: Mapping[str, Encoder]) -> None:
    """Raise unless the estimator can be fitted in passes over blocks of dense rows."""
    for name, encoder in encoders.items():
        if encoder.is_sparse:
            msg = (
                f"encoders[{name!r}]: expected one that gives dense vectors for rows that are read "
                "in pieces, got one that gives a sparse matrix. Set n_components to a number."
            )
            raise ConfigurationError(msg)
    model = target.linear() if is_linear(estimator) else model_of(target, estimator)
    if can_boost(model):
        check_boosting(model)
    elif not (is_linear(estimator) and can_fit_linear(model)):
        raise ConfigurationError(_wanted(target, model))


class StreamedFeatures:
    """What the encoders of early fusion make of the rows, on disk.

    Parameters
    ----------
    model : early fusion
        Its encoders are fitted.
    rows : TrainingRows
        With a frame that is read in pieces.
    """

    def __init__(self, model: Any, rows: TrainingRows) -> None:
        self._model, self._weight = model, rows.sample_weight
        frame: Any = rows.frame
        self.spool: Spool = frame.spool
        # XGBoost reads single precision whatever it is given; scaled before it is rounded.
        rounded = not is_linear(model.estimator) and model.scale in ("auto", "none")
        self._dtype = np.float32 if rounded else np.float64
        self._places = _places(model, frame.first())
        self._stored: Stored = frame.store(self._side_by_side, self._dtype)
        self.present = np.zeros((len(rows), len(self._places)), dtype=bool)
        for place, block in self._stored.blocks(SMALL):
            self.present[place] = block[:, -len(self._places) :] > 0
        for number, name in enumerate(self._places):
            check_some(name, model.encoders_[name], self.present[:, number])

    def moments(self) -> Moments:
        """Return centre, spread and whether all rows are there, for each modality."""
        weight = np.where(self.present, self._weight[:, None], 0.0)
        total = weight.sum(axis=0)
        total[total == 0.0] = 1.0
        center = self._sums(weight, 0.0, 1, total)
        spread = np.sqrt(self._sums(weight, center, 2, total))
        there = np.asarray(self.present.all(axis=0), dtype=bool)
        named = zip(self._places.items(), there, strict=True)
        return {name: (center[own], spread[own], bool(full)) for (name, own), full in named}

    def filled(self) -> Matrix:
        """Return the features as the estimator reads them, of rows with any modality."""
        self._stored.rewrite(self._as_read)
        return Matrix(self._stored, np.flatnonzero(self.present.any(axis=1)))

    def _side_by_side(self, frame: Frame) -> NDArray[Any]:
        """Return all features (n, F), and which modalities are there (n, M)."""
        blocks = self._model._blocks(frame)
        there = [~np.isnan(block).all(axis=1) for block in blocks.values()]
        return np.column_stack([*blocks.values(), *there])

    def _sums(self, weight: Floats, center: Any, power: int, total: Floats) -> Floats:
        """Return weighted means (F,) of the features, or of their squares around a centre."""
        width = self._stored.shape[1] - len(self._places)
        sums = np.zeros(width)
        for place, block in self._stored.blocks(SMALL):
            around = np.asarray(block[:, :width], dtype=np.float64) - center
            for number, own in enumerate(self._places.values()):
                part = np.where(self.present[place, number, None], around[:, own], 0.0) ** power
                sums[own] += weight[place, number] @ part
        for number, own in enumerate(self._places.values()):
            sums[own] /= total[number]
        return sums

    def _as_read(self, block: NDArray[Any]) -> NDArray[Any]:
        blocks = {
            name: np.asarray(block[:, columns], dtype=np.float64)
            for name, columns in self._places.items()
        }
        return np.asarray(self._model._scaled(self._model._fill(blocks)[0]))


def _places(model: Any, first: Frame) -> dict[str, slice]:
    """Return which features are those of each modality."""
    places, start = {}, 0
    for name, block in model._blocks(first).items():
        places[name] = slice(start, start + block.shape[1])
        start += block.shape[1]
    return places


def fits_in_passes(model: Any, y: NDArray[Any]) -> bool:
    """Return whether the estimator is a linear one that `fit_streamed` fits as scikit-learn does.

    Of rows in memory nothing else is: other models are the user's, and read an array.
    """
    if not is_linear(model.estimator):
        return False
    part, _ = model.target_.for_part(model.target_.linear(), y)
    return can_fit_linear(part)


def fit_streamed(
    model: Any, features: Any, rows: TrainingRows, spool: Spool | None = None
) -> tuple[Any, float | None]:
    """Return the fitted estimator, and the penalty that was chosen for it, if any was."""
    target, penalty = model.target_, None
    if is_linear(model.estimator):
        known = rows.y, rows.loss_weight, rows.groups
        penalty = choose_penalty(target, features, *known, seed=0)
        estimator = target.linear(penalty)
    else:
        estimator = model_of(target, model.estimator)
    part, y = target.for_part(seeded_copy(estimator, model._seed("estimator")), rows.y)
    if spool is not None and can_boost(part):
        return boost(part, features, y, rows.loss_weight, spool), penalty
    if not can_fit_linear(part):  # one that was wrapped
        raise ConfigurationError(_wanted(target, part))
    return fit_linear(part, features, y, rows.loss_weight), penalty


def _wanted(target: Target, model: Any) -> str:
    return (
        "estimator: expected 'linear', 'xgboost' or an XGBClassifier or XGBRegressor for rows "
        f"that are read in pieces, got {type(model).__name__} for {type(target).__name__}. Choose "
        "one of these and a Classifier or Regressor, or pass X.collect()."
    )
