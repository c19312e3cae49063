"""What finders of regions and of landmarks have in common.

Dimensions: N films, R regions or points, S side of the square.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asfusion._checks import check_choice, check_integer
from asfusion._described import Described
from asfusion._door import learns, public
from asfusion._frames import group_labels
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._splits import patient_folds
from asfusion._unfitted import UnfittedError
from asfusion.anatomy._annotations import Kind, in_pixels, matched, read_annotations
from asfusion.anatomy._arrangement import Arrangement
from asfusion.anatomy._confidence import FOUND, LOST, Confidence
from asfusion.anatomy._films import AT_ONCE, digest_of, read_cells, read_films
from asfusion.anatomy._mirrored import mirrored_pairs
from asfusion.anatomy._photographs import photographed
from asfusion.anatomy._pointing import Pointing, Shown, on_films
from asfusion.anatomy._square import Place, squared
from asfusion.anatomy._views import look_at
from asfusion.anatomy.found import Found
from asfusion.bundle.objects import Bundled, save_bundle
from asfusion.exceptions import BundleError, ConfigurationError, ImageReadError, InputError
from asfusion.imaging._films import Film, Root
from asfusion.imaging.original import Original

Floats = NDArray[np.float64]

_FOLDS = 3
_FEWEST = 6  # films; a third of them judges what was learned from the others
_SMALLEST, _LARGEST = 32, 512


class Finder(Pointing, Described, Bundled):
    """Networks that point at what was annotated; see `RegionFinder` and `LandmarkFinder`."""

    # Annotations name the films of patients.
    _unsaid: ClassVar[frozenset[str]] = frozenset({"annotations"})
    _local_params: ClassVar[frozenset[str]] = frozenset({"annotations", "root", "verbose"})
    _kind: ClassVar[Kind]

    annotations: Any
    unit: Literal["px", "mm"]
    size: int
    epochs: int
    augment: Literal[True, "photograph"]
    views: int
    mirrored: Any
    verbose: int
    random_state: RandomState
    root: Root

    names_: tuple[str, ...]
    mirrored_: tuple[tuple[str, str], ...]
    trained_on_: frozenset[str]
    size_: int

    @learns
    def fit(self, films: Any, groups: Any = None) -> Self:
        """Learn from the films that are annotated.

        Parameters
        ----------
        films : sequence of str, PathLike, bytes, ndarray, PIL.Image.Image or None
            A column of films, as `asfusion.ImageEncoder` takes it. Films without annotations, and
            annotations of other films, are passed over.
        groups : array of shape (N,), optional
            Patient of each film. Confidence is calibrated on films of patients that a network has
            not seen; each film counts as a patient by default.

        Returns
        -------
        self
            The fitted finder.

        Raises
        ------
        InputError
            If annotations or films cannot be used: too few, unknown, unreadable, outside.
        ConfigurationError
            If a parameter has an unusable value.
        """
        self._check_params()
        self._forget_networks()
        seed = draw_seed(self.random_state)
        with progress_shown(self.verbose > 0):
            known = read_annotations(self.annotations, self._kind, self.root)
            cells = read_cells(films, self.root)
            patients = None if groups is None else group_labels(groups, len(cells))
            rows = matched(cells, known)
            taught = [film for row in rows.values() if (film := cells[row]) is not None]
            self.names_ = known.names
            self.mirrored_ = mirrored_pairs(self.mirrored, self.names_)
            self.size_ = self.size
            shown = self._outlined(self._read_all(taught, list(rows.values()), seed), list(rows))
            places = [film.place for film in shown]
            values = known.values(list(rows), len(self._kind.numbers))
            marks = in_pixels(values, places, self.unit, self._kind)
            self._check_enough(marks)
            digests = (digest_of(film) for film in taught)
            self.trained_on_ = frozenset(digest for digest in digests if digest is not None)
            of_taught = None if patients is None else patients[list(rows.values())]
            folds = self._folds(of_taught, len(taught), seed)
            self._learn(taught, shown, marks, folds, seed)
        return self

    @public
    def find(self, films: Any) -> Found:
        """Return where things are on films.

        Parameters
        ----------
        films : sequence of str, PathLike, bytes, ndarray, PIL.Image.Image or None
            A column of films, as in `fit`.

        Returns
        -------
        Found
            A row per film. One that is missing or cannot be read is "absent".

        Raises
        ------
        UnfittedError
            If the finder is not fitted.
        InputError
            If this is no column of films.
        """
        self._check_fitted()
        self._check_refined()
        check_integer(self.views, "views", minimum=1)
        with progress_shown(self.verbose > 0):
            cells = read_cells(films, self.root)
            found = Found.empty(self.names_, tuple(cells), boxes=self._finds_boxes)
            networks = self._networks()
            for start in range(0, len(cells), AT_ONCE):
                self._find_some(
                    cells, range(start, min(start + AT_ONCE, len(cells))), networks, found
                )
        return found

    @public
    def overlap(self, films: Any) -> int:
        """Return how many films the finder has learned from, by their content.

        Parameters
        ----------
        films : sequence of str, PathLike, bytes, ndarray, PIL.Image.Image or None
            A column of films.

        Returns
        -------
        int
            Number of rows.

        Raises
        ------
        UnfittedError
            If the finder is not fitted.
        """
        self._check_fitted()
        cells = read_cells(films, self.root)
        return sum(film is not None and digest_of(film) in self.trained_on_ for film in cells)

    @public
    def save(self, path: str | Path) -> Path:
        """Write the fitted finder as a folder without pickle; annotations are left out.

        Parameters
        ----------
        path : str or Path
            The folder; a saved model that is there is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UnfittedError
            If the finder is not fitted.
        BundleError
            If writing fails.
        """
        self._check_fitted()
        save_bundle(self, Path(path))
        return Path(path)

    @property
    def digest_(self) -> str:
        """Name of what the finder does: of its settings and its weights, 64 hexadecimal digits."""
        self._check_fitted()
        hasher = hashlib.sha256(repr(self._settings()).encode())
        for weights in self._all_weights():
            for name, value in sorted(weights.items()):
                hasher.update(repr((name, tuple(value.shape))).encode())
                hasher.update(value.contiguous().numpy().tobytes())
        return hasher.hexdigest()

    def _settings(self) -> tuple[object, ...]:
        """Return what `find` depends on beside weights."""
        arrays = (*self.confidence_.arrays(), *self.arrangement_.arrays())
        curve = [array.tolist() for array in arrays]
        return type(self).__name__, self.names_, self.size_, self.views, curve

    @abstractmethod
    def _check_refined(self) -> None:
        """Raise unless what is refined is what was learned."""

    def _check_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            name = type(self).__name__
            raise UnfittedError(
                f"{name}: expected a fitted one, got one that is not. Call fit first."
            )

    # -- parameters ------------------------------------------------------------------------

    @property
    def _finds_boxes(self) -> bool:
        return len(self._kind.numbers) == 4

    def _check_params(self) -> None:
        check_choice(self.unit, "unit", ("px", "mm"))
        check_integer(self.size, "size", minimum=_SMALLEST)
        if self.size > _LARGEST or self.size % 16:
            msg = f"size: expected a multiple of 16 up to {_LARGEST}, got {self.size}."
            raise ConfigurationError(msg)
        check_integer(self.epochs, "epochs", minimum=1)
        check_integer(self.views, "views", minimum=1)
        if self.augment is not True:
            check_choice(self.augment, "augment", ("photograph",))

    # -- learning --------------------------------------------------------------------------

    def _read_all(self, films: Sequence[Film], rows: Sequence[int], seed: int) -> list[Shown]:
        """Return all films, or raise for the first that cannot be read."""

        def see(film: Original) -> Shown:
            made = photographed(film, self.size_, seed) if self.augment == "photograph" else ()
            return self._see(film)._replace(photographs=made)

        read = read_films(films, see, "Reading films")
        shown = []
        for row, film in zip(rows, read, strict=True):
            if isinstance(film, ImageReadError):
                msg = f"films, row {row}: {film} It is annotated: correct it, or leave it out."
                raise ImageReadError(msg)
            shown.append(film)
        return shown

    def _outlined(self, shown: list[Shown], keys: Sequence[str]) -> list[Shown]:
        """Return films with what annotations draw on them, if that is learned."""
        return shown

    def _check_enough(self, marks: Floats) -> None:
        """Raise unless every region is on enough films."""
        for name, count in zip(self.names_, np.isfinite(marks[..., 0]).sum(axis=0), strict=True):
            if count < _FEWEST:
                msg = (
                    f"annotations: expected {self._kind.what} {name!r} on at least {_FEWEST} of "
                    f"these films, got {count}. Annotate more, or leave it out."
                )
                raise InputError(msg)

    def _folds(self, patients: Any, n_films: int, seed: int) -> list[tuple[Any, Any]]:
        """Return rows to learn from and rows to be judged on; patients stay whole."""
        folds = patient_folds(patients, _FOLDS, n_rows=n_films, seed=derive_seed(seed, "folds"))
        if len(folds) < _FOLDS:
            msg = f"groups: expected annotated films of at least {_FOLDS} patients, got fewer."
            raise InputError(msg)
        return folds

    # -- finding ---------------------------------------------------------------------------

    def _find_some(
        self, cells: list[Film | None], rows: range, networks: list[nn.Module], found: Found
    ) -> None:
        """Fill in what is found on some rows."""
        there = [row for row in rows if cells[row] is not None]
        films: list[Any] = [cells[row] for row in there]
        read = read_films(films, self._see_whole, "Finding")
        good = [
            (row, film)
            for row, film in zip(there, read, strict=True)
            if not isinstance(film, ImageReadError)
        ]
        if not good:
            return
        shown = [film for _, film in good]
        places = [film.place for film in shown]
        coarse, windows = networks[: len(self.weights_)], networks[len(self.weights_) :]
        seen = look_at(
            coarse, torch.from_numpy(np.stack([s.square for s in shown]))[:, None], self.views
        )
        originals = [film.film for film in shown if film.film is not None]  # all, if refined
        closer = self._see_closer(windows, originals, places, seen)
        centres, extents = on_films(places, seen, closer)
        known = closer if self.confidence_.knows_windows else None
        sure = self.confidence_.of(self._evidence(places, seen, known)[0])
        for own, (row, film) in enumerate(good):
            self._put(found, row, film.place, centres[own], extents[own], sure[own])

    def _see(self, film: Original) -> Shown:
        return Shown(*squared(film, self.size_))

    def _see_whole(self, film: Original) -> Shown:
        """Return a film with itself, where finding goes back to it."""
        return self._see(film)._replace(film=film if self._refines else None)

    def _put(
        self, found: Found, row: int, place: Place, centres: Floats, extents: Floats, sure: Floats
    ) -> None:
        """Fill in one row."""
        is_lost = sure < LOST
        half = extents / 2
        found.centres[row] = np.where(is_lost[:, None], np.nan, centres)
        if found.boxes is not None:
            boxes = np.concatenate([centres - half, centres + half], axis=1)
            found.boxes[row] = np.where(is_lost[:, None], np.nan, boxes)
        if found.points is not None:
            found.points[row] = found.centres[row]
        found.confidence[row] = sure
        found.status[row] = np.where(sure >= FOUND, "found", np.where(is_lost, "lost", "unsure"))
        if place.spacing_mm is not None:
            found.spacing_mm[row] = place.spacing_mm

    # -- saving ----------------------------------------------------------------------------

    def _bundle_state(self) -> dict[str, Any]:
        state = super()._bundle_state()
        fitted = state["fitted"]
        if fitted:
            fitted["trained_on_"] = sorted(self.trained_on_)
            fitted["confidence_"] = list(self.confidence_.arrays())
            fitted["arrangement_"] = list(self.arrangement_.arrays())
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        fitted = dict(state["fitted"])
        if fitted:
            fitted["trained_on_"] = frozenset(fitted["trained_on_"])
            fitted["confidence_"] = Confidence(*fitted["confidence_"])
            fitted["arrangement_"] = Arrangement(*fitted["arrangement_"])
        super()._restore_bundle_state({**state, "fitted": fitted})
        if fitted:
            self._check_restored()

    def _check_restored(self) -> None:
        """Raise unless weights fit the networks that they are for."""
        self._check_params()
        check_integer(self.size_, "size_", minimum=_SMALLEST)
        named = isinstance(self.names_, tuple) and all(isinstance(n, str) for n in self.names_)
        finite = all(
            v.isfinite().all() for weights in self._all_weights() for v in weights.values()
        )
        n_windows = len(self.window_weights_)
        if self.size_ > _LARGEST or not self.weights_ or not (named and finite and n_windows < 2):
            raise BundleError("load: a finder is described as none is.")
        if not self.confidence_.is_sound() or (self.confidence_.knows_windows and not n_windows):
            raise BundleError("load: a finder's confidence is described as none is.")
        if not self.arrangement_.is_sound(len(self.names_)):
            raise BundleError("load: a finder's arrangement is described as none is.")
        self._networks()
