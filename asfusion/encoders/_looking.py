"""Looking at a region: a finder says where it is on a film, and the film is cut there.

Dimensions: C channels, R regions of a finder, T cuts of a film, S side of a cut in pixels.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.encoders._cache import digest, file_digest
from asfusion.imaging._films import Film
from asfusion.imaging._in_memory import content_digest
from asfusion.imaging._picture import on_square, resize_inside
from asfusion.imaging.original import Original, read_original
from asfusion.imaging.place import Place

_OF_THE_BOX = 1.25  # side of a cut without mm, as a multiple of the longer side found
_MOST_FOUND = 20_000
_LOST = ("lost", "absent")

Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """What was cut from one film.

    Parameters
    ----------
    pixels : ndarray of shape (T, C, S, S), uint8
        The cuts; the whole film where nothing was found, or where the region was made black.
    places : ndarray of shape (T, 6), float64
        First column and row, width and height in pixels of the film; whether it was lost; and
        whether mm were asked for and not known.
    """

    pixels: NDArray[np.uint8]
    places: Floats

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which cuts (T,) were not found."""
        return self.places[:, 4] > 0

    @property
    def is_guessed(self) -> bool:
        """Whether a side in mm was asked for, and the film does not say how large a pixel is."""
        return bool((self.places[:, 5] > 0).any())


class _OnFilm(NamedTuple):
    """Boxes (R, 4), middles (R, 2) and which regions (R,) were lost on one film."""

    boxes: Floats
    centres: Floats
    lost: NDArray[np.bool_]


_found: OrderedDict[tuple[str, str], _OnFilm] = OrderedDict()
_lock = threading.RLock()  # a network is asked by one thread at a time


