"""What is asked to attribute the value of a modality, and the face of who does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._foreign import Algorithm
from asfusion._frames import Frame
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._warn import warn_user
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._attribution import Attribution
from asfusion.explanation._curves import Claim
from asfusion.explanation._game import Game
from asfusion.explanation.pixels import METHODS
from asfusion.explanation.pixels import ImageMethod as PixelMethod

WordMethod: TypeAlias = Literal["shapley", "deletion", "integrated_gradients"]
ImageMethod: TypeAlias = Literal["auto"] | PixelMethod

IMAGE_METHODS = ("auto", *METHODS)
WORD_METHODS = ("shapley", "deletion", "integrated_gradients")


@dataclass(frozen=True, eq=False)
class Asking:
    """The rows that are asked about, and how.

    Parameters
    ----------
    game : Game
        Outcomes of coalitions of modalities.
    frame : Frame
        The N explained rows and, below them, the background rows.
    output_names : tuple of str
        Name of the explained output of each row.
    units : mapping of str to str
        Unit of a column, where the user gave it.
    image_method, word_method : str
        How pixels and words are attributed.
    n_samples : int
        Coalitions of words that are tried.
    algorithm : {"auto", "shap"}
        Who computes the values of columns.
    has_background : bool
        Whether background rows were given; else they are the explained rows themselves.
    verbose : bool
        Whether progress bars are shown.
    seed : int
        Seeds everything that is drawn.
    first : int
        Position of the first row among all that were explained, so that a row alone is
        given the draws that it has among the others.
    """

    game: Game
    frame: Frame
    output_names: tuple[str, ...]
    units: Mapping[str, str]
    image_method: ImageMethod
    word_method: WordMethod
    n_samples: int
    algorithm: Algorithm
    has_background: bool
    verbose: bool
    seed: int
    first: int = 0
    _known_references: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def row(self, row: int) -> Frame:
        """Return one row, alone."""
        return self.frame.take(np.array([row]))

    def unit(self, row: int) -> str:
        """Return what a row's output is measured in."""
        kind, is_named, _ = self.output_names[row].partition(" of ")
        return kind if is_named else "units of the output"

    def units_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the units that are known of some columns."""
        return {name: self.units[name] for name in names if name in self.units}

    def references(self, name: str) -> NDArray[np.int64]:
        """Return background rows that have a modality: what a column is replaced from."""
        if name in self._known_references:
            return self._known_references[name]
        n = self.game.n_rows
        if not self.has_background and len(self.frame) - n == 1:
            warn_user(
                f"background: expected rows to replace the columns of {name!r} from, got none, "
                "and a row by itself can only be replaced by itself: its columns are worth 0. "
                "Pass the training rows."
            )
        _, there = self.game.encode_frame(name, self.frame.take(np.arange(n, len(self.frame))))
        found = n + np.flatnonzero(there)
        if not len(found):
            msg = (
                f"background: expected rows that have the modality {name!r}, got none. Pass the "
                "training rows."
            )
            raise ConfigurationError(msg)
        self._known_references[name] = found
        return found


class Attributor(ABC):
    """Attributes the value of one modality to what stands in it; one class for each kind.

    Parameters
    ----------
    asking : Asking
        The rows, and how they are asked about.
    name : str
        The modality.
    """

    def __init__(self, asking: Asking, name: str) -> None:
        self.asking, self.name = asking, name
        self.game, self.frame = asking.game, asking.frame
        self.encoder: Any = asking.game.model._modality_encoders()[name]

    @abstractmethod
    def attribute(self) -> Attribution:
        """Return the attribution of all rows."""

    @abstractmethod
    def claim(self, row: int, found: Any) -> Claim | None:
        """Return the parts of a row, to be taken away or put in; None where it has none.

        `found` is what `attribute` returned.
        """

    def check(self) -> None:
        """Raise if the modality cannot be attributed as asked, before anything is computed."""
        return

    def names_with_units(self) -> set[str]:
        """Return what may be given a unit."""
        return set(getattr(self.encoder, "columns_", ()))

    def rows(self, what: str = "Explaining") -> Any:
        """Return positions of the rows, with a progress bar."""
        return progress(range(self.game.n_rows), f"{what} {self.name}", unit="row")

    def has(self, row: int) -> bool:
        """Return whether a row has the modality."""
        return bool(self.present[row])

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have the modality (N,)."""
        return self.game.present[:, self.game.names.index(self.name)]

    def seed(self, what: str, row: int) -> int:
        """Return the seed of what is drawn for a row, alone or among others."""
        asking = self.asking
        return derive_seed(asking.seed, what, self.name, asking.first + row)
