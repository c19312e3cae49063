"""What a model's rows were like, as sums of five rows or more, to be compared with elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._random import RandomState, draw_seed
from asfusion._version import __version__
from asfusion.evaluation._inputs import Judged, read_groups
from asfusion.evaluation._judge import judge
from asfusion.evaluation._patterns import encoders_inside, read_presence
from asfusion.evaluation.registry import scoring_of
from asfusion.exceptions import InputError
from asfusion.show import page
from asfusion.sites._outcome import Outcome, check_two_classes, measure
from asfusion.sites._sums import FEWEST, NumberSums, Sums, as_state, from_state, hidden, sum_up

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "asfusion reference 1"
_FEWEST_ROWS = 20


@dataclass(frozen=True, eq=False, repr=False)
class Reference(page.Page):
    """What `make_reference` keeps: no cell, and no number of fewer than five rows.

    Parameters
    ----------
    n_rows : int
        Patients that inputs are of: one row of each.
    columns : mapping of str to sums
        Of numbers: mean, spread, bins; of levels: how often each is. Dates and texts are not kept.
    presence : mapping of str to int
        Rows that have each modality.
    outcome : Outcome or None
        How the predictions did; None without y.
    version : str
        Version of asfusion that made it.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.sites import Reference, make_reference
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 100)})
    >>> y = (rng.random(100) < X.crp / 30).astype(int)
    >>> reference = make_reference(np.clip(X.crp / 30, 0, 1), X, y)
    >>> again = Reference.from_json(reference.to_json())
    >>> again.outcome.n_positive == int(y.sum())
    True
    """

    n_rows: int
    columns: Mapping[str, Sums]
    presence: Mapping[str, int]
    outcome: Outcome | None
    version: str = __version__

    def to_json(self) -> str:
        """Return the reference as JSON, for anyone to read before it is given away.

        Returns
        -------
        str
            What `from_json` reads.
        """
        state = {
            "format": _FORMAT,
            "n_rows": self.n_rows,
            "columns": {name: as_state(sums) for name, sums in self.columns.items()},
            "presence": dict(self.presence),
            "outcome": self.outcome and _without_nan(vars(self.outcome)),
            "version": self.version,
        }
        return json.dumps(state, indent=1, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            The JSON, which is not trusted.

        Returns
        -------
        Reference
            The same sums.

        Raises
        ------
        InputError
            If `text` is anything else.
        """
        try:
            return _read(json.loads(text))
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            msg = (
                f"Reference.from_json: expected a reference as JSON ({_FORMAT!r}), got other text. "
                "Write it with Reference.to_json of this version."
            )
            raise InputError(msg) from None

    def to_frame(self) -> pd.DataFrame:
        """Return one row per column.

        Returns
        -------
        DataFrame
            Rows with a cell and without, and mean and spread of numbers.
        """
        import pandas as pd

        rows = [
            {
                "column": name,
                "n_known": sum(sums.counts),
                "n_missing": sums.n_missing,
                "mean": getattr(sums, "mean", np.nan),
                "spread": getattr(sums, "spread", np.nan),
                "levels": ", ".join(getattr(sums, "levels", ())),
            }
            for name, sums in self.columns.items()
        ]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).set_index("column")

    def _title(self) -> str:
        return "asfusion reference"

    def _head(self) -> str:
        told = f"Reference of {self.n_rows} patients, {len(self.columns)} columns"
        o = self.outcome
        return told if o is None else f"{told}; prevalence {o.prevalence:.2f}, AUC {o.auc:.3f}"

    def _rows(self) -> list[list[str]]:
        return [
            [
                name,
                str(sum(sums.counts)),
                str(sums.n_missing),
                f"{sums.mean:.3g} ({sums.spread:.3g})"
                if isinstance(sums, NumberSums)
                else ", ".join(sums.levels),
            ]
            for name, sums in self.columns.items()
        ]

    def _text(self) -> str:
        return f"{self._head()}\n{page.text_table(_HEADER, self._rows())}\n\n{_REMARK}"

    def _body(self) -> list[str]:
        return [
            page.heading("Reference", 1),
            page.paragraph(f"{self._head()}."),
            page.table(_HEADER, self._rows()),
            page.paragraph(_REMARK, "note"),
            page.paragraph(page.RESEARCH_TOOL, "note"),
        ]


_COLUMNS = ("column", "n_known", "n_missing", "mean", "spread", "levels")
_HEADER = ["column", "known", "missing", "mean (SD), or levels"]
_REMARK = f"Every number is of at least {FEWEST} rows; no cell is kept."


