"""What was read, as it is seen: counts, codes and units, never a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from asfusion.show import page

_TABLES = ("persons", "events", "notes", "visits", "conditions", "drugs", "studies")
_SHOWN = 40


@dataclass(frozen=True)
class Tally:
    """How many rows of one source were read, and what became of them.

    Parameters
    ----------
    what : str
        The source, such as ``"measurement"`` or ``"Observation"``.
    n_read : int
        Rows that were read.
    n_kept : int
        Rows that stand in a table.
    left_out : mapping of str to int
        Rows by the reason why they do not; a reason never quotes a cell.
    """

    what: str
    n_read: int
    n_kept: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Met:
    """A code that was met in a unit, and how often.

    Parameters
    ----------
    what : str
        What it is of, such as the name of a lab.
    code : str
        The code, from a vocabulary or as it was asked for.
    unit : str
        The unit, from a vocabulary; others are ``"as written"``, since a cell may hold anything.
    n : int
        Rows that were kept.
    """

    what: str
    code: str
    unit: str
    n: int


class RecordsPage(page.Page):
    """Shows `Records`."""

    index: Any
    persons: pl.DataFrame
    events: pl.DataFrame | Path | None
    report: tuple[Tally, ...]
    met: tuple[Met, ...]
    source: str
    version: str

    def _title(self) -> str:
        return f"Records{f' from {self.source}' if self.source else ''}"

    def _summary(self) -> str:
        n_patients = self.persons["patient"].n_unique()
        tables = [
            name for name in _TABLES[1:] if getattr(self, name) is not None
        ]  # persons are counted
        also = f"; {', '.join(tables)}" if tables else ""
        return f"{len(self.index)} index dates, {n_patients} persons found{also}"

    def _text(self) -> str:
        lines = [f"{self._title()}: {self._summary()}"]
        lines += [page.text_table(_HEAD, rows) for rows in [_lines(self.report)] if rows]
        return "\n".join(lines)

    def _body(self) -> list[str]:
        parts = [page.heading(self._title(), 1), page.paragraph(self._summary())]
        if self.report:
            parts += [
                '<div class="prose">',
                page.table(_HEAD, _lines(self.report)),
                "</div>",
            ]
        if self.met:
            rows = [[one.what, one.code, one.unit, str(one.n)] for one in self.met[:_SHOWN]]
            more = len(self.met) - _SHOWN
            parts += [page.heading("Codes and units"), page.table(_CODES, rows)]
            parts += [page.paragraph(f"and {more} more")] if more > 0 else []
        return [*parts, page.paragraph(f"asfusion {self.version}. {page.RESEARCH_TOOL}", "note")]


_HEAD = ("table", "read", "kept", "left out")
_CODES = ("of", "code", "unit", "rows kept")


def _lines(report: tuple[Tally, ...]) -> list[list[str]]:
    return [
        [
            tally.what,
            str(tally.n_read),
            str(tally.n_kept),
            ", ".join(f"{n} {reason}" for reason, n in tally.left_out.items()) or "none",
        ]
        for tally in report
    ]
