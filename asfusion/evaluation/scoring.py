"""What every kind of target says of how it is judged: the class that a new one stands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.evaluation._decision import percent_grid
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._reported import Reported
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.metrics import ScoreInfo, Scorer
from asfusion.exceptions import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rules:
    """What scores depend on besides rows and predictions.

    Parameters
    ----------
    threshold : float or None
        From which probability on a row is called positive; None unless there are two classes.
    source : str or None
        Where it comes from: ``"given"``, ``"model"``, ``"folds"`` or ``"default"``.
    prevalence : float or None
        Stated share of positives; None for that of the rows.
    thresholds : ndarray of shape (T,)
        Those of the decision curve.
    mic : tuple of T floats
        Minimal important change of each target; empty if not given.
    ranks : ndarray of shape (K,) or None
        Place of each class in their order, if they have one.
    horizons : tuple of float
        Times by which an event is predicted; empty but for times to an event.
    """

    threshold: float | None = None
    source: str | None = None
    prevalence: float | None = None
    thresholds: Floats = field(default_factory=lambda: percent_grid(0.01, 0.99))
    mic: tuple[float, ...] = ()
    ranks: NDArray[np.int64] | None = None
    horizons: tuple[float, ...] = ()


class Scoring(ABC):
    """How predictions of one kind of target are scored, and how that is shown.

    A new kind is a class on this one, made known by `asfusion.evaluation.registry`. Nothing else
    asks what kind a target is of.

    Attributes
    ----------
    task : str
        Name of the kind, such as ``"binary"``.
    primary : str
        The score by which models are ranked and modalities shown.
    board, folds : tuple of str
        What a board shows beside it, and a cross-validation of each fold.
    audited, compared, drawn : tuple of str
        What an audit shows of each subgroup, of that what is compared with all other rows, and
        what is drawn.
    canary : tuple of str and float
        The score that tells of a leak where labels were permuted, and what it is by chance.
    options : frozenset of str
        Options of `evaluate` that mean something: ``threshold``, ``prevalence``,
        ``thresholds``, ``mic``, ``ordinal``, ``horizons``.
    infos : mapping of str to ScoreInfo
        What scores are called that no other kind has.
    """

    task: ClassVar[str]
    primary: ClassVar[str]
    board: ClassVar[tuple[str, ...]]
    folds: ClassVar[tuple[str, ...]]
    audited: ClassVar[tuple[str, ...]]
    compared: ClassVar[tuple[str, ...]]
    drawn: ClassVar[tuple[str, ...]]
    canary: ClassVar[tuple[str, float]]
    options: ClassVar[frozenset[str]] = frozenset()
    noun: ClassVar[str] = "class"  # what `Report.classes` names
    infos: ClassVar[Mapping[str, ScoreInfo]] = {}

    def to_draw(self, scores: Any = None) -> list[str]:
        """Return the scores of an audit that are asked for, `drawn` by default.

        Raises
        ------
        ConfigurationError
            If there are none, or one that is not audited.
        """
        names = list(self.drawn if scores is None else np.atleast_1d(scores))
        unknown = [str(name) for name in names if name not in self.audited]
        if unknown or not names:
            msg = f"scores: expected some of {quoted(self.audited, 9)}, got {quoted(unknown)}."
            raise ConfigurationError(msg)
        return names

    # -- rows --------------------------------------------------------------------------

    @abstractmethod
    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with predictions of them.

        Parameters
        ----------
        predicted : array of shape (N,) or (N, K)
            What a model says.
        y : array of shape (N,) or (N, T)
            What is true, as the user has it.
        groups : array of shape (N,), or None
            Patient of each row.
        classes : array of shape (K,), or None
            Classes that the model knows, in its order.

        Returns
        -------
        Judged
            With `task` as its task.
        """

    def judged(
        self,
        y: NDArray[Any],
        predicted: Floats,
        columns: NDArray[Any] | None,
        groups: NDArray[np.int64],
        is_grouped: bool,
    ) -> Judged:
        """Return rows that are checked and coded already; `columns` are those of predictions."""
        names = () if columns is None else tuple(str(name) for name in columns)
        return Judged(self.task, y, predicted, names, groups, is_grouped)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with what a fitted model says of them."""
        return self.read(model.predict(X), y, groups, classes)

    def doubt(self, judged: Judged) -> str:
        """Return why predictions that were given are none, or nothing."""
        return ""

    def shares(self, judged: Judged) -> tuple[float, ...]:
        """Return the share of each class among the rows; empty where there are none."""
        if not judged.classes:
            return ()
        counts = np.bincount(judged.y, minlength=len(judged.classes))
        return tuple(float(count) / len(judged) for count in counts)

    def why_refused(self, judged: Judged) -> str:
        """Return why these rows of a subgroup are too few to be scored, or nothing."""
        return ""

    # -- rules -------------------------------------------------------------------------

    def read_threshold(
        self, model: Any, threshold: float | None
    ) -> tuple[float | None, str | None]:
        """Return the threshold by which rows are called, and where it comes from."""
        return None, None

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return the rules that `options` ask for, checked."""
        return Rules()

    def fold_rules(self, judged: Judged) -> Rules:
        """Return the rules for rows that were each judged by the model of a fold."""
        return Rules()

    # -- scores ------------------------------------------------------------------------

    @abstractmethod
    def scorer(self, judged: Judged, rules: Rules) -> Scorer:
        """Return what scores these predictions, for many weightings of their patients.

        Parameters
        ----------
        judged : Judged
            Rows and their predictions.
        rules : Rules
            What `read_rules` or `fold_rules` returned.

        Returns
        -------
        Scorer
            With ``n_groups``; called with counts of patients (R, n_groups) it returns scores
            (R,) by name.
        """

    def audit_scorer(self, judged: Judged, rules: Rules) -> Scorer:
        """Return what scores a subgroup, with the names in `audited`."""
        return self.scorer(judged, rules)

    def with_others(
        self, scores: dict[str, Interval], judged: Judged, confidence: float
    ) -> dict[str, Interval]:
        """Return the scores of a report, and those that no bootstrap makes."""
        return scores

    def remarks(self, report: Reported) -> list[str]:
        """Return what readers of the scores must know besides."""
        return []

    # -- pictures ----------------------------------------------------------------------

    @abstractmethod
    def curves(
        self, judged: Judged, rules: Rules, *, n_bootstrap: int, confidence: float, seed: int
    ) -> dict[str, Any]:
        """Return what pictures are drawn from, as a report keeps it.

        Parameters
        ----------
        judged : Judged
            Rows and their predictions.
        rules : Rules
            As for `scorer`.
        n_bootstrap, confidence, seed
            Of the bands around curves.

        Returns
        -------
        dict
            Counts and curves as plain lists, which JSON can hold; never rows.
        """

    @abstractmethod
    def panels(self, report: Reported) -> tuple[int, int]:
        """Return how many lines and columns of axes the pictures of a report need."""

    def legend_room(self, report: Reported) -> float:
        """Return the width in inches that a legend beside the axes needs."""
        return 0.0

    @abstractmethod
    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw a report.

        Parameters
        ----------
        report : Reported
            Its scores, curves and settings.
        axes : sequence of matplotlib Axes
            As many as `panels` says, line by line.
        """
