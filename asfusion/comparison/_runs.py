"""The models of a comparison: how each is fitted on a fold and what it answers.

Dimensions: N rows, n rows of a fold's test part, K classes or targets.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from asfusion._frames import Frame
from asfusion._splits import Split
from asfusion.comparison._standings import (
    PLAIN_MEAN,
    PRESENCE,
    TABLES_BOOSTED,
    TABLES_LINEAR,
    Entry,
)
from asfusion.encoders._base import Encoder
from asfusion.estimators._base import FusionEstimator
from asfusion.estimators._inner_folds import group_options
from asfusion.exceptions import AsfusionWarning
from asfusion.targets._base import Target

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ComparedRows:
    """Checked rows, the modalities among them, and what is to be predicted.

    Parameters
    ----------
    frame : Frame
        The columns.
    y : ndarray of shape (N,) or (N, T)
        Class numbers, or targets.
    target : Target
        What y is.
    groups : ndarray of shape (N,)
        Number of the patient of each row.
    is_grouped : bool
        Whether patients were given; each row is one otherwise.
    encoders : dict of str to Encoder
        One unfitted description per modality.
    presence : dict of str to ndarray of shape (N,), bool
        Which rows have the modality.
    device : str
        Where frozen backbones compute.
    """

    frame: Frame
    y: NDArray[Any]
    target: Target
    groups: Rows
    is_grouped: bool
    encoders: dict[str, Encoder]
    presence: dict[str, NDArray[np.bool_]]
    device: str = "auto"

    @property
    def n_outputs(self) -> int:
        """Number K of classes or targets."""
        return self.target.n_outputs_

    @property
    def split_groups(self) -> Rows | None:
        """Groups for those who make splits; None if there are none."""
        return self.groups if self.is_grouped else None

    def labels(self, rows: Rows) -> NDArray[Any]:
        """Return targets as an estimator wants them."""
        return self.target.decode(self.y[rows])

    def can_teach(self, modality: str, rows: Rows) -> bool:
        """Return whether enough of the given rows have a modality to learn from it."""
        return self.can_learn(rows[self.presence[modality][rows]])

    def can_learn(self, rows: Rows) -> bool:
        """Return whether there are several rows that differ in their targets."""
        return len(rows) > 1 and len(np.unique(self.y[rows], axis=0)) > 1

    def prior(self, rows: Rows) -> Floats:
        """Return the mean (K,) of the given rows: what is known before a row is seen."""
        return self.target.prior(self.y[rows], np.ones(len(rows)))


class Run(ABC):
    """One fit per fold, which answers for one or more entries."""

    entries: list[Entry]

    @abstractmethod
    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) of each entry for the test rows of a fold."""


class EstimatorRun(Run):
    """A fusion estimator, and the members of a late fusion, each of one modality.

    Parameters
    ----------
    model : FusionEstimator
        Unfitted.
    entry : Entry or None
        What the model itself answers for; None if it only carries its members.
    members : mapping of str to str
        Name on the board of each member of a late fusion, by modality.
    """

    def __init__(
        self, model: FusionEstimator, entry: Entry | None, members: Mapping[str, str] | None = None
    ) -> None:
        self.model, self.entry, self.members = model, entry, members or {}
        self.entries = [Entry(name, "single") for name in self.members.values()]
        self.entries += [entry] if entry else []

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) of each entry for the test rows of a fold."""
        train, test = fold
        model = clone(self.model).set_params(random_state=seed)
        groups = data.groups[train] if data.is_grouped else None
        model.fit(data.frame.take(train).as_part(), data.labels(train), groups=groups)
        rows = data.frame.take(test).as_part()
        found = {self.entry.name: _ask(model, rows, data)} if self.entry else {}
        for modality, name in self.members.items():
            member = model.models_.get(modality)
            if member is None:  # too few training rows have it
                found[name] = np.tile(data.prior(train), (len(test), 1))
            else:
                found[name] = _ask(member, rows, data)
        return found


class AloneRun(EstimatorRun):
    """An early fusion of one modality; where too few rows have it, the training prior.

    Parameters
    ----------
    model : FusionEstimator
        Unfitted.
    modality : str
        The modality.
    name : str
        Its name on the board.
    """

    def __init__(self, model: FusionEstimator, modality: str, name: str) -> None:
        super().__init__(model, Entry(name, "single"))
        self.modality, self.name = modality, name

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) for the test rows of a fold."""
        train, test = fold
        if data.can_teach(self.modality, train):
            return super().answer(data, fold, seed)
        return {self.name: np.tile(data.prior(train), (len(test), 1))}


class PlainRun(Run):
    """The ladder: one linear model per modality, and their mean over what a row has."""

    def __init__(self, modalities: list[str]) -> None:
        self.names = {name: f"plain: {name}" for name in modalities}
        self.entries = [Entry(name, "single", True) for name in self.names.values()]
        self.entries.append(Entry(PLAIN_MEAN, "fusion", True))

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) of each entry for the test rows of a fold."""
        train, test = fold
        prior = data.prior(train)
        total, count = np.zeros((len(test), data.n_outputs)), np.zeros((len(test), 1))
        found = {}
        for name in data.encoders:
            answers, known = self._one(data, name, train, test)
            total += np.where(known, answers, 0.0)
            count += known
            found[self.names[name]] = np.where(known, answers, prior)
        found[PLAIN_MEAN] = np.where(count > 0, total / np.maximum(count, 1.0), prior)
        return found

    def _one(
        self, data: ComparedRows, name: str, train: Rows, test: Rows
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Return answers (n, K) from one modality, and for which rows (n, 1) there are any."""
        answers = np.zeros((len(test), data.n_outputs))
        known = np.zeros((len(test), 1), dtype=bool)
        if not data.can_teach(name, train):
            return answers, known
        parts = data.frame.take(train), data.frame.take(test)
        learn, asked = plain_features(data.encoders[name], *parts, data.device)
        rows, known[:, 0] = ~np.isnan(learn).all(axis=1), ~np.isnan(asked).all(axis=1)
        if known.any():
            answers[known[:, 0]] = fit_linear(learn[rows], data, train[rows], asked[known[:, 0]])
        return answers, known