@dataclass(frozen=True, eq=False)
class Look:
    """How films are cut at the regions of a finder.

    Parameters
    ----------
    finder : fitted finder
        Says where its regions are.
    names : tuple of str
        Its regions, in order.
    size, channels : int
        Side of a cut in pixels, and its channels.
    side_mm : float or None
        Side of a cut in mm; None takes a multiple of what was found.
    apart : bool
        Whether each region is a cut, those on the left mirrored; else one is around them all.
    blackout : bool
        Whether the film is read whole with these cuts black, in place of them.
    """

    finder: Any
    names: tuple[str, ...]
    size: int
    channels: int
    side_mm: float | None
    apart: bool
    blackout: bool

    @property
    def settings(self) -> tuple[object, ...]:
        """What decides, besides the film, which pixels are seen."""
        return (
            self._finder_digest, self.names, self.size, self.channels, self.side_mm, self.apart,
            self.blackout,
        )  # fmt: skip

    @cached_property
    def _finder_digest(self) -> str:
        return str(self.finder.digest_)

    def __eq__(self, other: object) -> bool:
        """Return whether the same is seen of every film."""
        return self.settings == getattr(other, "settings", None)

    def __hash__(self) -> int:
        return hash(self.settings)

    @cached_property
    def digest(self) -> str:
        """A name for `settings`."""
        return digest(self.settings)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The names of the cuts."""
        return self.names if self.apart and not self.blackout else (" + ".join(self.names),)

    def see(self, film: Film) -> Seen:
        """Return what is seen of a film, or raise `ImageReadError`."""
        original = read_original(film, self.channels)
        places = self._places(self._find(film), original)
        if self.blackout:
            return self._without(original, places)
        mirrored = self._mirrored()
        cuts = [
            self._whole(original.pixels, original.aspect)
            if place[4]
            else _cut(original, place, self.size, flip)
            for place, flip in zip(places, mirrored, strict=True)
        ]
        return Seen(np.stack(cuts), places)

    def places(self, seen: Seen, spacing_mm: tuple[float, float] | None) -> tuple[Place, ...]:
        """Return where the cuts were made that were found, for whoever maps them back."""
        if self.blackout:
            return ()
        rows = zip(self.tokens, seen.places, self._mirrored(), strict=True)
        return tuple(
            _as_place(name, place, spacing_mm, flip) for name, place, flip in rows if not place[4]
        )

    # -- where -------------------------------------------------------------------------

    def around(self, original: Original, picture: NDArray[np.uint8]) -> Place | None:
        """Return the place around all regions of a picture in memory; None if one was lost."""
        every = np.arange(len(self.names))
        place = self._place(self._find(picture), every, original)
        name = " + ".join(self.names)
        return None if place[4] else _as_place(name, place, original.spacing_mm)

    def _find(self, film: Film) -> _OnFilm:
        """Return what the finder says of one film, asked once: alone, as any other film is."""
        name = film_digest(film)
        key = (self._finder_digest, name or "")
        with _lock:
            if name is not None and key in _found:
                _found.move_to_end(key)
                return _found[key]
            one = _on_film(self.finder.find([film]))
            if name is not None:
                _found[key] = one
            while len(_found) > _MOST_FOUND:
                _found.popitem(last=False)
            return one

    def _places(self, found: _OnFilm, original: Original) -> Floats:
        every = np.arange(len(self.names))
        groups = [[r] for r in every] if self.apart else [every]
        return np.stack([self._place(found, np.asarray(g), original) for g in groups])

    def _place(self, found: _OnFilm, regions: NDArray[np.int64], original: Original) -> Floats:
        """Return a row of `Seen.places`: a square, in mm, around some regions."""
        if found.lost[regions].any():
            return np.asarray([0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        low, high = _around(found.boxes[regions], found.centres[regions])
        # Of one region the middle that was found, which need not be that of its box.
        x, y = found.centres[regions[0]] if len(regions) == 1 else (low + high) / 2
        known = None if self.side_mm is None else original.pixels_of(self.side_mm)
        guessed = self.side_mm is not None and known is None
        wide, tall = high - low
        side = _OF_THE_BOX * max(wide, tall * original.aspect)
        height, width = known or (side / original.aspect, side)
        if width <= 0:  # a point, on a film of unknown scale
            return np.asarray([0.0, 0.0, 0.0, 0.0, 1.0, float(guessed)])
        corner = round(x - width / 2), round(y - height / 2)
        sides = max(1, round(width)), max(1, round(height))
        return np.asarray([*corner, *sides, 0.0, float(guessed)])

    def _mirrored(self) -> list[bool]:
        if not self.apart or self.blackout:
            return [False]
        pairs = self.finder.mirrored_
        flipped = {one if "left" in one else other for one, other in pairs}
        return [name in flipped for name in self.names]

    # -- pixels ------------------------------------------------------------------------

    def _without(self, original: Original, places: Floats) -> Seen:
        """Return the whole film with its regions black; lost if one of them could not be."""
        pixels = original.pixels.copy()
        for place in places[places[:, 4] == 0]:
            _as_place("", place).blacken(pixels)
        told = np.zeros((1, 6))
        told[0, 4:] = places[:, 4:].max(axis=0)
        return Seen(self._whole(pixels, original.aspect)[None], told)

    def _whole(self, pixels: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
        """Return a film (C, H, W) fitted into a square, as `read_image` does."""
        fitted = [on_square(resize_inside(c, self.size, aspect), self.size) for c in pixels]
        return np.stack(fitted)


def film_digest(film: Film) -> str | None:
    """Return a name for what is in a file or in memory; None if it cannot be read."""
    return file_digest(film) if isinstance(film, str) else content_digest(film)


def _on_film(found: Any) -> _OnFilm:
    centres = np.asarray(found.centres[0], dtype=np.float64)
    boxes = getattr(found, "boxes", None)
    boxes = np.tile(centres, 2) if boxes is None else np.asarray(boxes[0], dtype=np.float64)
    lost = np.isin(np.asarray(found.status[0]), _LOST) | ~np.isfinite(centres).all(axis=1)
    return _OnFilm(boxes, centres, lost)


def _around(boxes: Floats, centres: Floats) -> tuple[Floats, Floats]:
    """Return the upper left and lower right corner of what holds them all."""
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:], centres])
    corners = corners[np.isfinite(corners).all(axis=1)]
    return corners.min(axis=0), corners.max(axis=0)


def _as_place(
    name: str, place: Floats, spacing_mm: tuple[float, float] | None = None, flip: bool = False
) -> Place:
    x0, y0, width, height = place[:4].astype(int).tolist()
    return Place(name, x0, y0, width, height, spacing_mm, flip)


def _cut(original: Original, place: Floats, size: int, flip: bool) -> NDArray[np.uint8]:
    x0, y0, width, height = place[:4]
    cut = original.cut((x0 + width / 2, y0 + height / 2), (height, width), size)
    return np.ascontiguousarray(cut[..., ::-1]) if flip else cut
