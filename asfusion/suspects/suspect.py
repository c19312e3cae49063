"""One column that a model should not learn from, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "determines",
    "sibling",
    "identifier",
    "provenance",
    "after_index",
    "note_tells",
    "missingness",
    "duplicates",
]

NOUNS: dict[Kind, str] = {
    "determines": "columns that determine the target",
    "sibling": "other labels",
    "identifier": "identifiers",
    "provenance": "sources of the rows",
    "after_index": "what is later than the index date",
    "note_tells": "notes that name the target",
    "missingness": "what is missing",
    "duplicates": "contents that several patients share",
}


@dataclass(frozen=True)
class Suspect:
    """A column that may give the target away.

    Parameters
    ----------
    column : str
        Its name; of several columns together, what they are called.
    kind : {"determines", "sibling", "identifier", "provenance", "after_index", "note_tells", \
"missingness", "duplicates"}
        What it does: determine the target, be a label or a relative of one by its name, tell
        patients apart, say where the row is from, be later than the day of the prediction, or name
        the target in words; of all columns, tell the target by what is missing; or hold what
        different patients share.
    evidence : str
        What was found, in words and without any cell.

    Examples
    --------
    >>> from asfusion.suspects.suspect import Suspect
    >>> Suspect("patient_id", "identifier", "named like an identifier").kind
    'identifier'
    """

    column: str
    kind: Kind
    evidence: str


def by_column(suspects: list[Suspect]) -> dict[str, list[Suspect]]:
    """Return the suspects of each column, in the order in which they were found."""
    found: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        found.setdefault(suspect.column, []).append(suspect)
    return found