class TablesRun(Run):
    """All tables side by side and nothing else: what is at hand without images and notes.

    Parameters
    ----------
    tables : list of str
        The modalities that are tables. Of one table the plain ladder has a linear model.
    """

    def __init__(self, tables: list[str]) -> None:
        self.tables = tables
        self.entries = [Entry(TABLES_BOOSTED, "baseline")]
        if len(tables) > 1:
            self.entries.append(Entry(TABLES_LINEAR, "baseline", True))

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) of each entry for the test rows of a fold."""
        train, test = fold
        found = {e.name: np.tile(data.prior(train), (len(test), 1)) for e in self.entries}
        parts = data.frame.take(train), data.frame.take(test)
        tables = [name for name in self.tables if data.presence[name][train].any()]
        if not tables:
            return found
        blocks = [plain_features(data.encoders[name], *parts, data.device) for name in tables]
        learn = [block for block, _ in blocks]
        have, asked = _any_known(learn), _any_known([block for _, block in blocks])
        rows = train[have]
        if not asked.any() or not data.can_learn(rows):
            return found
        # Trees split on what is missing themselves.
        features, questions = (np.hstack(part) for part in zip(*blocks, strict=True))
        told = fit_boosted(features[have], data, rows, questions[asked], seed)
        found[TABLES_BOOSTED][asked] = told
        if TABLES_LINEAR in found:
            features, questions = _filled(blocks)
            told = fit_linear(features[have], data, rows, questions[asked])
            found[TABLES_LINEAR][asked] = told
        return found


class PresenceRun(Run):
    """A linear model that sees only which modalities a row has."""

    def __init__(self) -> None:
        self.entries = [Entry(PRESENCE, "baseline")]

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the predictions (n, K) for the test rows of a fold."""
        train, test = fold
        flags = np.stack(list(data.presence.values()), axis=1).astype(np.float64)
        return {PRESENCE: fit_linear(flags[train], data, train, flags[test])}


def plain_features(
    encoder: Encoder, train: Frame, test: Frame, device: str = "cpu"
) -> tuple[Floats, Floats]:
    """Return features that need no training, NaN in rows without the modality."""
    fitted = encoder.plain().fit(train)
    return fitted.plain_features(train, device), fitted.plain_features(test, device)


def fit_linear(features: Floats, data: ComparedRows, rows: Rows, asked: Floats) -> Floats:
    """Return the answers (n, K) of a linear model fitted on `rows`.

    The penalty grows with the number of features, as if all of them together had variance
    one: a wide embedding is then no worse off than a handful of labs.
    """
    linear = make_pipeline(StandardScaler(), data.target.linear(features.shape[1]))
    return _fit_and_ask(linear, features, data, rows, asked)


def fit_boosted(
    features: Floats, data: ComparedRows, rows: Rows, asked: Floats, seed: int
) -> Floats:
    """Return the answers (n, K) of boosted trees fitted on `rows`; features may be NaN."""
    trees = data.target.small_trees(len(rows), seed)
    return _fit_and_ask(trees, features, data, rows, asked)


def _fit_and_ask(
    model: Any, features: Floats, data: ComparedRows, rows: Rows, asked: Floats
) -> Floats:
    """Return the answers (n, K) of a foreign model; a class without rows stays at zero."""
    model, y = data.target.for_part(model, data.y[rows])
    groups = data.groups[rows] if data.is_grouped else None
    return data.target.ask_part(model.fit(features, y, **group_options(model, groups)), asked)


def _any_known(blocks: list[Floats]) -> NDArray[np.bool_]:
    """Return which rows have a feature in any block."""
    return np.asarray(~np.isnan(np.hstack(blocks)).all(axis=1))


def _filled(blocks: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return blocks side by side, training means for a missing one, which is flagged."""
    learn: list[Floats] = []
    asked: list[Floats] = []
    for train, test in blocks:
        mean = np.asarray(np.nanmean(train, axis=0))
        absent = [np.isnan(part).all(axis=1, keepdims=True) for part in (train, test)]
        for parts, part, lost in ((learn, train, absent[0]), (asked, test, absent[1])):
            parts.append(np.where(lost, mean, part))
            if absent[0].any():
                parts.append(np.where(lost, 1.0, 0.0))
    return np.hstack(learn), np.hstack(asked)


def _ask(model: Any, rows: Any, data: ComparedRows) -> Floats:
    """Return predictions (n, K), a class that the model has not seen at zero."""
    with warnings.catch_warnings():
        # Rows without the modality are answered by the prior, as the board explains.
        warnings.filterwarnings("ignore", r"\d+ row\(s\) have none of", AsfusionWarning)
        return data.target.ask(model, rows)
