"""What `explain` returns: one result over modalities, columns, words and pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, quoted
from asfusion._files import write_file
from asfusion.exceptions import ConfigurationError
from asfusion.explanation import _curves, _draw, _trust
from asfusion.explanation._parts import PRESENCE, parts_of
from asfusion.show import page as _html
from asfusion.show.figures import check_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_ABSENT = {
    "missing": "left out as missing",
    "background": "left out by putting background rows in its place",
}


_UNKNOWN = {
    "trees": (
        "a column that is not known is averaged along the trees' own branches, by the training "
        "rows in each"
    ),
    "average": "a column that is not known is replaced by the average training row's",
    "background": "a column that is not known is replaced by that of background rows",
    "none": "the model says the same of every row",
}


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What a model's predictions rest on, for each explained row.

    ``explanation["labs"]`` is the attribution within a modality, computed when first asked
    for: a `TableAttribution` for columns, a `VisitAttribution` for visits, a list with a
    `TextAttribution` per row for notes, one with an `ImageAttribution` per row for images and a
    `VolumeAttribution` for series (None where the row has none).

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
    details : Details or dict
        Attributions within modalities, or what computes them.
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

    def __len__(self) -> int:
        """Return the number of explained rows."""
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        """Return the names of the modalities, in order."""
        return iter(self.names)

    def __getitem__(self, name: str) -> Any:
        """Return the attribution within a modality."""
        if name not in self.names:
            msg = f"Explanation: expected one of {quoted(self.names)}, got {name!r}."
            raise ConfigurationError(msg)
        if isinstance(self.details, Mapping):
            return self.details[name]
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
        found = parts_of(self[self.names[m]], row)
        value = float(self.values[row, m])
        if found or self.present[row, m] or not value:
            return found
        return [(PRESENCE, value)]  # no note, say, where others have one in its place

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each modality in each row, and its mean size.

        Of a clinical index, whose one modality is a table, draw the columns.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `ax` is no Axes.
        """
        return _draw.all_rows(self, None if ax is None else check_axes(ax, 1)[0])

    def plot_patient(self, row: int = 0) -> Figure:
        """Draw one row: modalities from base value to prediction, and what lies within each.

        Only this row is attributed, where attributions were not asked for before.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        matplotlib Figure
            A panel for modalities and one for each that the row has; one scale for all.

        Raises
        ------
        ConfigurationError
            If there is no such row.
        """
        self._check_row(row)
        return _draw.one_row(self, row, managed=True)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write every row as one page that needs no other file and no network.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced. It holds the notes of the explained rows.

        Returns
        -------
        Path
            The file.
        """
        for name in self.names:
            self[name]  # all rows at once, with one progress bar for each
        text = _html.page("asfusion explanation", _draw.as_html(self, range(len(self))))
        write_file(Path(path), text.encode("utf-8"))
        return Path(path)

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

        self._checks[:] = _trust.run(self)
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
        curves = None if isinstance(self.details, Mapping) else _trust.curves_of(self, name)
        if curves is None:
            msg = (
                "plot_curves: expected the explanation of a fusion estimator with at least two "
                "parts in a row, got fewer, or a single table. There is no order to draw."
            )
            raise ConfigurationError(msg)
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.figure(figsize=(9.0, 3.6), layout="constrained").subplots(1, 2)
        given = check_axes(axes, 2)
        _curves.draw(curves, (given[0], given[1]), name or "modalities", _draw.output_of(self))
        return np.asarray(given, dtype=object)

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """What failed when `check` was last called; empty before."""
        return tuple(check.name for check in self._checks if not check.passed)

    def about(self) -> list[str]:
        """Return what the numbers mean, in sentences."""
        if isinstance(self.details, Mapping):
            return self._about_columns()
        how = "exact" if self.errors is None else "sampled, with standard errors"
        meaning = (
            f"Shapley values of modalities ({how}) in units of the output; a modality is "
            f"{_ABSENT[self.absence]}. Base value and values add up to the prediction."
        )
        said = [meaning]
        if not getattr(self.details, "has_background", True):
            said.append(
                f"Columns are replaced from the {len(self)} explained rows themselves: pass "
                "background= with the training rows for a steadier reference."
            )
        return said + self._failed()

    def _about_columns(self) -> list[str]:
        meaning = (
            f"SHAP values of columns in units of the output; {_UNKNOWN[self.absence]}. Base "
            "value and values add up to the prediction."
        )
        return [meaning, *self._failed()]

    def _failed(self) -> list[str]:
        if not self.failed_checks:
            return []
        return [f"Not to be trusted: {', '.join(self.failed_checks)} failed."]

    def _alone(self, row: int) -> tuple[Explanation, int]:
        """Return an explanation that holds a row, and its place there, at the least cost.

        What was not yet attributed within modalities will be for this row alone.
        """
        known = isinstance(self.details, Mapping) or len(self._known) == len(self.names)
        if known or len(self) == 1:
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

    def __repr__(self) -> str:
        """Return the values as text."""
        names = ", ".join(dict.fromkeys(self.output_names))
        table = _html.text_table(*_draw.summary(self))
        lines = [f"Explanation of {len(self)} rows ({names})", table]
        return "\n".join([*lines, *self.about()])

    def _repr_html_(self) -> str:
        """Return the table, the picture over all rows and the first row in detail."""
        return _draw.as_html(self, range(min(1, len(self))))
