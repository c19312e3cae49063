"""Columns that are labels themselves, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asfusion.suspects.names import names_label
from asfusion.suspects.outcome import Outcome
from asfusion.suspects.suspect import Suspect

_ROLES = frozenset({"table", "gene", "number_text", "note"})


def find_siblings(roles: Mapping[str, str], outcomes: Sequence[Outcome]) -> list[Suspect]:
    """Return columns that are named like labels, or after the target.

    Parameters
    ----------
    roles : mapping of str to str
        What each column is taken for.
    outcomes : sequence of Outcome
        What is predicted.
    """
    targets = [outcome.name for outcome in outcomes]
    found = []
    for name, role in roles.items():
        if role not in _ROLES:
            continue
        told = [names_label(name, target) for target in targets]
        evidence = next((text for text in told if text), "")
        if evidence:
            found.append(Suspect(name, "sibling", f"it is {evidence}"))
    return found