@public
def make_reference(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    n_bootstrap: int = 500,
    random_state: RandomState = 0,
) -> Reference:
    """Sum up rows and how a model does on them, to compare other hospitals' rows with.

    Take rows that the model has not seen, of the hospitals that it is from: on its training rows
    it does better than anywhere, and every other hospital then looks like a loss. Out-of-fold
    predictions of the training rows serve as well.

    Parameters
    ----------
    model : fitted estimator or array of shape (n_rows,)
        The model, or its probabilities of the second class.
    X : DataFrame of n_rows rows
        The rows.
    y : array of shape (n_rows,), optional
        What is true, of two classes; without it the inputs alone are kept.
    groups : array of shape (n_rows,), optional
        Patient of each row: the first row of each counts among the inputs.
    n_bootstrap : int
        Replicates behind standard errors.
    random_state : int, RandomState, Generator or None
        Seeds them.

    Returns
    -------
    Reference
        No cell, and no number of fewer than five rows.

    Raises
    ------
    InputError
        If there are fewer than 20 patients, or fewer than 10 of a class.
    ConfigurationError
        If something other than two classes is predicted.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.sites import make_reference
    >>> X = pd.DataFrame({"crp": np.random.default_rng(0).gamma(2, 5, 100)})
    >>> make_reference(None, X).columns["crp"].n_missing
    0
    """
    check_integer(n_bootstrap, "n_bootstrap", minimum=50)
    frame, there = read_inputs(model, X, groups)
    columns = {}
    for name in columns_to_compare(model, frame):
        if (sums := sum_up(frame, name)) is not None:
            columns[name] = sums
    n = len(frame)
    presence = {name: n - hidden(n - hidden(int(rows.sum()))) for name, rows in there.items()}
    outcome = None
    if y is not None:
        outcome = measure(judged_rows(model, X, y, groups), n_bootstrap, draw_seed(random_state))
    return Reference(n, columns, presence, outcome)


def read_inputs(model: Any, X: Any, groups: Any) -> tuple[Frame, dict[str, NDArray[np.bool_]]]:
    """Return one row per patient, and which of them have each modality."""
    check_row_labels(X, groups=groups)
    frame = Frame.read(X)
    patients, _ = read_groups(groups, len(frame))
    first = np.sort(np.unique(patients, return_index=True)[1])
    if len(first) < _FEWEST_ROWS:
        msg = f"X: expected at least {_FEWEST_ROWS} patients, got {len(first)}."
        raise InputError(msg)
    there = {name: rows[first] for name, rows in read_presence(model, X).items()}
    return (frame if len(first) == len(frame) else frame.take(first)), there


def columns_to_compare(model: Any, frame: Frame) -> list[str]:
    """Return the columns that are read as features, or all where nothing is known of the model."""
    encoders = encoders_inside(model)
    if not encoders:
        return list(frame.columns)
    read = [name for e in encoders.values() if e.n_features for name in e.columns_]
    return [name for name in dict.fromkeys(read) if name in frame.columns]


def judged_rows(model: Any, X: Any, y: Any, groups: Any) -> Judged:
    """Return rows with the probability of the second of two classes."""
    is_model = hasattr(model, "predict")
    judged = judge(model, X if is_model else None, y, groups, None)
    check_two_classes(judged, scoring_of(judged))
    return judged


def _without_nan(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in state.items()}


def _read(state: Mapping[str, Any]) -> Reference:
    if state["format"] != _FORMAT:
        raise ValueError
    columns = {str(name): from_state(sums) for name, sums in state["columns"].items()}
    presence = {str(name): int(n) for name, n in state["presence"].items()}
    n_rows, outcome = int(state["n_rows"]), state["outcome"]
    too_many = [n for n in presence.values() if not 0 <= n <= n_rows]
    too_many += [s.n_missing for s in columns.values() if s.n_missing > n_rows]
    if n_rows < 1 or too_many:
        raise ValueError
    made = None if outcome is None else _outcome(outcome)
    return Reference(n_rows, columns, presence, made, str(state["version"]))


def _outcome(state: Mapping[str, Any]) -> Outcome:
    given = dict(state)
    classes = tuple(str(name) for name in given.pop("classes"))
    n_rows, n_positive = int(given.pop("n_rows")), int(given.pop("n_positive"))
    measures = {k: np.nan if v is None else float(v) for k, v in given.items()}
    made = Outcome(n_rows, n_positive, classes, **measures)
    if not 0 < made.n_positive < made.n_rows or len(classes) != 2:
        raise ValueError
    return made
