"""Named points, found as they were set on other films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion._random import RandomState
from asfusion._unfitted import UnfittedError
from asfusion.anatomy._annotations import POINTS, Kind
from asfusion.anatomy._base import Finder
from asfusion.anatomy._learning import Lesson
from asfusion.anatomy._square import Place
from asfusion.anatomy._windows import side_in_square, usual_share
from asfusion.imaging._films import Root

Floats = NDArray[np.float64]

_NEAR = 0.25  # of the way to the nearest other point
_ALONE = 0.04  # of the side of the square, where there is one point only


class LandmarkFinder(Finder):
    """Find named points on films, and say how sure that is.

    As `RegionFinder`, with a heat map for each point. A second network then looks at a window
    around each point, cut from the film at its own resolution.

    Parameters
    ----------
    annotations : DataFrame or path of a CSV file
        A row per film and point, with the columns ``film`` (the cell of the film: its path),
        ``point``, ``x`` and ``y``, from the upper left corner of the film as it is stored: the
        centre of the first pixel is at 0.5. A point that is not annotated on a film is taken for
        unknown, not for absent.
    unit : {"px", "mm"}
        Of the annotations; mm need films that say their spacing.
    size : int
        Side of the square that films are brought to (pixels), a multiple of 16.
    epochs : int
        Passes over the films.
    augment : True or "photograph"
        As in `RegionFinder`.
    views : int
        Views of a film that are looked at.
    mirrored : "auto" or sequence of (str, str)
        Pairs of points of which one is the other seen in a mirror, as in `RegionFinder`.
    refine_mm : float or None
        Side of the windows (mm); None leaves points as they are found on the whole film. Where
        films do not say their spacing, the windows are as large a part of all points' extent as
        they are on films that do, or a sixth of it.
    verbose : int
        0 is silent, 1 shows a progress bar on long work.
    random_state : int, RandomState, Generator or None
        Seeds everything.
    root : str or PathLike, optional
        Folder of relative paths, in films and annotations.

    Attributes
    ----------
    names_ : tuple of str
        Points, in the order of the annotations.
    mirrored_ : tuple of (str, str)
        Pairs in a mirror.
    trained_on_ : frozenset of str
        Digests of the contents of the films learned from.

    Raises
    ------
    ConfigurationError
        In `fit`, if a parameter has an unusable value.

    Notes
    -----
    Confidence is the probability that a point is nearer to its place than a quarter of the way to
    the next point: that it is not another one. It is learned from how peaked the heat is, how far
    views are apart, both on the film and in windows, and from how far the point is off its
    arrangement: where pairs of other points say that it is. It is calibrated on films like those
    learned from, and knows nothing of others. With ``augment="photograph"`` it is that of points
    before they are refined.

    References
    ----------
    Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks", 2018.
    https://doi.org/10.48550/arXiv.1801.07372

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> films, rows = [], []
    >>> for x in range(12):
    ...     film = np.full((48, 48), 20, np.uint8)
    ...     film[10 : 22, x : x + 16] = 200
    ...     films.append(film)
    ...     rows += [[film, "head", x, 10], [film, "foot", x + 16, 22]]
    >>> points = pd.DataFrame(rows, columns=["film", "point", "x", "y"])
    >>> finder = af.anatomy.LandmarkFinder(points, size=32, epochs=1, verbose=0, random_state=0)
    >>> finder.fit(films).find(films[:2]).points.shape
    (2, 2, 2)
    """

    _kind: ClassVar[Kind] = POINTS

    share_: float

    def __init__(
        self,
        annotations: Any = None,
        *,
        unit: Literal["px", "mm"] = "px",
        size: int = 96,
        epochs: int = 60,
        augment: Literal[True, "photograph"] = True,
        views: int = 5,
        mirrored: Any = "auto",
        refine_mm: float | None = 36.0,
        verbose: int = 1,
        random_state: RandomState = None,
        root: Root = None,
    ) -> None:
        self.annotations = annotations
        self.unit = unit
        self.size = size
        self.epochs = epochs
        self.augment = augment
        self.views = views
        self.mirrored = mirrored
        self.refine_mm = refine_mm
        self.verbose = verbose
        self.random_state = random_state
        self.root = root

    def _check_params(self) -> None:
        super()._check_params()
        if self.refine_mm is not None:
            check_number(self.refine_mm, "refine_mm", minimum=1.0, maximum=1000.0)

    def _learn_sizes(self, places: Sequence[Place], centres: Floats) -> None:
        assert self.refine_mm is not None
        self.share_ = usual_share(places, centres, self.refine_mm)

    def _sides(self, places: Sequence[Place], centres: Floats, extents: Floats) -> Floats:
        assert self.refine_mm is not None
        sides = [
            side_in_square(place, own, self.refine_mm, self.share_)
            for place, own in zip(places, centres, strict=True)
        ]
        return np.repeat(np.array(sides)[:, None], centres.shape[1], axis=1)

    def _check_refined(self) -> None:
        if self._refines != bool(self.window_weights_):
            fitted = "a number (mm)" if self.window_weights_ else "None"
            msg = f"LandmarkFinder: expected refine_mm={fitted}, as it was fitted. Fit it again."
            raise UnfittedError(msg)

    @property
    def _refines(self) -> bool:
        return self.refine_mm is not None

    def _settings(self) -> tuple[object, ...]:
        return *super()._settings(), self.refine_mm, getattr(self, "share_", None)

    def _check_restored(self) -> None:
        super()._check_restored()
        if self.window_weights_:
            check_number(self.share_, "share_", minimum=0.0, maximum=1e3)

    def _in_square(self, places: list[Place], marks: Floats) -> tuple[Floats, None]:
        return np.stack([p.into(m) for p, m in zip(places, marks, strict=True)]), None

    def _is_right(self, centres: Floats, extents: Floats, lesson: Lesson) -> Floats:
        true, _ = lesson.in_pixels()
        apart = np.linalg.norm(centres - true, axis=-1)
        return np.where(np.isfinite(apart), apart < _tolerance(true, self.size_), np.nan)


def _tolerance(centres: Floats, size: int) -> float:
    """Return how near a point (pixels of the square) has to be so that it is no other."""
    others = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    others[:, np.eye(centres.shape[1], dtype=bool)] = np.inf
    nearest = np.where(np.isfinite(others), others, np.inf).min(axis=2)
    known = nearest[np.isfinite(nearest)]
    return _NEAR * float(np.median(known)) if len(known) else _ALONE * size
