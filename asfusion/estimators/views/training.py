"""How networks learned, epoch by epoch, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.utils.validation import check_is_fitted

from asfusion._door import public
from asfusion.exceptions import ConfigurationError
from asfusion.show.colours import BLUE, GREEN, GREY, RED
from asfusion.show.figures import check_axes, literal, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

History: TypeAlias = Sequence[Mapping[str, float]]

_LOSS, _HELD = "loss", "validation_loss"
_COLUMNS = 3


class TrainingDrawn:
    """A model whose networks keep a record of each epoch."""

    def _histories(self) -> dict[str, History]:
        """Return the records of each network, by its name; nothing without a network."""
        return {}

    @public
    def plot_training(self, axes: Any = None) -> NDArray[np.object_]:
        """Draw the loss of each epoch, on the rows learned from and on those held out.

        Where rows were held out, the epoch whose weights were kept is marked. The loss of training
        is that of rows with modalities hidden and images moved: it may well lie above the other.

        Parameters
        ----------
        axes : array of matplotlib Axes, optional
            Where to draw, one for each network; a new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If no network was trained, or `axes` are not as many as networks.

        Examples
        --------
        >>> import numpy as np, asfusion as af
        >>> X = np.random.default_rng(0).normal(size=(40, 2))
        >>> model = af.JointFusionClassifier(max_epochs=2, verbose=0, random_state=0)
        >>> (axes,) = model.fit(X, X[:, 0] > 0).plot_training()
        >>> axes.get_xlabel()
        'Epoch'
        """
        check_is_fitted(self)
        histories = self._histories()
        if not histories:
            msg = (
                f"plot_training: expected a {type(self).__name__} with a network that was trained, "
                "got one without. Its models do not learn by epochs."
            )
            raise ConfigurationError(msg)
        places = _places(len(histories)) if axes is None else check_axes(axes, len(histories))
        for place, (name, history) in zip(places, histories.items(), strict=True):
            draw_history(place, name, history)
        return np.asarray(places, dtype=object)


def _places(count: int) -> list[Axes]:
    columns = min(count, _COLUMNS)
    lines = -(-count // columns)
    _, places = new_axes((5.0 * columns, 3.3 * lines), lines, columns, shown=True)
    for empty in places[count:]:
        empty.set_axis_off()
    return places[:count]


def best_epoch(history: History) -> int | None:
    """Return the epoch, counted from 1, with the least loss on rows held out; None without any."""
    losses = _column(history, _HELD)
    return None if np.isnan(losses).all() else int(np.nanargmin(losses)) + 1


def _column(history: History, name: str) -> NDArray[np.float64]:
    return np.asarray([record.get(name, np.nan) for record in history], dtype=np.float64)


def draw_history(axis: Axes, name: str, history: History) -> None:
    """Draw one network's losses."""
    from matplotlib.ticker import MaxNLocator

    epochs, best = np.arange(1, len(history) + 1), best_epoch(history)
    few = "o" if len(history) < 30 else ""
    for column, colour, style, label in (
        (_LOSS, BLUE, "-", "training rows"),
        (_HELD, RED, "--", "held-out rows"),
    ):
        losses = _column(history, column)
        if not np.isnan(losses).all():
            axis.plot(epochs, losses, style, color=colour, marker=few, ms=3.5, lw=1.6, label=label)
    if best is not None:
        _mark(axis, best, float(_column(history, _HELD)[best - 1]))
    axis.set(xlabel="Epoch", ylabel="Loss")
    axis.set_title(literal(_title(name, history, best)), fontsize=10)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.15)
    axis.grid(axis="y", color=GREY, alpha=0.2, lw=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize="small")


def _mark(axis: Axes, best: int, loss: float) -> None:
    axis.axvline(best, color=GREEN, lw=1, ls=":")
    axis.plot([best], [loss], "D", color=GREEN, ms=6, zorder=4, label=f"kept: epoch {best}")


def _title(name: str, history: History, best: int | None) -> str:
    """Return what became of a training: how many epochs, and which of them was kept."""
    start = f"{name}: " if name else ""
    count = f"{len(history)} epoch{'' if len(history) == 1 else 's'}"
    if best is None:
        return f"{start}{count}, the last one kept"
    waited = len(history) - best
    return (
        f"{start}{count}, {f'no better for the last {waited}' if waited else 'the last one best'}"
    )
