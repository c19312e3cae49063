"""What `explain` returns: one result over modalities, columns, words and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, quoted
from asfusion.exceptions import ConfigurationError
from asfusion.explanation import _curves, _trust
from asfusion.explanation._attribution import PRESENCE, Floats
from asfusion.explanation.views.bars import Pairs
from asfusion.explanation.views.whole import ExplanationView
from asfusion.show.figures import check_axes, new_figure

if TYPE_CHECKING:
    import pandas as pd

_ABSENT = {
    "missing": "left out as missing",
    "background": "left out by putting background rows in its place",
}


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(ExplanationView):
    """What a model's predictions rest on, for each explained row.

    ``explanation["labs"]`` is the attribution within a modality, computed when first asked
    for: a `TableAttribution` for columns, a `VisitAttribution` for visits, a list with a
    `TextAttribution` per row for notes, one with an `ImageAttribution` per row for images, a
    `RegionAttribution` for regions and a `VolumeAttribution` for series (None where the row has
    none).

    Parameters
    ----------
    names : tuple of str
        The modalities.
    values : ndarray of shape (N, M)
        Shapley value of each modality, in units of the explained output.
    errors : ndarray of shape (N, M) or None
        Standard errors where values were sampled; None where they are exact.
    interactions : ndarray of shape (N, M, M) or None
        Shapley interaction values; each row of a matrix sums to a modality's value.
    base_values : ndarray of shape (N,)
        Output with every modality left out.
    predictions : ndarray of shape (N,)
        The explained output: base value and values add up to it.
    present : ndarray of shape (N, M), bool
        Which modalities each row has.
    output_names : tuple of str
        Name of the explained output of each row.
    absence : {"missing", "background", "trees", "average", "none"}
        What it means for a modality to be left out; in a clinical index, for a column.
    details : Details or None
        What computes attributions within modalities, where they are not known already.
    """

    names: tuple[str, ...]
    values: Floats
    errors: Floats | None
    interactions: Floats | None
    base_values: Floats
    predictions: Floats
    present: NDArray[np.bool_]
    output_names: tuple[str, ...]
    absence: str
    details: Any = field(repr=False)
    _known: dict[str, Any] = field(default_factory=dict, repr=False)
    _checks: list[_trust.Check] = field(default_factory=list, repr=False)
    _rows: dict[int, Explanation] = field(default_factory=dict, repr=False)

    @property
    def modalities(self) -> pd.DataFrame:
        """Shapley values, a row per explained row and a column per modality."""
        import pandas as pd

        return pd.DataFrame(self.values, columns=list(self.names))

    def __iter__(self) -> Iterator[str]:
        """Return the names of the modalities, in order."""
        return iter(self.names)

    def __getitem__(self, name: str) -> Any:
        """Return the attribution within a modality."""
        if name not in self.names:
            msg = f"Explanation: expected one of {quoted(self.names)}, got {name!r}."
            raise ConfigurationError(msg)
        if name not in self._known:
            self._known[name] = self.details.of(name)
        return self._known[name]

    def to_frame(self) -> pd.DataFrame:
        """Return everything as one long table.

        Returns
        -------
        DataFrame
            Columns ``row``, ``modality``, ``part`` (column, word; empty for the modality as
            a whole) and ``value``, in units of the output. The pixels of an image are one
            part, ``(pixels)``. Parts of a modality add up to its value.
        """
        import pandas as pd

        records: list[tuple[int, str, str, float]] = []
        for m, name in enumerate(self.names):
            for row in range(len(self)):
                records.append((row, name, "", float(self.values[row, m])))
                records += [(row, name, *part) for part in self._parts(m, row)]
        return pd.DataFrame(records, columns=["row", "modality", "part", "value"])

    def _parts(self, m: int, row: int) -> list[tuple[str, float]]:
        """Return what lies within a modality of a row, so that it adds up to its value."""
        found: Pairs = self[self.names[m]]._parts(row)
        value = float(self.values[row, m])
        if found or self.present[row, m] or not value:
            return found
        return [(PRESENCE, value)]  # no note, say, where others have one in its place

    def check(self) -> pd.DataFrame:
        """Ask how far the attributions can be trusted.

        Completeness: do values add up? Deletion and insertion, of modalities and of the
        parts within each: does taking away, or putting in, what is said to matter most move
        the prediction sooner than in random order? Agreement: do other seeds say the same?
        Randomisation: does the explanation change when the model has learned nothing?

        Returns
        -------
        DataFrame
            ``value``, ``limit`` and ``passed`` of each check. What fails is also said on
            the explanation itself.
        """
        import pandas as pd

        self._checks[:] = [_trust.check_sums(self), *self._ask_again()]
        return pd.DataFrame(
            [(c.value, c.limit, c.passed, c.meaning) for c in self._checks],
            columns=["value", "limit", "passed", "meaning"],
            index=pd.Index([c.name for c in self._checks], name="check"),
        )

    def plot_curves(self, name: str | None = None, axes: Any = None) -> NDArray[np.object_]:
        """Draw how the output moves while parts are taken away or put in, largest first.

        Parameters
        ----------
        name : str, optional
            A modality, whose columns, words or blocks of pixels or voxels are the parts. By default
            the modalities themselves.
        axes : array of two matplotlib Axes, optional
            Where to draw deletion and insertion; a new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into. A curve above that of random orders belongs to an
            explanation that is faithful to the model.

        Raises
        ------
        ConfigurationError
            If there is no such modality, fewer than two parts, or no model to ask.
        """
        if name is not None:
            self[name]
        curves = self._traced(name)
        if curves is None:
            msg = (
                "plot_curves: expected the explanation of a fusion estimator with at least two "
                "parts in a row, got fewer, or a single table. There is no order to draw."
            )
            raise ConfigurationError(msg)
        if axes is None:
            axes = new_figure((9.0, 3.6), shown=True).subplots(1, 2)
        given = check_axes(axes, 2)
        _curves.draw(curves, (given[0], given[1]), name or "modalities", self._output)
        return np.asarray(given, dtype=object)

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """What failed when `check` was last called; empty before."""
        return tuple(check.name for check in self._checks if not check.passed)

    def about(self) -> list[str]:
        """Return what the numbers mean, and which checks failed, in sentences."""
        return self._meaning() + self._failed()

    def _meaning(self) -> list[str]:
        how = "exact" if self.errors is None else "sampled, with standard errors"
        meaning = (
            f"Shapley values of modalities ({how}) in units of the output; a modality is "
            f"{_ABSENT[self.absence]}. Base value and values add up to the prediction."
        )
        said = [meaning]
        if not self.details.has_background:
            said.append(
                f"Columns are replaced from the {len(self)} explained rows themselves: pass "
                "background= with the training rows for a steadier reference."
            )
        return said

    def _failures(self) -> list[tuple[str, str, str]]:
        return [check.in_words() for check in self._checks if not check.passed]

    @property
    def _attributed(self) -> Iterable[str]:
        return tuple(self._known)

    def _ask_again(self) -> list[_trust.Check]:
        """Return the checks that the model is asked for."""
        return _trust.check_model(self)

    def _traced(self, name: str | None) -> _curves.Curves | None:
        """Return curves over modalities, or within one; None where there is no order."""
        return _trust.curves_of(self, name)

    @property
    def _is_loud(self) -> bool:
        return bool(self.details.verbose)

    def _failed(self) -> list[str]:
        if not self.failed_checks:
            return []
        return [f"Not to be trusted: {', '.join(self.failed_checks)} failed."]

    def _alone(self, row: int) -> tuple[Explanation, int]:
        """Return an explanation that holds a row, and its place there, at the least cost.

        What was not yet attributed within modalities will be for this row alone.
        """
        if len(self._known) == len(self.names) or len(self) == 1:
            return self, row
        if row not in self._rows:
            own = slice(row, row + 1)
            self._rows[row] = replace(
                self,
                values=self.values[own],
                errors=None if self.errors is None else self.errors[own],
                interactions=None if self.interactions is None else self.interactions[own],
                base_values=self.base_values[own],
                predictions=self.predictions[own],
                present=self.present[own],
                output_names=self.output_names[own],
                details=self.details.alone(row),
                _known={},
                _checks=[],
                _rows={},
            )
        return self._rows[row], 0

    def _check_row(self, row: int) -> None:
        check_integer(row, "row", minimum=0)
        if row >= len(self):
            msg = f"row: expected a position from 0 to {len(self) - 1}, got {row}."
            raise ConfigurationError(msg)
