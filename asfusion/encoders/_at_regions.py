"""What encoders share that may look at a region of a film: the finder, and what was lost."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._checks import check_choice, check_number, in_words
from asfusion._frames import Frame
from asfusion._progress import shown_by_caller
from asfusion._warn import warn_user
from asfusion.anatomy.saved import read_finder
from asfusion.encoders._base import Encoder
from asfusion.encoders._cache import digest, file_digest
from asfusion.encoders._cuts import CutStore
from asfusion.encoders._files import FIX, explain_file, films_of
from asfusion.encoders._looking import Look, Seen, film_digest
from asfusion.exceptions import ConfigurationError, ImageReadError, InputError
from asfusion.imaging._cells import is_content
from asfusion.imaging._films import Film, in_threads
from asfusion.imaging._in_memory import extent_of
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.original import read_original
from asfusion.imaging.place import Place
from asfusion.imaging.read import WHO

OnLost = Literal["whole", "missing", "raise"]
_ON_LOST = ("whole", "missing", "raise")
_MOST_FINDERS = 8

_finders: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()


class FilmEncoder(Encoder):
    """Read one film per row, whole or where a finder points.

    A subclass has the parameters ``column``, ``channels``, ``region``, ``side_mm``, ``on_lost``,
    ``blackout``, ``on_error``, ``store`` and ``root``, and the state ``size_``.
    """

    column: str
    channels: int
    region: Any
    side_mm: float | None
    on_lost: OnLost
    blackout: bool
    on_error: Literal["raise", "missing"]
    store: str | os.PathLike[str] | None
    root: str | os.PathLike[str] | None
    size_: int
    finder_: Any

    # Whether each region is seen apart.
    _apart: ClassVar[bool] = False
    _source_params: ClassVar[frozenset[str]] = frozenset({"backbone", "weights", "region"})

    # -- the finder --------------------------------------------------------------------

    def _check_looking(self) -> None:
        if self.side_mm is not None:
            check_number(self.side_mm, "side_mm", minimum=1.0)
        check_choice(self.on_lost, "on_lost", _ON_LOST)
        region = self.region
        if region is None and self.blackout:
            msg = "blackout: expected a region= to make black, got none."
            raise ConfigurationError(msg)
        check_region(region)

    def _check_blank(self) -> None:
        super()._check_blank()
        if self.region is not None and not isinstance(self.region, str | os.PathLike):
            msg = (
                "region: expected None or the path of a saved finder, the same at all sites, got "
                "one that learns from films. Fit and save it at one site."
            )
            raise ConfigurationError(msg)

    def _fit_finder(self, frame: Frame) -> None:
        """Learn where regions are from the films of training rows, or read who knows."""
        for name in ("finder_", "elsewhere_"):
            self.__dict__.pop(name, None)
        if self.region is None:
            return
        films = films_of(frame, self.column, self.root)
        if isinstance(self.region, str | os.PathLike):
            finder: Any = read_finder(os.fspath(self.region))
        else:
            finder = self._taught_finder(frame, films)
        self.finder_ = finder
        ours = {film_digest(film) for film in films if film is not None}
        # Films outside of these rows that the finder learned from: to judge by them flatters.
        self.elsewhere_ = tuple(sorted(set(finder.trained_on_) - ours))

    def _taught_finder(self, frame: Frame, films: list[Film | None]) -> Any:
        cells = films_of(frame, self.column)
        try:
            return fitted_finder(self.region, cells, films, self.root)
        except ImageReadError:  # of an annotated film: let it be told as any other is
            readable = self._read_all(films, frame.origin, lambda _, film: read_original(film))
        kept = np.flatnonzero(readable).tolist()
        return fitted_finder(
            self.region, [cells[k] for k in kept], [films[k] for k in kept], self.root
        )

    def _read(self, X: Any) -> Frame:
        """Return X as a Frame, and warn of films by which the finder knows more than it should."""
        frame = super()._read(X)
        known = set(getattr(self, "elsewhere_", ()))
        films = [film for film in films_of(frame, self.column, self.root) if film is not None]
        n_known = sum(film_digest(film) in known for film in films) if known else 0
        if n_known:
            warn_user(
                f"Column {self.column!r}: the finder of region= learned from {n_known} of "
                f"{len(films)} film(s) that this encoder was not fitted on. What it finds there is "
                "better than on films that it never saw, and scores on these rows are too high. "
                "Pass the finder with annotations, which is fitted on training rows alone, or "
                "judge by other films."
            )
        return frame

    @property
    def _looks(self) -> bool:
        return hasattr(self, "finder_")

    @property
    def _look(self) -> Look:
        """How films are cut."""
        names = tuple(str(name) for name in self.finder_.names_)
        side = None if self.side_mm is None else float(self.side_mm)
        return Look(
            self.finder_, names, self.size_, self.channels, side, self._apart, bool(self.blackout)
        )

    def _looking_settings(self) -> object:
        return (self._look.settings, self.on_lost) if self._looks else None

    def _looking_in_words(self) -> str:
        if self.region is None:
            return ""
        if self.blackout:
            return ", the film without its regions"
        where = "regions" if self._apart else "a region"
        side = "" if self.side_mm is None else f" of {self.side_mm:g} mm"
        return f", looking at {where}{side}"

    # -- films -------------------------------------------------------------------------

    def _see(self, films: Sequence[Film | None], rows: NDArray[np.int64]) -> list[Seen | None]:
        """Return what is seen of films; None where there is none, or none that is to be used."""
        if self.store is not None and not any(map(is_content, films)):
            seen = self._see_stored(cast("list[str | None]", films), rows)
        else:
            seen = [None] * len(films)
            look = self._look

            def read(position: int, film: Film) -> None:
                seen[position] = look.see(film)

            for position in np.flatnonzero(~self._read_all(films, rows, read)).tolist():
                seen[position] = None
        self._tell_lost(seen, rows)
        return [None if one is None or self._is_missing(one) else one for one in seen]

    def _see_stored(self, paths: list[str | None], rows: NDArray[np.int64]) -> list[Seen | None]:
        store = CutStore(str(self.store), self._look)
        found = self._rows_in(store, paths, rows)
        there = np.flatnonzero(found >= 0).tolist()
        read = dict(zip(there, store.read(found[there]), strict=True))
        return [read.get(position) for position in range(len(paths))]

    def _rows_in(
        self, store: Any, paths: list[str | None], rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return where films are in a store, which decodes what it does not have."""
        with shown_by_caller():
            found, reasons = store.find(paths, stop=self.on_error == "raise")
        problems = {
            position: self._explain(int(rows[position]), reason, paths[position])
            for position, reason in reasons.items()
        }
        if problems and self.on_error == "raise":
            raise ImageReadError(problems[min(problems)] + FIX)
        if problems:
            self._warn(problems, sum(path is not None for path in paths))
        return cast("NDArray[np.int64]", found)

    def _read_all(
        self,
        films: Sequence[Film | None],
        rows: NDArray[np.int64],
        read: Callable[[int, Film], object],
    ) -> NDArray[np.bool_]:
        """Let films be read, several at once, and return which of them could be."""
        present = np.asarray([film is not None for film in films], dtype=bool)

        def attempt(position: int) -> str | None:
            film = cast("Film", films[position])
            try:
                read(position, film)
            except ImageReadError as error:
                return self._explain(int(rows[position]), error, film)
            return None

        wanted = np.flatnonzero(present).tolist()
        problems: dict[int, str] = {}
        with quiet_readers():
            outcomes = in_threads(attempt, wanted, f"Reading {self.column}")
            for position, problem in zip(wanted, outcomes, strict=True):
                if problem is not None and self.on_error == "raise":
                    outcomes.close()
                    raise ImageReadError(problem + FIX)
                if problem is not None:
                    problems[position] = problem
        present[list(problems)] = False
        if problems:
            self._warn(problems, len(wanted))
        return present

    def _explain(self, row: int, problem: object, film: object) -> str:
        told = str(problem).removeprefix(WHO)
        return explain_file(self.column, row, told, film, self.root)

    def _warn(self, problems: dict[int, str], n_files: int) -> None:
        message = (
            f"{len(problems)} of {n_files} image file(s) cannot be read, and their rows are taken "
            f"as rows without an image. The first: {problems[min(problems)]}"
        )
        warn_user(message)

    # -- what was lost -----------------------------------------------------------------

    def _is_missing(self, seen: Seen) -> bool:
        """Return whether a film counts as none, since nothing of it is to be shown."""
        # A film that could not be made black would show what must not be seen.
        return bool(seen.lost.all()) and (self.blackout or self.on_lost == "missing")

    def _tell_lost(self, seen: Sequence[Seen | None], rows: NDArray[np.int64]) -> None:
        there = [(row, one) for row, one in zip(rows.tolist(), seen, strict=True) if one]
        lost = [(row, one) for row, one in there if one.lost.any()]
        if lost and self.on_lost == "raise":
            row, one = lost[0]
            names = [n for n, gone in zip(self._look.tokens, one.lost, strict=True) if gone]
            msg = (
                f"Column {self.column!r}, row {row}: expected to find {' and '.join(names)}, got "
                "nothing to be sure of. Look at the film, or pass on_lost='whole' or 'missing'."
            )
            raise InputError(msg)
        if lost:
            taken = {"whole": "the film is read whole", "missing": "it is taken as missing"}
            done = "it is taken as missing" if self.blackout else taken[self.on_lost]
            warn_user(
                f"Column {self.column!r}: on {len(lost)} of {len(there)} film(s) a region was not "
                f"found, and {done}."
            )
        n_guessed = sum(one.is_guessed for _, one in there)
        if n_guessed:
            warn_user(
                f"Column {self.column!r}: {n_guessed} of {len(there)} film(s) do not say how large "
                "a pixel is. In place of side_mm, 1.25 times what was found is cut from them."
            )

    def _why_absent(self) -> str:
        if not self._looks:
            return super()._why_absent()
        fix = "leave this modality out" if self.blackout else "pass on_lost='whole'"
        return (
            "The finder of region= found nothing on any film, and such a film counts as none. Look "
            f"at what it finds, or {fix}."
        )

    # -- the way back ------------------------------------------------------------------

    def _looked_at(self, frame: Frame) -> list[tuple[Place, ...]]:
        """Return where each film was cut; nothing where it was read whole."""
        films = films_of(frame, self.column, self.root)
        if not self._looks:
            return [() for _ in films]
        look = self._look
        return [
            () if film is None else look.places(look.see(film), extent_of(film).spacing_mm)
            for film in films
        ]


