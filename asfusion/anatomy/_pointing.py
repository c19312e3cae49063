"""How finders learn where things are, on films and in windows, and how sure to be of it.

Dimensions: N films, R regions or points, S side of the square.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asfusion._random import derive_seed
from asfusion.anatomy._arrangement import Arrangement, arranged, nearest
from asfusion.anatomy._built import BuildsNetworks
from asfusion.anatomy._confidence import Confidence, Held, calibrated, features_of, with_off
from asfusion.anatomy._learning import Lesson, Weights, teach
from asfusion.anatomy._made_wrong import scrambled, taken_for_another
from asfusion.anatomy._photographs import Photograph
from asfusion.anatomy._square import Place
from asfusion.anatomy._views import Seen, look_at
from asfusion.anatomy._windows import (
    cut,
    cut_all,
    joined,
    lesson_of,
    look_closer,
    read_again,
    teach_windows,
)
from asfusion.imaging._films import Film
from asfusion.imaging.original import Original

Floats = NDArray[np.float64]


class Shown(NamedTuple):
    """A film that could be read: its square, where it stands there, and more where needed."""

    square: NDArray[np.uint8]
    place: Place
    film: Original | None = None
    photographs: tuple[Photograph, ...] = ()
    masks: NDArray[np.uint8] | None = None  # (R, S, S), where masks are learned from


class Pointing(BuildsNetworks):
    """The networks of a finder: what they learn from, and what they say of films."""

    augment: Literal[True, "photograph"]
    epochs: int
    views: int

    size_: int
    weights_: list[Weights]
    window_weights_: list[Weights]  # one, or none
    confidence_: Confidence
    arrangement_: Arrangement

    def _all_weights(self) -> list[Weights]:
        return [*self.weights_, *self.window_weights_]

    @property
    @abstractmethod
    def _refines(self) -> bool:
        """Return whether things are looked at once more, in windows."""

    @property
    def _judges_windows(self) -> bool:
        """Return whether confidence is that of what is refined; photographs are judged as found."""
        return self._refines and self.augment is True

    # -- learning --------------------------------------------------------------------------

    def _learn(
        self,
        films: list[Film],
        shown: list[Shown],
        marks: Floats,
        folds: list[tuple[Any, Any]],
        seed: int,
    ) -> None:
        places = [one.place for one in shown]
        lesson, owners = self._lesson(shown, marks)
        centres = lesson.in_pixels()[0]
        self.arrangement_, other = arranged(centres), nearest(centres)
        windows = self._windows_of(films, places, marks) if self._refines else None
        self.weights_, self.window_weights_, held_out = [], [], []
        for number, (learn, held) in enumerate(folds):
            own, which = derive_seed(seed, "fold", number), f"({number + 1} of {len(folds)})"
            self._learn_part(lesson.take(_rows_of(owners, learn)), len(learn), own, which)
            if windows is not None and number == 0:
                part = windows[0].take(_rows_of(windows[1], learn))
                self._learn_windows(part, len(learn), own)
            # What windows show can be judged by films that their one network has not seen.
            if number == 0 or not self._judges_windows:
                rows = _rows_of(owners, held)
                given = [int(row) for row in owners[rows]]
                on = [places[row] for row in given]
                held_out.append(
                    self._judged(lesson.take(rows), [films[r] for r in given], on, other, own)
                )
        self.confidence_ = calibrated(held_out)

    def _learn_part(self, lesson: Lesson, n_films: int, seed: int, which: str) -> None:
        self.weights_.append(
            teach(
                lesson,
                epochs=self.epochs,
                seed=seed,
                what=f"Learning to find {which}",
                # Half of what is seen are photographs, if any are.
                per_epoch=n_films * (1 if self.augment is True else 2),
            )
        )

    def _learn_windows(self, lesson: Lesson, n_films: int, seed: int) -> None:
        self.window_weights_.append(
            teach_windows(lesson, n_films=n_films, epochs=self.epochs, seed=seed)
        )

    def _windows_of(
        self, films: list[Film], places: list[Place], marks: Floats
    ) -> tuple[Lesson, NDArray[np.int64]]:
        """Return windows around what is annotated, and the position of the film of each."""
        centres, extents = self._in_square(places, marks)
        self._learn_sizes(places, centres)
        sides = self._sides(places, centres, centres if extents is None else extents)
        points = np.stack([p.back(own) for p, own in zip(places, centres, strict=True)])
        cuts, owners = cut_all(films, places, points, sides)
        if extents is None:
            return lesson_of(cuts, points[owners]), owners
        sizes = np.stack([p.extent(own) for p, own in zip(places, extents, strict=True)])
        return lesson_of(cuts, points[owners], sizes[owners]), owners

    def _judged(
        self,
        answers: Lesson,
        films: list[Film],
        places: list[Place],
        other: NDArray[np.int64],
        seed: int,
    ) -> Held:
        """Return what the networks that learned last find on films that they have not seen."""
        coarse = [self._network(self.weights_[-1])]
        kept = self.window_weights_ if self._judges_windows else []
        windows = [self._network(weights) for weights in kept]
        seen = look_at(coarse, answers.images, self.views)
        closer = self._see_closer(windows, read_again(films), places, seen)
        features, centres, extents = self._evidence(places, seen, closer)
        blank = look_at(coarse, scrambled(answers.images, seed), self.views)
        nothing = self._see_closer(windows, read_again(films), places, blank, seed)
        moved, taken = taken_for_another(centres, other)
        mistaken = taken_for_another(features, other)[0]
        mistaken = with_off(mistaken, self.arrangement_.off(moved))[taken]
        is_wrong = self._is_right(moved, extents, answers)[taken] == 0
        is_wrong &= self.arrangement_.known[taken[1]]
        return Held(
            features,
            self._is_right(centres, extents, answers),
            np.concatenate(self._evidence(places, blank, nothing)[0]),
            mistaken[is_wrong],
        )

    def _lesson(self, shown: list[Shown], marks: Floats) -> tuple[Lesson, NDArray[np.intp]]:
        """Return films and photographs of them, and the position of the film of each."""
        every = [
            (one.square, one.place, own, row)
            for row, (one, own) in enumerate(zip(shown, marks, strict=True))
        ]
        for row, (one, own) in enumerate(zip(shown, marks, strict=True)):
            every += [(p.square, p.place, p.marks(own), row) for p in one.photographs]
        squares, places, known, owners = zip(*every, strict=True)
        centres, extents = self._in_square(list(places), np.stack(known))
        side = self.size_ / 2
        lesson = Lesson(
            torch.from_numpy(np.stack(squares))[:, None],
            torch.as_tensor(centres / side - 1, dtype=torch.float32),
            None if extents is None else torch.as_tensor(np.log(extents / side)).float(),
            _stacked([one.masks for one in shown]),
        )
        return lesson, np.array(owners)

    def _learn_sizes(self, places: Sequence[Place], centres: Floats) -> None:
        """Learn what the sides of windows depend on, from centres in pixels of the square."""

    @abstractmethod
    def _sides(self, places: Sequence[Place], centres: Floats, extents: Floats) -> Floats:
        """Return the sides (N, R) of windows; all in pixels of the square."""

    @abstractmethod
    def _in_square(self, places: list[Place], marks: Floats) -> tuple[Floats, Floats | None]:
        """Return centres and extents (N, R, 2) in pixels of the square."""

    @abstractmethod
    def _is_right(self, centres: Floats, extents: Floats, lesson: Lesson) -> Floats:
        """Return where findings (N, R) are right, NaN where nobody knows."""

    # -- looking ---------------------------------------------------------------------------

    def _see_closer(
        self,
        networks: Sequence[nn.Module],
        films: Iterable[Original],
        places: Sequence[Place],
        seen: Seen,
        scrambled_by: int | None = None,
    ) -> Seen | None:
        """Return what is seen in windows around what was found, in pixels of the films."""
        if not networks:
            return None
        sides = self._sides(places, seen.centres, seen.extents)
        centres = on_films(places, seen, None)[0]
        every = joined([cut(*one) for one in zip(films, places, centres, sides, strict=True)])
        if scrambled_by is not None:
            images = scrambled(torch.from_numpy(every.images), scrambled_by)
            every = every._replace(images=images.numpy())
        return look_closer(networks, every, self.views, len(self.names_))

    def _evidence(
        self, places: Sequence[Place], seen: Seen, closer: Seen | None
    ) -> tuple[Floats, Floats, Floats]:
        """Return features of findings, and centres and extents in pixels of the square."""
        centres, extents = seen.centres, seen.extents
        if closer is not None:
            centres = np.stack([p.into(c) for p, c in zip(places, closer.centres, strict=True)])
            extents = closer.extents * np.array([p.scale for p in places])[:, None]
        return features_of(seen, self.arrangement_.off(centres), closer), centres, extents


def _stacked(masks: list[NDArray[np.uint8] | None]) -> Tensor | None:
    known = [mask for mask in masks if mask is not None]
    return torch.from_numpy(np.stack(known)) if known else None


def _rows_of(owners: NDArray[Any], films: NDArray[Any]) -> Tensor:
    """Return the rows that are of some films."""
    return torch.as_tensor(np.flatnonzero(np.isin(owners, films)))


def on_films(places: Sequence[Place], seen: Seen, closer: Seen | None) -> tuple[Floats, Floats]:
    """Return centres and extents (N, R, 2) in pixels of the films."""
    if closer is not None:
        return closer.centres, closer.extents
    centres = [place.back(own) for place, own in zip(places, seen.centres, strict=True)]
    extents = [place.extent(own) for place, own in zip(places, seen.extents, strict=True)]
    return np.stack(centres), np.stack(extents)
