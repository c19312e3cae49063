"""Where things are on films, as a result that speaks for itself.

Dimensions: N films, R regions or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, ImageReadError
from asfusion.imaging._films import Film
from asfusion.imaging.original import read_original
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

STATUSES = ("found", "unsure", "lost", "absent")
_DRAWN, _COLUMNS = 8, 4
_LINES = {"found": "-", "unsure": ":"}


@dataclass(frozen=True, eq=False, repr=False)
class Found(page.Page):
    """What a finder found, a row per film, in pixels of the films as they are stored.

    Parameters
    ----------
    names : tuple of str
        Regions or points, R of them.
    boxes : ndarray of shape (N, R, 4) or None
        Left, upper, right and lower edge of regions (pixels, the first one from 0 to 1); NaN where
        lost or absent. None for points.
    points : ndarray of shape (N, R, 2) or None
        Column and row of points (pixels); None for regions.
    centres : ndarray of shape (N, R, 2)
        Column and row of the middle of boxes, or the points (pixels).
    confidence : ndarray of shape (N, R)
        Probability, 0 to 1, that it is right, as held-out films say; NaN where absent.
    status : ndarray of shape (N, R), str
        "found" (confidence of at least 0.5), "unsure", "lost" (below 0.1), or "absent" where there
        is no film or none that can be read.
    spacing_mm : ndarray of shape (N, 2)
        Height and width of a pixel (mm); NaN where the film does not say.
    films : tuple
        The films, for `plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.anatomy import Found
    >>> found = Found.empty(("right_sij", "left_sij"), (None,), boxes=True)
    >>> found.status[0].tolist()
    ['absent', 'absent']
    """

    names: tuple[str, ...]
    boxes: Floats | None
    points: Floats | None
    centres: Floats
    confidence: Floats
    status: NDArray[np.object_]
    spacing_mm: Floats
    films: tuple[Film | None, ...] = ()

    @classmethod
    def empty(cls, names: Sequence[str], films: Sequence[Film | None], *, boxes: bool) -> Self:
        """Return a result in which everything is absent.

        Parameters
        ----------
        names : sequence of str
            Regions or points.
        films : sequence
            The films.
        boxes : bool
            Whether these are regions.

        Returns
        -------
        Found
            NaN everywhere.
        """
        n, r = len(films), len(names)
        return cls(
            names=tuple(names),
            boxes=np.full((n, r, 4), np.nan) if boxes else None,
            points=None if boxes else np.full((n, r, 2), np.nan),
            centres=np.full((n, r, 2), np.nan),
            confidence=np.full((n, r), np.nan),
            status=np.full((n, r), "absent", dtype=object),
            spacing_mm=np.full((n, 2), np.nan),
            films=tuple(films),
        )

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.status)

    def to_frame(self) -> pd.DataFrame:
        """Return a long table.

        Returns
        -------
        DataFrame
            A row per film and region (or point): ``row``, ``region`` (or ``point``), ``x`` and
            ``y`` of the centre, for regions ``x0``, ``y0``, ``x1`` and ``y1`` (all in pixels), the
            same with ``_mm`` (mm from the upper left corner, NaN where the spacing is unknown),
            ``confidence`` (0 to 1) and ``status``.
        """
        import pandas as pd

        n, r = self.status.shape
        what = "point" if self.boxes is None else "region"
        columns: dict[str, Any] = {"row": np.repeat(np.arange(n), r), what: list(self.names) * n}
        numbers = {"x": self.centres[..., 0], "y": self.centres[..., 1]}
        if self.boxes is not None:
            numbers |= {edge: self.boxes[..., i] for i, edge in enumerate(("x0", "y0", "x1", "y1"))}
        tall, wide = self.spacing_mm.T[:, :, None]
        columns |= {name: values.ravel() for name, values in numbers.items()}
        for name, values in numbers.items():
            columns[f"{name}_mm"] = (values * (wide if name[0] == "x" else tall)).ravel()
        columns |= {"confidence": self.confidence.ravel(), "status": self.status.ravel()}
        return pd.DataFrame(columns)

    def plot(self, rows: Sequence[int] | None = None) -> Figure:
        """Draw films with what was found: whole lines where found, dotted ones where unsure.

        Parameters
        ----------
        rows : sequence of int, optional
            Positions of films; by default the first eight that are there.

        Returns
        -------
        matplotlib Figure
            A film per position; its title says the lowest confidence on it.

        Raises
        ------
        ConfigurationError
            If a position is out of range, or no film is there.
        """
        chosen = self._chosen(rows)
        n_columns = min(_COLUMNS, len(chosen))
        n_lines = -(-len(chosen) // n_columns)
        size = (2.6 * n_columns, 2.8 * n_lines)
        figure, axes = figures.new_axes(size, n_lines, n_columns, shown=True)
        for axis in axes:
            axis.set_axis_off()
        for axis, row in zip(axes, chosen, strict=False):
            self._draw(axis, row)
        handles, labels = axes[0].get_legend_handles_labels()
        if 0 < len(labels) <= len(colours.COLOURS):
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return figures.shown_once(figure)

    def _chosen(self, rows: Sequence[int] | None) -> list[int]:
        if rows is None:
            there = [int(r) for r in np.flatnonzero((self.status != "absent").any(axis=1))[:_DRAWN]]
        else:
            there = [check_integer(row, "rows", minimum=0) for row in rows]
        if not there or max(there) >= len(self):
            msg = (
                f"rows: expected positions of films below {len(self)} that are there, got "
                f"{'none' if not there else 'a larger one'}."
            )
            raise ConfigurationError(msg)
        return there

    def _draw(self, axis: Axes, row: int) -> None:
        film = self.films[row] if row < len(self.films) else None
        aspect = 1.0
        if film is not None and (self.status[row] != "absent").any():
            try:
                original = read_original(film)
            except ImageReadError:  # gone since
                original = None
            if original is not None:
                height, width = original.pixels.shape[1:]
                aspect = original.aspect
                axis.imshow(original.pixels[0], cmap="gray", extent=(0, width, height, 0))
                axis.set(xlim=(0, width), ylim=(height, 0))
        axis.set_aspect(aspect)
        for number, name in enumerate(self.names):
            self._mark(axis, row, number, figures.literal(name))
        axis.set_title(self._caption(row), fontsize=9)

    def _mark(self, axis: Axes, row: int, number: int, name: str) -> None:
        """Draw one region or point; one that is lost leaves its name in the legend."""
        colour = colours.COLOURS[number % len(colours.COLOURS)]
        status = str(self.status[row, number])
        line = _LINES.get(status, "none")
        if self.boxes is not None:
            x0, y0, x1, y1 = self.boxes[row, number]
            x, y = [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]
            axis.plot(x, y, color=colour, linestyle=line, linewidth=1.6, label=name)
        else:
            full = colour if status == "found" else "none"
            axis.plot(
                *self.centres[row, number], marker="o", markersize=4, markerfacecolor=full,
                markeredgecolor=colour, linestyle="none", label=name,
            )  # fmt: skip

    def _caption(self, row: int) -> str:
        states = self.status[row].tolist()
        worst = [name for name in ("absent", "lost", "unsure") if name in states]
        told = f", {states.count(worst[0])} {worst[0]}" if worst else ""
        if "absent" in worst:
            return f"row {row}: absent"
        return f"row {row}: {np.nanmin(self.confidence[row]):.2f}{told}"

    def _title(self) -> str:
        return "asfusion anatomy"

    @property
    def verdict(self) -> str:
        """How many were found, in words."""
        what = "regions" if self.points is None else "points"
        n_absent = int((self.status == "absent").all(axis=1).sum())
        counts = [f"{int((self.status == s).sum())} {s}" for s in STATUSES[:3]]
        gone = f"; {n_absent} films absent" if n_absent else ""
        films = "film" if len(self) == 1 else "films"
        return f"{len(self.names)} {what} on {len(self)} {films}: {', '.join(counts)}{gone}."

    def _text(self) -> str:
        return "\n".join([f"Found: {self.verdict}", "", page.text_table(_HEADER, self._table())])

    def _body(self) -> list[str]:
        note = "Confidence is the probability of being right on films like those learned from."
        return [
            page.heading("Found", 1),
            page.paragraph(self.verdict, "verdict"),
            page.table(_HEADER, self._table()),
            page.paragraph(note, "note"),
        ]

    def _table(self) -> list[list[str]]:
        """Return a line per region: how often it has each status, and the median confidence."""
        lines = []
        for number, name in enumerate(self.names):
            status, sure = self.status[:, number], self.confidence[:, number]
            there = sure[np.isfinite(sure)]
            middle = f"{np.median(there):.2f}" if len(there) else ""
            lines.append([name, *(str(int((status == s).sum())) for s in STATUSES), middle])
        return lines


_HEADER = ["name", *STATUSES, "median confidence"]
