"""Boxes around named regions, found as they were drawn on other films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, in_words
from asfusion._random import RandomState
from asfusion._unfitted import UnfittedError
from asfusion.anatomy._annotations import BOXES, Kind
from asfusion.anatomy._base import Finder
from asfusion.anatomy._learning import Lesson
from asfusion.anatomy._outlined import read_outlines
from asfusion.anatomy._pointing import Shown
from asfusion.anatomy._square import Place
from asfusion.anatomy._windows import sides_around
from asfusion.exceptions import ConfigurationError
from asfusion.imaging._films import Root

Floats = NDArray[np.float64]

_OVERLAP = 0.5  # intersection over union from which on a box is right


class RegionFinder(Finder):
    """Find named regions on films, each as a box, and say how sure that is.

    A small fully convolutional network draws a heat map for each region, and one for each edge of
    its box, of which the mean place along the side counts. Three networks learn from two thirds of
    the patients each, and what each says of the others calibrates the confidence. A film is looked
    at from several views, a little turned, moved and zoomed, of which the median counts. A fourth
    network then looks at a window around each box, cut from the film at its own resolution.

    Parameters
    ----------
    annotations : DataFrame or path of a CSV file
        A row per film and region, with the columns ``film`` (the cell of the film: its path),
        ``region``, ``x0``, ``y0``, ``x1`` and ``y1``: edges of the box from the upper left corner
        of the film as it is stored, so that the first pixel goes from 0 to 1. A region that is not
        annotated on a film is taken for unknown, not for absent.
    unit : {"px", "mm"}
        Of the annotations; mm need films that say their spacing.
    method : {"heat", "masks"}
        ``"masks"``: a U-Net of MONAI (extra ``monai``) draws each region, by Dice and
        cross-entropy, and the box around the largest whole that it draws is what is found.
        Annotations need two columns more, ``mask`` (the label image of the film) and ``code`` (of
        the region in there), as `asfusion.anatomy.read_masks` gives them. What is not annotated
        on a film is unknown there, too. There are neither windows nor photographs.
    size : int
        Side of the square that films are brought to (pixels), a multiple of 16.
    epochs : int
        Passes over the films.
    augment : True or "photograph"
        Films are turned (20 degrees), zoomed (0.6 to 1.5), moved, exposed, inverted, blurred and
        cut at random while learning; with ``"photograph"`` half of them are photographed, too.
    views : int
        Views of a film that are looked at.
    mirrored : "auto" or sequence of (str, str)
        Pairs of regions of which one is the other seen in a mirror; by default those whose names
        differ in left and right. The finder never mirrors: encoders do, to share weights.
    refine : bool
        Whether boxes are refined in windows that are one and a half times as long. With
        ``augment="photograph"`` they never are: windows are learned on films. Boxes of masks are
        not refined either.
    verbose : int
        0 is silent, 1 shows a progress bar on long work.
    random_state : int, RandomState, Generator or None
        Seeds everything.
    root : str or PathLike, optional
        Folder of relative paths, in films and annotations.

    Attributes
    ----------
    names_ : tuple of str
        Regions, in the order of the annotations.
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
    Confidence is the probability that the box overlaps with the true one by more than half
    (intersection over union). It is calibrated on films like those learned from, and knows
    nothing of others. Windows are learned on two thirds of the patients, so that the others can
    judge what comes of them. The heat map with its mean place is that of Nibali et al. [1]_, the
    loss of boxes that of Rezatofighi et al. [2]_. NOTE[DIFF] Edges have maps of their own. Masks
    are drawn by a U-Net [3]_ and judged by the Dice loss [4]_ beside cross-entropy.

    References
    ----------
    .. [1] Nibali et al., "Numerical Coordinate Regression with Convolutional Neural Networks",
       2018. https://doi.org/10.48550/arXiv.1801.07372
    .. [2] Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
       https://doi.org/10.1109/CVPR.2019.00075
    .. [3] Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
       MICCAI 2015. https://doi.org/10.1007/978-3-319-24574-4_28
    .. [4] Milletari et al., "V-Net", 3DV 2016. https://doi.org/10.1109/3DV.2016.79

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> films, rows = [], []
    >>> for x in range(12):
    ...     film = np.full((48, 48), 20, np.uint8)
    ...     film[10 : 22, x : x + 16] = 200
    ...     films.append(film)
    ...     rows.append([film, "block", x, 10, x + 16, 22])
    >>> boxes = pd.DataFrame(rows, columns=["film", "region", "x0", "y0", "x1", "y1"])
    >>> finder = af.anatomy.RegionFinder(boxes, size=32, epochs=1, verbose=0, random_state=0)
    >>> finder.fit(films).find(films[:2]).boxes.shape
    (2, 1, 4)
    """

    _kind: ClassVar[Kind] = BOXES

    def __init__(
        self,
        annotations: Any = None,
        *,
        unit: Literal["px", "mm"] = "px",
        method: Literal["heat", "masks"] = "heat",
        size: int = 96,
        epochs: int = 60,
        augment: Literal[True, "photograph"] = True,
        views: int = 5,
        mirrored: Any = "auto",
        refine: bool = True,
        verbose: int = 1,
        random_state: RandomState = None,
        root: Root = None,
    ) -> None:
        self.annotations = annotations
        self.unit = unit
        self.method = method
        self.size = size
        self.epochs = epochs
        self.augment = augment
        self.views = views
        self.mirrored = mirrored
        self.refine = refine
        self.verbose = verbose
        self.random_state = random_state
        self.root = root

    def _check_params(self) -> None:
        super()._check_params()
        check_choice(self.method, "method", ("heat", "masks"))
        if self._draws_masks and self.augment is not True:
            msg = (
                f"augment: expected True with method='masks', got {in_words(self.augment)}. Only "
                "method='heat' learns from photographs."
            )
            raise ConfigurationError(msg)
        if not isinstance(self.refine, bool):
            msg = f"refine: expected True or False, got {in_words(self.refine)}."
            raise ConfigurationError(msg)

    @property
    def _refines(self) -> bool:
        return self.refine and self.augment is True and not self._draws_masks

    @property
    def _draws_masks(self) -> bool:
        return self.method == "masks"

    def _outlined(self, shown: list[Shown], keys: Sequence[str]) -> list[Shown]:
        if not self._draws_masks:
            return shown
        places = [film.place for film in shown]
        masks = read_outlines(self.annotations, keys, self.names_, places, self.size_, self.root)
        return [film._replace(masks=own) for film, own in zip(shown, masks, strict=True)]

    def _sides(self, places: Sequence[Place], centres: Floats, extents: Floats) -> Floats:
        return sides_around(places, extents)

    def _check_refined(self) -> None:
        learned = "heat" if "heat.weight" in self.weights_[0] else "masks"
        if self.method != learned:
            msg = f"RegionFinder: expected method={learned!r}, as it was fitted. Fit it again."
            raise UnfittedError(msg)
        if self._refines != bool(self.window_weights_):
            fitted = bool(self.window_weights_)
            msg = f"RegionFinder: expected refine={fitted}, as it was fitted. Fit it again."
            raise UnfittedError(msg)

    def _settings(self) -> tuple[object, ...]:
        return *super()._settings(), self.method, self._refines

    def _in_square(self, places: list[Place], marks: Floats) -> tuple[Floats, Floats]:
        corners = np.stack(
            [p.into(m.reshape(-1, 2, 2)) for p, m in zip(places, marks, strict=True)]
        )
        low, high = corners[:, :, 0], corners[:, :, 1]
        return (low + high) / 2, np.maximum(high - low, 0.5)

    def _is_right(self, centres: Floats, extents: Floats, lesson: Lesson) -> Floats:
        shared = overlap(centres, extents, *lesson.in_pixels())
        return np.where(np.isfinite(shared), shared > _OVERLAP, np.nan)


def overlap(centres: Floats, extents: Floats, true_centres: Floats, true: Floats) -> Floats:
    """Return intersection over union (N, R) of boxes; NaN where one is unknown."""
    low = np.maximum(centres - extents / 2, true_centres - true / 2)
    high = np.minimum(centres + extents / 2, true_centres + true / 2)
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    return np.asarray(shared / (extents.prod(axis=-1) + true.prod(axis=-1) - shared))