def check_region(region: Any) -> None:
    """Raise unless this is a finder, the path of one, or none."""
    is_finder = hasattr(region, "find") and not isinstance(region, type)
    if region is None or isinstance(region, str | os.PathLike) or is_finder:
        return
    msg = (
        "region: expected a finder with annotations, such as asfusion.anatomy.RegionFinder, "
        f"or the path of a saved one, got {in_words(region)}."
    )
    raise ConfigurationError(msg)


def fitted_finder(
    region: Any, cells: Sequence[Any], films: Sequence[Film | None], root: Any
) -> Any:
    """Return a copy of a finder, fitted on films; the same films teach it once per process."""
    params = {**region.get_params(deep=False), "verbose": 0}
    params["root"] = params.get("root") or root
    if params.get("random_state") is None:  # equal rows, equal regions
        params["random_state"] = 0
    plain = {k: v for k, v in params.items() if k != "annotations"}
    known = [None if film is None else film_digest(film) for film in films]
    paths = [cell if isinstance(cell, str) else None for cell in cells]
    key = digest(type(region).__qualname__, plain, _told(params.get("annotations")), known, paths)
    with _lock:
        if isinstance(params["random_state"], int) and key in _finders:
            _finders.move_to_end(key)
            return _finders[key]
    finder = clone(region).set_params(**{k: params[k] for k in ("verbose", "root", "random_state")})
    with shown_by_caller():
        finder.fit(cells)
    finder.set_params(root=None)  # from here on films come with their folder
    with _lock:
        _finders[key] = finder
        while len(_finders) > _MOST_FINDERS:
            _finders.popitem(last=False)
    return finder


def _told(annotations: Any) -> object:
    """Return what annotations say, as plain values."""
    if annotations is None or isinstance(annotations, str | os.PathLike):
        return annotations and file_digest(annotations)
    frame = Frame.read(annotations)
    return [(name, [_as_text(cell) for cell in frame.cells(name)]) for name in frame.columns]


def _as_text(cell: Any) -> str | None:
    return film_digest(cell) if is_content(cell) else str(cell)
