"""Ask whether notes give the answer away, by naming the outcome or by being written later."""

from __future__ import annotations

import datetime
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion._cells import is_missing
from asfusion._door import public
from asfusion._frames import Frame
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes._dates import find_dates
from asfusion.notes._lexicon import Lexicon, axspa_lexicon, build_lexicon
from asfusion.notes.cells import check_one_column, read_raw_notes
from asfusion.notes.concepts import mentions_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class NotesCheck:
    """What gives the answer away in notes: rows and counts, never words.

    Parameters
    ----------
    n_notes : int
        Rows with a note.
    outcome_rows : mapping of str to tuple of int
        For each concept or term of the outcome, the positions of rows whose note names it in
        whatever context: a denial gives the answer away as well.
    affirmed_rows : tuple of int
        Positions of rows that say the outcome of the patient, as present or in the past.
    late_rows : tuple of int
        Positions of notes dated after the index date.
    later_dates : tuple of int
        Positions of notes that name a whole day after the index date.
    undated_rows : tuple of int
        Positions of notes that could not be judged, for want of a date.

    Examples
    --------
    >>> from asfusion.notes import check_notes
    >>> check = check_notes(["Known axSpA.", "Back pain."], outcome="axspa")
    >>> check.ok, check.outcome_rows
    (False, {'axspa': (0,)})
    """

    n_notes: int
    outcome_rows: Mapping[str, tuple[int, ...]]
    affirmed_rows: tuple[int, ...]
    late_rows: tuple[int, ...]
    later_dates: tuple[int, ...]
    undated_rows: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Positions of all rows that give something away."""
        named = {row for rows in self.outcome_rows.values() for row in rows}
        return tuple(sorted(named.union(self.late_rows, self.later_dates)))

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.rows

    def to_frame(self) -> pd.DataFrame:
        """Return one row per finding.

        Returns
        -------
        DataFrame
            With the columns ``finding``, ``n_rows`` and ``share`` of the notes.
        """
        import pandas as pd

        rows = [(what, n, n / max(1, self.n_notes)) for what, n in self._findings()]
        return pd.DataFrame(rows, columns=["finding", "n_rows", "share"])

    def _findings(self) -> list[tuple[str, int]]:
        found = [(f"names {name}", len(rows)) for name, rows in self.outcome_rows.items()]
        return [
            *found,
            ("says the outcome of the patient", len(self.affirmed_rows)),
            ("is dated after the index date", len(self.late_rows)),
            ("names a day after the index date", len(self.later_dates)),
            ("has no date to judge by", len(self.undated_rows)),
        ]

    def __repr__(self) -> str:
        named = len({row for rows in self.outcome_rows.values() for row in rows})
        return (
            f"<NotesCheck: of {self.n_notes} notes {named} name the outcome, {len(self.late_rows)} "
            f"are dated after the index date, {len(self.later_dates)} name a later day>"
        )

    def _repr_html_(self) -> str:
        """Return the findings as a table."""
        body = "".join(
            f"<tr><td>{html.escape(what)}</td><td style='text-align:right'>{n}</td>"
            f"<td style='text-align:right'>{n / max(1, self.n_notes):.1%}</td></tr>"
            for what, n in self._findings()
        )
        head = "<tr><th>a note that</th><th>rows</th><th>of notes</th></tr>"
        return f"<table><caption>{html.escape(repr(self)[1:-1])}</caption>{head}{body}</table>"


@public
def check_notes(
    notes: Any,
    *,
    outcome: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    dates: Any = None,
    index_date: Any = None,
    day_first: bool = True,
) -> NotesCheck:
    """Find notes that name the outcome, or that were written after the index date.

    Parameters
    ----------
    notes : list or Series
        One cell per patient: a text, a list of texts, or missing.
    outcome : str, list of str or mapping of str to list of str, optional
        What is to be predicted: names of built-in concepts such as ``"axspa"``, or patterns of
        your own, as in `find_concepts`; a mapping names groups of patterns.
    dates : list or Series of dates, optional
        When each note was written.
    index_date : date, str, list or Series, optional
        The day that a prediction is made for, one for all or one per row; nothing later may
        be known. Text is read as YYYY-MM-DD.
    day_first : bool, default=True
        Whether 03/04/2021 in a note is the third of April.

    Returns
    -------
    NotesCheck
        Positions and counts.

    Raises
    ------
    InputError
        If `notes`, `dates` and `index_date` differ in length, or hold something else than
        texts and dates.
    ConfigurationError
        If there is nothing to check, or `dates` comes without `index_date`.

    Notes
    -----
    A note in which nothing was found may still give the outcome away: by a treatment, a code,
    a word that is not in the patterns.

    Examples
    --------
    >>> from asfusion.notes import check_notes
    >>> notes = ["Sacroiliitis on MRI, seen 2021-05-01.", "Back pain.", None]
    >>> check = check_notes(notes, outcome=["sacroiliitis", "biologic"], index_date="2021-03-01")
    >>> check.rows, check.later_dates
    ((0,), (0,))
    """
    if outcome is None and index_date is None:
        msg = "check_notes: expected outcome= or index_date= to check against, got neither."
        raise ConfigurationError(msg)
    if dates is not None and index_date is None:
        msg = "check_notes: expected index_date= to compare dates= with, got none."
        raise ConfigurationError(msg)
    check_one_column(notes, "check_notes", "notes")
    check_one_column(dates, "check_notes", "dates")
    rows = read_raw_notes(_as_frame(notes, "notes"), ["notes"], "check_notes")
    there = [row for row, texts in enumerate(rows) if texts]
    outcome_rows, affirmed = _named(rows, _outcome_lexicon(outcome))
    late: list[int] = []
    later: list[int] = []
    undated: list[int] = []
    if index_date is not None:
        index = _days(index_date, "index_date", len(rows))
        written = None if dates is None else _days(dates, "dates", len(rows))
        for row in there:
            own = np.nan if written is None else written[row]
            if np.isnan(index[row]) or (written is not None and np.isnan(own)):
                undated.append(row)
            if own > index[row]:
                late.append(row)
            if any(day > index[row] for day in _days_in(rows[row], day_first=day_first)):
                later.append(row)
    return NotesCheck(
        n_notes=len(there),
        outcome_rows=outcome_rows,
        affirmed_rows=affirmed,
        late_rows=tuple(late),
        later_dates=tuple(later),
        undated_rows=tuple(undated),
    )


def _named(
    rows: Sequence[Sequence[str]], lexicon: Lexicon
) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    named: dict[str, list[int]] = {name: [] for name in lexicon}
    affirmed: list[int] = []
    for row, texts in enumerate(rows):
        said = [mention for text in texts for mention in mentions_of(text, lexicon)]
        for name in {mention.concept for mention in said}:
            named[name].append(row)
        if any(mention.context in ("present", "historical") for mention in said):
            affirmed.append(row)
    return {name: tuple(found) for name, found in named.items()}, tuple(affirmed)


def _outcome_lexicon(outcome: Any) -> Lexicon:
    if outcome is None:
        return {}
    if isinstance(outcome, Mapping):
        return build_lexicon(outcome, builtin=False)
    words = [outcome] if isinstance(outcome, str) else outcome
    if not isinstance(words, list | tuple) or not words:
        msg = "outcome: expected names of concepts or patterns, got something else."
        raise ConfigurationError(msg)
    known = axspa_lexicon()
    own = {word: [word] for word in words if word not in known}
    lexicon: Lexicon = {word: known[word] for word in words if word in known}
    return lexicon | (build_lexicon(own, builtin=False) if own else {})


def _as_frame(cells: Any, name: str) -> Frame:
    if isinstance(cells, str) or not hasattr(cells, "__len__"):
        msg = f"check_notes: expected {name} as a list or a column, got {type(cells).__name__}."
        raise InputError(msg)
    import pandas as pd

    column = pd.Series(list(cells), dtype=object, name=name)
    return Frame.read(column.to_frame())


def _days(value: Any, name: str, n_rows: int) -> Any:
    """Return days since 1970 per row, NaN where there is none."""
    one = isinstance(value, str | datetime.date | np.datetime64)
    cells = [value] * n_rows if one else list(value) if hasattr(value, "__len__") else None
    if cells is None or len(cells) != n_rows:
        got = type(value).__name__ if cells is None else len(cells)
        msg = f"check_notes: expected {name} as a date or {n_rows} of them, got {got}."
        raise InputError(msg)
    known = [None if is_missing(cell) else cell for cell in cells]
    return _as_frame(known, name).days(name)


def _days_in(texts: Sequence[str], *, day_first: bool) -> list[float]:
    """Return the whole days that notes name, as days since 1970."""
    found = (date for text in texts for date in find_dates(text, day_first=day_first))
    epoch = datetime.date(1970, 1, 1)
    return [
        float((date.earliest - epoch).days)
        for date in found
        if date.earliest is not None and date.match.groupdict().get("d")
    ]
