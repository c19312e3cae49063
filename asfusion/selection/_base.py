"""Automatic fusion, without the task: members fitted, judged by patient, averaged."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_jobs, check_number, quoted
from asfusion._frames import Frame
from asfusion._processes import kept_here
from asfusion._progress import progress
from asfusion._random import RandomState
from asfusion._splits import Split
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder
from asfusion.encoders._given import Encoders
from asfusion.estimators._base import FusionEstimator, columns_of, forget_checkpoints
from asfusion.estimators._parts import Content, Parts, Several
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._splits import inner_splits
from asfusion.estimators._types import CV
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.selection._average import (
    averaged,
    by_row,
    learned_sharpness,
    member_weights,
    unseen_average,
)
from asfusion.selection._drawn import AutoDrawn
from asfusion.selection._members import Kin, Models, kins_of
from asfusion.targets._base import Target
from asfusion.targets._pools import weighted_mean

if TYPE_CHECKING:
    import pandas as pd

    from asfusion.comparison._store import AnswerStore
    from asfusion.estimators._joint import JointFusion
    from asfusion.selection._judging import SeenRows

Floats = NDArray[np.float64]

MemberName: TypeAlias = Literal[
    "late mean", "late product", "early linear", "early forest", "early boosted", "joint"
]
Members: TypeAlias = Literal["auto"] | Sequence[MemberName] | Mapping[str, FusionEstimator | None]

# From how many training rows on a member joins by itself; see `benchmarks/choose_members.py`.
_ENOUGH = {
    "late mean": 0,
    "late product": 0,
    "early linear": 0,
    "early forest": 0,
    "early boosted": 1000,
    "joint": 1000,
}
_AVERAGE = "average"  # what the leaderboard calls all members together


class AutoFusion(AutoDrawn, FusionEstimator):
    """The family, without the task."""

    _family = "auto"
    _local_params = frozenset({"checkpoint", "n_jobs"})
    _part_fields = ("encoders", "members")

    models_: Models
    weights_: dict[str, float]
    sharpness_: float
    sources_: dict[str, str]
    board_: list[dict[str, Any]]

    # While fit goes on: the encoders, when no other fit may begin, and what is said unseen.
    _encoders: Mapping[str, Encoder] | None = None
    _deadline: float | None = None
    _judged: tuple[Floats, TrainingRows] | None = None

    def __init__(
        self,
        encoders: Encoders = "auto",
        members: Members = "auto",
        *,
        cv: CV = 5,
        max_minutes: float | None = None,
        network: JointFusion | None = None,
        checkpoint: str | Path | None = None,
        n_jobs: int | None = None,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        self.encoders = encoders
        self.members = members
        self.cv = cv
        self.max_minutes = max_minutes
        self.network = network
        self.checkpoint = checkpoint
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state
        self.target = target

    @property
    def encoders_(self) -> dict[str, Encoder]:
        """Fitted encoder of each modality, as the first member that reads it has it."""
        return self._modality_encoders()

    @property
    def leaderboard_(self) -> pd.DataFrame:
        """Members by weight, and their average, judged on rows that they had not seen."""
        import pandas as pd

        return pd.DataFrame(self.board_).set_index("member")

    def _fit_rows(self, rows: TrainingRows, *, resume: bool = False) -> None:
        self._begin_clock()
        check_jobs(self.n_jobs)
        self._encoders = self._described(rows)
        try:
            known = self._with_cells(rows)
            self._fit_members(known, resume=resume)
        finally:
            self._encoders = self._deadline = None

    def _let_go(self) -> None:
        self._judged = None

    def _unseen(self, rows: TrainingRows) -> tuple[Floats, TrainingRows]:
        if self._judged is None:
            return super()._unseen(rows)
        return self._judged

    # -- members -----------------------------------------------------------------------

    def _fit_members(self, rows: TrainingRows, *, resume: bool) -> None:
        # Here, as all that is known of comparing and scoring is not needed to predict.
        from asfusion.comparison._store import AnswerStore
        from asfusion.selection._judging import TimeIsUp, seen_rows

        wanted = self._wanted(len(rows))
        self._check_own_encoders(wanted, rows.frame)
        kins = kins_of(wanted)
        splits = inner_splits(rows, self.cv, target=self.target_, seed=self._seed("folds"))
        if not splits:
            warn_user(
                f"cv: expected enough rows and groups for inner folds, got {len(rows)} rows. "
                "Members are not judged, and weigh the same."
            )
        judged = seen_rows(self, rows)
        store = None if self.checkpoint is None else AnswerStore(self.checkpoint, judged)
        self.models_, self.sources_ = {}, {}
        outputs: list[Floats] = []
        seconds: dict[str, float] = {}
        for kin in progress(kins, "Members", unit="kind"):
            begun = time.perf_counter()
            try:
                models, said = self._fit_kin(kin, judged, splits, store, resume=resume)
            except TimeIsUp:
                self._tell_left_out(kins, kin)
                break
            took = time.perf_counter() - begun
            self.models_ |= models
            self.sources_ |= dict.fromkeys(models, next(iter(models)))
            seconds |= dict.fromkeys(models, took / len(models))
            outputs.append(said)
        self._weigh_members(np.concatenate(outputs), rows, splits, seconds)

    def _fit_kin(
        self,
        kin: Kin,
        judged: SeenRows,
        splits: list[Split],
        store: AnswerStore | None,
        *,
        resume: bool,
    ) -> tuple[Models, Floats]:
        """Return fitted members, and what they say out of fold, (V, N, K)."""
        from asfusion.selection._judging import TimeIsUp, answers_of

        rows = judged.rows
        if self.models_ and self._deadline is not None and time.time() > self._deadline:
            raise TimeIsUp
        quiet = self._for_folds()
        quiet._deadline = self._deadline if self.models_ else None  # the first are there anyway
        quiet.models_ = {}
        said = np.full((len(kin.answers_of(self)), len(rows), self.n_outputs_), np.nan)
        if splits:
            said = answers_of(kin, quiet, judged, splits, store=store, n_jobs=self.n_jobs)
        with kept_here():
            models = kin.fit(self, rows, resume=resume)
        return kin.settle(models, said, rows)

    def _for_folds(self) -> Self:
        """Return a parent for the fits of folds, without what their answers do not depend on.

        Answers that are kept stand under its parameters: more time or other members are no reason
        to ask again.
        """
        quiet = copy.copy(self)
        quiet.members, quiet.max_minutes, quiet.n_jobs, quiet.verbose = "auto", None, None, 0
        forget_checkpoints(quiet)
        return quiet

    def _weigh_members(
        self,
        outputs: Floats,
        rows: TrainingRows,
        splits: list[Split],
        seconds: Mapping[str, float],
    ) -> None:
        """Set ``weights_`` and the leaderboard."""
        from asfusion.selection._leaderboard import board_of

        weights = member_weights(self.target_, outputs, rows)
        self.weights_ = {n: float(w) for n, w in zip(self.models_, weights, strict=True)}
        mean = averaged(outputs, weights)
        self.sharpness_ = learned_sharpness(self.target_, mean, rows)
        unseen = unseen_average(self.target_, outputs, rows, splits)
        known = np.flatnonzero(~np.isnan(unseen).any(axis=1))
        self._judged = (unseen[known], rows.take(known)) if len(known) else None
        said = dict(zip(self.models_, outputs, strict=True)) | {_AVERAGE: unseen}
        weighed = self.weights_ | {_AVERAGE: float(sum(weights))}
        times = {**seconds, _AVERAGE: sum(seconds.values())}
        self.board_ = board_of(self.target_, said, weighed, times, rows, seed=self._seed("board"))

    def _wanted(self, n_rows: int) -> dict[str, Any]:
        """Return members by name: None for those that are known, or a model."""
        given = self.members
        if isinstance(given, str) and given == "auto":
            return {name: None for name, fewest in _ENOUGH.items() if n_rows >= fewest}
        if isinstance(given, Mapping):
            named = {str(name): model for name, model in given.items()}
        elif isinstance(given, Sequence) and not isinstance(given, str):
            named = dict.fromkeys(map(str, given))
        else:
            named = {}
        if not named:
            msg = (
                f"members: expected 'auto', some of {quoted(_ENOUGH)}, or a dict of name to "
                f"fusion estimator, got {type(given).__name__}."
            )
            raise ConfigurationError(msg)
        for name, model in named.items():
            self._check_member(name, model)
        return named

    def _check_member(self, name: str, model: Any) -> None:
        if model is None:
            check_choice(name, "members", tuple(_ENOUGH))
            return
        if name == _AVERAGE:
            msg = f"members: expected other names than {name!r}, as the leaderboard calls them all."
            raise ConfigurationError(msg)
        if not isinstance(model, FusionEstimator) or model._face != self._face:
            msg = (
                f"members[{name!r}]: expected a fusion estimator for a {self._face}, such as one "
                f"of early or late fusion, got {type(model).__name__}."
            )
            raise ConfigurationError(msg)

    def _check_own_encoders(self, wanted: Mapping[str, Any], frame: Frame) -> None:
        """Raise where a name means two encoders, or a member reads what the whole does not.

        Explanations and kept answers know a modality by its name, and cells by their column.
        """
        from asfusion.comparison._store import describe

        known = dict(self._chosen_encoders())
        columns = {c for e in known.values() for c in (*columns_of(e, frame), *e._columns_beside())}
        for member, model in wanted.items():
            if model is None or isinstance(model.encoders, str):
                continue
            for name, encoder in model._check_encoders().items():
                if describe(known.setdefault(name, encoder)) != describe(encoder):
                    msg = (
                        f"members[{member!r}]: expected the same encoder {name!r} everywhere, got "
                        "another. Give it another name."
                    )
                    raise ConfigurationError(msg)
                read = {*columns_of(encoder, frame), *encoder._columns_beside()}
                if more := sorted(read - columns):
                    msg = (
                        f"members[{member!r}]: expected columns that encoders of the whole read, "
                        f"too, got {quoted(more)}. Add an encoder of them to `encoders`."
                    )
                    raise ConfigurationError(msg)

    def _tell_left_out(self, kins: list[Kin], first: Kin) -> None:
        names = [name for kin in kins[kins.index(first) :] for name in kin.names]
        warn_user(
            f"max_minutes={self.max_minutes:g}: the time is up, and {quoted(names)} are left "
            "out. Give more time, or name fewer members."
        )

    def _begin_clock(self) -> None:
        if self.max_minutes is not None:
            check_number(self.max_minutes, "max_minutes", minimum=0.0)
            self._deadline = time.time() + 60.0 * float(self.max_minutes)

    # -- rows and encoders -------------------------------------------------------------

    def _chosen_encoders(self) -> Mapping[str, Encoder]:
        return super()._chosen_encoders() if self._encoders is None else self._encoders

    def _with_cells(self, rows: TrainingRows) -> TrainingRows:
        """Leave out rows that no encoder reads anything of: members would, each by itself."""
        columns = [columns_of(e, rows.frame) for e in self._chosen_encoders().values()]
        present = np.any([rows.frame.present(own) for own in columns], axis=0)
        if present.all():
            return rows
        kept = rows.take(np.flatnonzero(present))
        if not self.target_.can_teach(kept.y):
            msg = f"X: {self.target_.lacks(kept.y, 'with a modality')}."
            raise InputError(msg)
        return kept

    def _modality_encoders(self) -> dict[str, Encoder]:
        found: dict[str, Encoder] = {}
        for model in self._bases().values():
            found = {**model._modality_encoders(), **found}
        return found

    # -- predicting --------------------------------------------------------------------

    def _bases(self) -> Models:
        """Return the members that hold what others share."""
        return {name: self.models_[name] for name in dict.fromkeys(self.sources_.values())}

    def _encode(self, frame: Frame, names: Sequence[str] | None = None) -> Parts:
        chosen = list(self._modality_encoders()) if names is None else list(names)
        found: dict[str, list[Content | None]] = {name: [] for name in chosen}
        present = np.zeros((len(frame), len(chosen)), dtype=bool)
        for model in self._bases().values():
            own = [name for name in chosen if name in model._modality_encoders()]
            parts = model._encode(frame, own) if own else None
            for name in chosen:
                found[name].append(None if parts is None else parts.contents.get(name))
            if parts is not None:
                present[:, [chosen.index(name) for name in own]] |= parts.present
        return Parts({name: Several(tuple(of)) for name, of in found.items()}, present)

    def _encode_prepared(self, name: str, prepared: Prepared) -> Content:
        return Several(
            tuple(
                model._encode_prepared(name, prepared)
                if name in model._modality_encoders()
                else None
                for model in self._bases().values()
            )
        )

    def _decide(self, parts: Parts) -> Floats:
        own = {base: _of_base(parts, b) for b, base in enumerate(self._bases())}
        said = []
        for name, model in self.models_.items():
            read = own[self.sources_[name]]
            there = np.asarray(read.present.any(axis=1))
            outputs = np.full((len(parts), self.n_outputs_), np.nan)
            if there.any():
                outputs = np.where(there[:, None], model._decide(read), np.nan)
            said.append(outputs)
        decisions, present = by_row(np.stack(said))
        weights = np.asarray(list(self.weights_.values()))
        mean = weighted_mean(decisions, present, weights)
        return self.target_.sharpened(mean, self.sharpness_)

    def _as_probed(self) -> Self:
        asked = super()._as_probed()
        asked.models_ = {name: model._as_probed() for name, model in self.models_.items()}
        return asked

    # -- saving ------------------------------------------------------------------------

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and fitted attributes; what members share is there once."""
        state = super()._bundle_state()
        if "models_" in state["fitted"]:
            state["fitted"]["models_"] = {
                name: model if self.sources_[name] == name else _without_shared(model)
                for name, model in self.models_.items()
            }
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Rebuild from what `_bundle_state` returned."""
        super()._restore_bundle_state(state)
        for name, source in getattr(self, "sources_", {}).items():
            model, base = self.models_[name], self.models_[source]
            if model is not base:
                setattr(model, model._before_last, getattr(base, base._before_last))


def _of_base(parts: Parts, base: int) -> Parts:
    """Return rows as one of the members that others share with has encoded them."""
    contents: dict[str, Content] = {}
    columns = []
    for m, (name, content) in enumerate(parts.contents.items()):
        own = content.contents[base] if isinstance(content, Several) else None
        if own is not None:
            contents[name] = own
            columns.append(m)
    return Parts(contents, parts.present[:, columns])


def _without_shared(model: FusionEstimator) -> FusionEstimator:
    """Return a copy of a member without what it shares with another."""
    light = copy.copy(model)
    delattr(light, model._before_last)
    return light
