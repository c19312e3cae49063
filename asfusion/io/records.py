"""`Records`: what was known of patients before their index dates, wherever it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from asfusion._checks import check_integer, in_words
from asfusion._door import public
from asfusion._version import __version__
from asfusion.events.lab_events import LabEvents
from asfusion.exceptions import ConfigurationError
from asfusion.io import _columns
from asfusion.io._records_page import Met, RecordsPage, Tally


@dataclass(frozen=True, eq=False, repr=False)
class Records(RecordsPage):
    """Patients with their labs, notes, visits, conditions and drugs up to their index dates.

    Readers such as `asfusion.io.read_omop` return it. Nothing after a patient's index date is
    in any table, and what was left out is counted by reason. Patients stand in the tables alone:
    what is printed shows counts.

    Parameters
    ----------
    index : pandas or polars DataFrame
        Whose records were asked for: ``patient`` and ``index_date``, a row each.
    persons : polars.DataFrame
        A row per patient who was found: ``patient``, ``sex`` ("female", "male" or missing) and
        ``birth`` (a date; where the year alone is known, the middle of it).
    events : polars.DataFrame or Path, optional
        Laboratory events, as `asfusion.LabEvents` reads them: ``patient``, ``time``, ``code``,
        ``value`` (text such as ``5.2`` or ``<5``) and ``unit``; or the folder of Parquet files
        that they were written to. None if they were not asked for, as for the others.
    notes : polars.DataFrame, optional
        ``patient``, ``time``, ``kind`` and ``text``.
    visits : polars.DataFrame, optional
        ``patient``, ``time`` (of the beginning) and ``kind``.
    conditions, drugs : polars.DataFrame, optional
        ``patient``, ``time`` (of the beginning), ``code`` and ``name``, under which it was asked
        for.
    studies : polars.DataFrame, optional
        ``patient``, ``time``, ``study`` (its UID), ``modality`` and ``description`` of imaging.
    labs : LabEvents, optional
        What `to_frame` makes of the events unless it is told otherwise.
    named : mapping of str to tuple of str
        Names of the columns that `to_frame` makes of ``conditions`` and of ``drugs``.
    report : tuple of Tally
        How many rows of each source were read and kept, and why others were left out.
    met : tuple of Met
        Which codes and units were met.
    source : str
        Where it was read from, in a word.
    version : str
        Version of asfusion that read it.

    Notes
    -----
    *Hours unknown.* Of some events the day alone is known. They count from the first moment of
    their day; on the day of an index date of their patient from the last, since whether they were
    before nobody knows.

    Examples
    --------
    >>> import pandas as pd, polars as pl, asfusion as af
    >>> day = pd.to_datetime(["2024-04-01", "2024-04-01"])
    >>> records = af.io.Records(
    ...     index=pd.DataFrame({"patient": [7, 8], "index_date": day}),
    ...     persons=pl.DataFrame({
    ...         "patient": [7], "sex": ["female"], "birth": [pd.Timestamp("1984-04-01").date()],
    ...     }),
    ...     events=pl.DataFrame({
    ...         "patient": [7], "time": [pd.Timestamp("2024-03-01 08:00").to_pydatetime()],
    ...         "code": ["1988-5"], "value": ["12"], "unit": ["mg/L"],
    ...     }),
    ...     labs=af.LabEvents(["crp"], statistics=["last"]),
    ... )
    >>> records.to_frame()
        age     sex  crp_last
    0  40.0  female      12.0
    1   NaN    None       NaN
    """

    index: Any
    persons: pl.DataFrame
    events: pl.DataFrame | Path | None = None
    notes: pl.DataFrame | None = None
    visits: pl.DataFrame | None = None
    conditions: pl.DataFrame | None = None
    drugs: pl.DataFrame | None = None
    studies: pl.DataFrame | None = None
    labs: LabEvents | None = None
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    report: tuple[Tally, ...] = ()
    met: tuple[Met, ...] = ()
    source: str = ""
    version: str = __version__

    @public
    def to_frame(self, labs: LabEvents | None = None, *, notes: int = 1) -> Any:
        """Return one row of features for each row of `index`, in its order.

        Parameters
        ----------
        labs : LabEvents, optional
            How events become features; by default as they were asked for.
        notes : int
            How many of the latest notes stand in ``note``, the latest last, at least 1.

        Returns
        -------
        DataFrame
            In the library, and with the index, of `index`: ``age`` (completed years) and
            ``sex``; the features of the labs; ``note``; ``n_visits`` and
            ``days_since_visit``; and for each name of conditions and drugs whether any was
            recorded. Patients of whom nothing is known keep their row. Who a row is of stands
            in `index`: ``index["patient"]`` are the groups of a split.

        Raises
        ------
        ConfigurationError
            If `labs` are asked for and no events were read, or two columns would have one name.
        """
        check_integer(notes, "notes", minimum=1)
        rows = _columns.numbered(self.index)
        parts: dict[str, Any] = dict(_columns.demographics(rows, self.persons))
        parts |= self._features(labs)
        if self.notes is not None:
            parts["note"] = _columns.latest_notes(rows, self.notes, notes)
        if self.visits is not None:
            parts |= _columns.visits(rows, self.visits)
        for what in ("conditions", "drugs"):
            table = getattr(self, what)
            for name in self.named.get(what, ()) if table is not None else ():
                _check_free(name, parts, what)
                parts[name] = _columns.was_recorded(rows, table.filter(pl.col("name") == name))
        return _columns.in_library_of(self.index, parts)

    def _features(self, labs: LabEvents | None) -> dict[str, Any]:
        """Return the features of the labs, all missing where there is no event at all."""
        chosen = self.labs if labs is None else labs
        if chosen is None:
            return {}
        if not hasattr(chosen, "get_feature_names_out") or not hasattr(chosen, "transform"):
            msg = f"labs: expected an asfusion.LabEvents, got {in_words(labs)}."
            raise ConfigurationError(msg)
        if self.events is None:
            msg = "labs: expected events that were read, got none. Read them with labs=."
            raise ConfigurationError(msg)
        names = [str(name) for name in chosen.get_feature_names_out()]
        if _columns.is_empty(self.events):
            return {name: np.full(len(self.index), np.nan) for name in names}
        wide = chosen.transform(self.events, self.index)
        return {name: wide[name].to_numpy() for name in names}


def _check_free(name: str, parts: Mapping[str, Any], what: str) -> None:
    if name in parts:
        msg = (
            f"{what}: expected names of columns that nothing else has, got {in_words(name)}. Ask "
            "for it under another name."
        )
        raise ConfigurationError(msg)
