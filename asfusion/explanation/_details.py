"""What within a modality mattered: columns, words, pixels, each in the units of the output."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from asfusion._progress import progress_shown
from asfusion._warn import warn_user
from asfusion.exceptions import AsfusionWarning
from asfusion.explanation._asking import Asking, Attributor
from asfusion.explanation._attribution import Attribution
from asfusion.explanation._curves import Claim
from asfusion.explanation._kinds import attributor_of
from asfusion.explanation.tables import check_unit_names


class Details(Asking):
    """Attributes the value of each modality to what stands in it, when it is asked for."""

    def of(self, name: str) -> Attribution:
        """Return the attribution within a modality."""
        with progress_shown(self.verbose), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = attributor_of(self, name).attribute()
        _say_once(caught)
        return found

    def again(self) -> Details:
        """Return what attributes the same from other draws."""
        return replace(self, seed=self.seed + 1)

    def alone(self, row: int) -> Details:
        """Return what attributes one row, without the time that the others take."""
        rows = np.concatenate([[row], np.arange(self.game.n_rows, len(self.frame))])
        return replace(
            self,
            game=self.game.alone(row),
            frame=self.frame.take(rows),
            output_names=(self.output_names[row],),
            first=self.first + row,
            _known_references={},
        )

    def parts(self, name: str, found: Attribution) -> Iterator[Claim]:
        """Yield the parts of each row that has the modality, to be taken away or put in."""
        attributor = attributor_of(self, name)
        for row in attributor.rows("Checking"):
            claim = attributor.claim(row, found) if attributor.has(row) else None
            if claim is not None:
                yield claim

    def check(self, X: Any) -> None:
        """Raise if something cannot be attributed as asked, before anything is computed.

        A unit is for a column, concept, locus or value of a visit.
        """
        attributors = self._attributors()
        for attributor in attributors:
            attributor.check()
        known = {str(name) for name in getattr(X, "columns", ())} | set(self.frame.columns)
        check_unit_names(self.units, known.union(*(a.names_with_units() for a in attributors)))

    def _attributors(self) -> list[Attributor]:
        return [attributor_of(self, name) for name in self.game.model._modality_encoders()]


def _say_once(caught: Sequence[warnings.WarningMessage]) -> None:
    """Pass on what was said of several rows once, on the line of whoever asked."""
    said = set()
    for warning in caught:
        key = (warning.category, str(warning.message))
        if key in said:
            continue
        said.add(key)
        if issubclass(warning.category, AsfusionWarning):
            warn_user(str(warning.message), warning.category)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
