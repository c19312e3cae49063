"""Every fusion against every single modality, on the same folds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import (
    check_choice,
    check_integer,
    check_jobs,
    check_row_labels,
    in_words,
    quoted,
)
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress_shown, tell
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._splits import Split, make_folds
from asfusion._stubs import fusion_families
from asfusion.clinical.provenance import check_circularity
from asfusion.comparison._board_scores import make_board
from asfusion.comparison._jobs import answer_all
from asfusion.comparison._runs import (
    AloneRun,
    ComparedRows,
    EstimatorRun,
    PlainRun,
    PresenceRun,
    Run,
    TablesRun,
)
from asfusion.comparison._standings import Entry
from asfusion.comparison._store import AnswerStore
from asfusion.comparison.board import Board
from asfusion.crossvalidation._folds import split_by_site
from asfusion.crossvalidation._runs import check_unfitted
from asfusion.encoders._base import Encoder
from asfusion.encoders._given import Encoders, read_encoders
from asfusion.encoders.infer import choose_encoders
from asfusion.encoders.judged import patient_numbers
from asfusion.estimators._base import columns_of, estimator_class
from asfusion.estimators._rows import cells_present
from asfusion.estimators._types import CV, Combine, Family, Head, Model
from asfusion.estimators.late import check_combine
from asfusion.evaluation._inputs import check_confidence, read_groups, single_column
from asfusion.evaluation._judge import unanswered
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.fusion._resolve import resolve_head
from asfusion.targets._base import Target
from asfusion.targets._guess import read_target

Floats = NDArray[np.float64]
if TYPE_CHECKING:
    from asfusion.estimators._joint import JointFusion

Folds = dict[int, list[Split]]

Task: TypeAlias = Literal[
    "auto",
    "bounded",
    "classification",
    "counts",
    "grades",
    "labels",
    "regression",
    "survival",
]

_FAMILIES = fusion_families()
_USUAL: tuple[Family, ...] = (
    "early",
    "joint",
    "late",
)  # auto costs as much as all of them


@public
def compare(
    X: Any,
    y: Any,
    encoders: Encoders = "auto",
    *,
    groups: Any = None,
    cv: CV | Literal["leave-one-site-out"] = 5,
    sites: Any = None,
    families: Sequence[Family] = _USUAL,
    fusions: Sequence[Head] = ("concat",),
    combines: Sequence[Combine] = ("mean",),
    estimators: Mapping[str, Model] | None = None,
    network: JointFusion | None = None,
    task: Task | Target = "auto",
    seeds: Sequence[int] = (0,),
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    checkpoint: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    verbose: int = 1,
    random_state: RandomState = 0,
) -> Board:
    """Rank fusions against single modalities by what they say of unseen patients.

    Every model is fitted and judged on the same folds: each modality alone, each fusion
    asked for, and those that keep the others honest: one linear model per modality
    (``plain: <modality>``), the mean of these (``plain: mean``), one that sees all tables and
    nothing else (``tables only: boosted``, and ``tables only: linear`` of several tables), and
    one that sees only *which* modalities a row has (``presence only``).

    Parameters
    ----------
    X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
        One patient (or visit) per row.
    y : array of shape (n_rows,) or (n_rows, n_targets)
        Class labels or regression targets.
    encoders : "auto" or dict of str to Encoder
        One description per modality, at least two.
    groups : array of shape (n_rows,), optional
        Patient of each row. A patient's rows stay in one fold, and intervals resample
        patients.
    cv : int, scikit-learn splitter, iterable of (train, test), or "leave-one-site-out"
        Folds; an integer makes shuffled folds, stratified for classes.
    sites : array of shape (n_rows,), optional
        Hospital of each row, for ``cv="leave-one-site-out"``: each is judged by models that
        were fitted on the others. Models are ranked by the mean of the scores within sites then,
        and the score of all rows pooled stands beside it.
    families : sequence of {"auto", "early", "joint", "late"}
        Families of fusion to compare.
    fusions : sequence of str or Fusion
        Heads of joint fusion.
    combines : sequence of {"auto", "mean", "vote", "weighted", "product", "stacking"}
        Combinations of late fusion.
    estimators : dict of str to scikit-learn estimator, optional
        Further models by the name that they get on the board. Each is tried in early
        and late fusion and on each modality alone.
    network : JointFusionClassifier or JointFusionRegressor, optional
        Training settings of all networks; their defaults otherwise.
    task : str or asfusion.targets.Target
        ``"classification"``, ``"regression"``, ``"survival"``, ``"grades"``, ``"labels"``,
        ``"counts"`` or ``"bounded"``, which is a target by its defaults. ``"auto"`` takes text,
        booleans and whole numbers with at most ten distinct values as classes.
    seeds : sequence of int
        Seeds of folds and models. Predictions of a row are averaged over them.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that the intervals aim at.
    checkpoint : path, optional
        Folder of finished answers, made if it is not there. The same call, made again
        after it was stopped, goes on where it was; so does one with more models.
    n_jobs : int, optional
        Processes at most that fit side by side, each on one thread; -1 is one for each core.
        Equal for any number; they start where the work left takes much longer than that. None
        fits in this process, on as many threads as it has, unless ``joblib.parallel_config``
        says otherwise, such as ``"dask"`` or ``"ray"``.
    verbose : int
        0 is silent; 1 prints inferred encoders and shows a progress bar.
    random_state : int, RandomState, Generator or None
        Seeds everything, together with `seeds`.

    Returns
    -------
    Board
        Ranked models with intervals, also of the paired difference to the best single
        modality, and a verdict in words. It draws itself in a notebook.

    Raises
    ------
    InputError
        If rows, targets, groups or sites cannot be used as given, a patient was seen at two
        sites, or there are fewer than two modalities.
    CircularityError
        If `y` carries the name of a clinical score and a column is an ingredient of it.
    ConfigurationError
        If a parameter is unusable, or a split mixes a patient's rows.
    CheckpointError
        If there can be no folder at `checkpoint`.
    WorkerError
        If a process, or a machine of a cluster, was lost with its work, and lost again.

    Notes
    -----
    A model of one modality answers rows that lack it with the training prior. Frozen
    encoders embed each row once for all models, folds and seeds. The plain ladder reads the
    same features of tables and frozen encoders; where an encoder would have to learn first, it
    reads tf-idf of notes, thumbnails of 16 by 16 pixels or of 4 by 8 by 8 voxels, and of an
    encoder of your own what `plain_features` gives.

    The folder of `checkpoint` holds predictions, no cells: one file per fit, named by a hash
    of cells, contents of image files, targets, folds, seeds, all parameters and installed
    versions. Whatever of these changes, its answers are made anew; old files can be deleted
    at any time. Code of your own estimators counts, save for functions that they call.

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["crp", "esr", "bmi"])
    >>> y = (X["crp"] + X["bmi"] > 0).astype(int)
    >>> encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder("bmi")}
    >>> board = af.compare(X, y, encoders, families=["early"], n_bootstrap=100, verbose=0)
    >>> board.best_single.name, board.best_fusion.name
    ('labs', 'early')
    """
    if checkpoint is not None and random_state is None:
        msg = (
            "random_state: expected a number with checkpoint=, got None, by which no run is like "
            "the one before. Give any number."
        )
        raise ConfigurationError(msg)
    seed = draw_seed(random_state)
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_jobs(n_jobs)
    check_confidence(confidence)
    data = _read(X, y, groups, encoders, task, verbose)
    data = replace(data, device=getattr(network, "device", "auto"))
    check_row_labels(X, sites=sites)
    by_site = split_by_site(cv, sites, len(data.y), data.split_groups)
    runs = _plan(data, families, fusions, combines, estimators, network)
    folds = _make_folds(data, cv if by_site is None else by_site[1], seeds, seed)
    store = None if checkpoint is None else AnswerStore(checkpoint, data)
    with progress_shown(bool(verbose)):
        answers, seconds = answer_all(
            runs, data, folds, seed, store=store, verbose=verbose, n_jobs=n_jobs
        )
    return make_board(
        data.target,
        unanswered(data.target, data.y, data.groups, data.is_grouped),
        {entry: answers[entry.name] for run in runs for entry in run.entries},
        seconds,
        n_folds=max(len(parts) for parts in folds.values()),
        seeds=tuple(folds),
        n_bootstrap=int(n_bootstrap),
        confidence=float(confidence),
        seed=derive_seed(seed, "bootstrap"),
        sites=None if by_site is None else (by_site[0], _site_numbers(by_site[1])),
    )


# -- rows ------------------------------------------------------------------------------


def _read(X: Any, y: Any, groups: Any, encoders: Any, task: Any, verbose: int) -> ComparedRows:
    frame = Frame.read(X)
    check_row_labels(X, y=y, groups=groups)
    y = single_column(y)
    target = read_target(task, y, len(frame))
    values = target.read(y, len(frame))
    target.fit(values).check_varied()
    numbers, is_grouped = read_groups(groups, len(frame))
    chosen = _read_encoders(encoders, frame, y, groups, verbose)
    presence = {}
    for name, encoder in chosen.items():
        columns = columns_of(encoder, frame)
        frame.check_columns(columns, f"Modality {name!r}")
        presence[name] = cells_present(frame, columns)
        check_circularity(() if frame.is_array else columns, y)
    coded = target.code(values)
    return ComparedRows(frame, coded, target, numbers, is_grouped, chosen, presence)


def _read_encoders(
    encoders: Any, frame: Frame, y: Any, groups: Any, verbose: int
) -> dict[str, Encoder]:
    if isinstance(encoders, str) and encoders == "auto":
        choice = choose_encoders(frame, y, patient_numbers(groups, len(frame)))
        choice.warn()
        chosen = choice.encoders
        if verbose and not frame.is_array:
            tell(choice.describe(frame))
    else:
        chosen = read_encoders(encoders)
    if len(chosen) < 2:
        msg = (
            f"encoders: expected at least 2 modalities to fuse, got {len(chosen)}. Give parts of "
            "a table encoders of their own to compare those."
        )
        raise InputError(msg)
    return chosen


def _make_folds(data: ComparedRows, cv: Any, seeds: Sequence[int], seed: int) -> Folds:
    """Return the folds of each seed."""
    checked = [check_integer(s, "seeds", minimum=0) for s in seeds]
    if not checked or len(set(checked)) < len(checked):
        msg = f"seeds: expected at least one seed and each once, got {quoted(checked)}."
        raise ConfigurationError(msg)
    if not hasattr(cv, "split") and not isinstance(cv, int | str):
        cv = list(cv)  # the same splits for every seed, also from a generator
    return {
        s: make_folds(
            data.y,
            cv,
            groups=data.split_groups,
            strata=data.target.strata(data.y),
            seed=derive_seed(seed, "folds", s),
        )
        for s in checked
    }


def _site_numbers(folds: list[Split]) -> NDArray[np.int64]:
    """Return the number of the site of each row, which is that of the fold that tests it."""
    numbers = np.empty(sum(len(test) for _, test in folds), dtype=np.int64)
    for number, (_, test) in enumerate(folds):
        numbers[test] = number
    return numbers


# -- models ----------------------------------------------------------------------------


def _plan(
    data: ComparedRows,
    families: Sequence[str],
    fusions: Sequence[Any],
    combines: Sequence[str],
    estimators: Mapping[str, Any] | None,
    network: Any,
) -> list[Run]:
    """Return the runs that together answer for every entry asked for."""
    if isinstance(families, str) or not families:
        msg = f"families: expected a sequence of {quoted(_FAMILIES)}, got {in_words(families)}."
        raise ConfigurationError(msg)
    for family in families:
        check_choice(family, "families", _FAMILIES)
    # What else only a late fit would find out.
    for combine in combines if "late" in families else ():
        check_combine(combine, data.target)
    plan = _Plan(data, network)
    for name, estimator in {"": None, **_check_estimators(estimators, data)}.items():
        plan.add_variant(name, estimator, families, combines)
    if "joint" in families:
        plan.add_joint(fusions)
    if "auto" in families:
        plan.add_auto()
    runs = [*plan.runs, PlainRun(list(data.encoders))]
    tables = [name for name, part in data.encoders.items() if part.kind in ("table", "genotypes")]
    if tables:
        runs.append(TablesRun(tables))
    if any(not present.all() for present in data.presence.values()):
        runs.append(PresenceRun())
    return runs


def _check_estimators(estimators: Any, data: ComparedRows) -> Mapping[str, Any]:
    if estimators is None:
        return {}
    if not isinstance(estimators, Mapping):
        msg = (
            "estimators: expected a dict of name to scikit-learn estimator, got "
            f"{type(estimators).__name__}. For example {{'forest': RandomForestClassifier()}}."
        )
        raise ConfigurationError(msg)
    for name, estimator in estimators.items():
        data.target.check_part(estimator, f"estimators[{name!r}]")
        check_unfitted(estimator, f"estimators[{name!r}]")
    return {str(name): estimator for name, estimator in estimators.items()}


class _Plan:
    """Collects runs; each modality alone comes out of a late fusion where there is one."""

    def __init__(self, data: ComparedRows, network: Any) -> None:
        self.early = estimator_class("early", data.target)
        self.joint = estimator_class("joint", data.target)
        self.late = estimator_class("late", data.target)
        if network is not None and not isinstance(network, self.joint):
            msg = (
                f"network: expected None or a {self.joint.__name__} with the training settings, "
                f"got {type(network).__name__}."
            )
            raise ConfigurationError(msg)
        self.encoders, self.network = data.encoders, network
        self.target = data.target
        target = data.target.pinned()
        self.settings = {"network": network, "verbose": 0, "target": target}
        self.runs: list[Run] = []

    def add_variant(
        self, name: str, estimator: Any, families: Sequence[str], combines: Sequence[str]
    ) -> None:
        """Add early and late fusion and each modality alone, for one kind of model."""
        suffix = f": {name}" if name else ""
        alone = {modality: f"{modality}{suffix}" for modality in self.encoders}
        if "early" in families:
            model = self.early(self.encoders, estimator, **self.settings)
            self.runs.append(EstimatorRun(model, Entry(f"early{suffix}", "fusion")))
        if "late" in families:
            for combine in combines:
                model = self.late(self.encoders, estimator, combine, **self.settings)
                label = f"late: {combine}" + (f", {name}" if name else "")
                self.runs.append(EstimatorRun(model, Entry(label, "fusion"), alone))
                alone = {}
        elif "joint" in families and estimator is None:
            model = self.late(self.encoders, **self.settings)
            self.runs.append(EstimatorRun(model, None, alone))
            alone = {}
        for modality, label in alone.items():
            model = self.early({modality: self.encoders[modality]}, estimator, **self.settings)
            self.runs.append(AloneRun(model, modality, label))

    def add_auto(self) -> None:
        """Add automatic fusion."""
        model = estimator_class("auto", self.target)(self.encoders, **self.settings)
        self.runs.append(EstimatorRun(model, Entry("auto", "fusion")))

    def add_joint(self, fusions: Sequence[Any]) -> None:
        """Add joint fusion with each head."""
        template = self.joint() if self.network is None else self.network
        for fusion in [fusions] if isinstance(fusions, str) else fusions:
            resolve_head(fusion)  # raises before anything is fitted
            label = fusion if isinstance(fusion, str) else type(fusion).__name__
            model = clone(template).set_params(
                encoders=self.encoders, fusion=fusion, verbose=0, target=self.settings["target"]
            )
            self.runs.append(EstimatorRun(model, Entry(f"joint: {label}", "fusion")))
