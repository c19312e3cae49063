"""Regions of films: each found, cut and read by one network, a token for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from asfusion._tokens import Prepared
from asfusion.encoders._at_regions import OnLost
from asfusion.encoders._base import Mode
from asfusion.encoders._looking import Seen
from asfusion.encoders._plain import small_images, with_absent
from asfusion.encoders.image import ImageEncoder
from asfusion.exceptions import ConfigurationError
from asfusion.nn._norms import Norm
from asfusion.nn.image import ImageBackbone
from asfusion.nn.network import Backbone
from asfusion.nn.regions import RegionBackbone


class RegionEncoder(ImageEncoder):
    """Read regions of a film, such as the two sacroiliac joints, each as a picture of its own.

    A finder says where they are, the original film is cut there at its own resolution, and one
    network reads all cuts: a token for each region. Regions that are named alike on both sides
    (``"left_sij"`` and ``"right_sij"``) are seen in one orientation: those on the left are
    mirrored. Which side is which comes from the names in the annotations, never from the picture.

    Parameters
    ----------
    column : str
        The column of paths, or of pictures, as for `ImageEncoder`.
    region : finder or path
        Where to look, as for `ImageEncoder`: a finder with its annotations, fitted on the films
        of the training rows, or the path of a saved one.
    side_mm : float, optional
        Side of each cut, in mm. By default, and of films that do not say how large a pixel is,
        it is 1.25 times the longer side of what was found.
    backbone, weights : str
        The network, as for `ImageEncoder`.
    size : int or "auto"
        Side of a cut, in pixels, as for `ImageEncoder`.
    channels : {1, 3}
        1 reads films as grey, 3 as RGB.
    on_lost : {"missing", "whole", "raise"}
        What becomes of a region that is not found: it has no token, the whole film stands in for
        it, or it is an error. The first two are counted in a warning.
    blackout : bool
        Whether the film is read whole with what would be cut from it black, as one token.
    mode : {"auto", "full", "lora", "last_block", "frozen"}
        Which part of the backbone learns, as for `ImageEncoder`. A frozen backbone embeds each
        film once.
    norm : {"auto", "batch", "frozen", "group"}
        What becomes of batch norms, as for `ImageEncoder`.
    augment : bool or "photograph"
        Whether cuts are turned, moved, scaled and dimmed a little while the backbone learns,
        each by itself.
    d_out : int
        Width of the tokens that fusion sees.
    dropout : float
        Dropout before the adapter.
    on_error : {"raise", "missing"}
        What becomes of a file that is not there or cannot be read.
    download : bool
        Whether a hub name may be downloaded.
    store : str or PathLike, optional
        A folder in which cuts are kept, named by finder, regions, side and size.
    root : str or PathLike, optional
        The folder that relative paths start at; by default the working directory.

    Attributes
    ----------
    columns_ : tuple of str
        The column.
    regions_ : tuple of str
        Names of the tokens, in their order.
    size_ : int
        Side of the cuts, in pixels.
    finder_ : finder
        The fitted finder.
    backbone_config_ : dict
        The architecture and what it expects of pixels.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable, or there is no finder.
    ColumnError
        If the column is missing or holds something other than paths and pictures.
    ImageReadError
        If a file cannot be read and `on_error` is ``"raise"``; on `fit` also if none can.
    InputError
        On `fit`, if no training row has an image; if a region is lost and `on_lost` is
        ``"raise"``.

    Notes
    -----
    A landmark has no extent: without `side_mm`, and on films without mm, a point counts as lost.
    `transform` gives the mean over the regions that were found. `explain` says what each of them
    adds, and maps their pixels back to the film. In films of the sacroiliac joints a network
    that looked at the joints was better than one that saw the whole film [1]_.

    References
    ----------
    .. [1] Dorfner et al., "Incorporating anatomical awareness for enhanced generalizability and
       progression prediction in deep learning-based radiographic sacroiliitis detection", 2024.
       https://doi.org/10.48550/arXiv.2405.07369

    Examples
    --------
    >>> import asfusion as af
    >>> finder = af.anatomy.RegionFinder(epochs=2)
    >>> encoder = af.RegionEncoder("pelvis_xray", region=finder, side_mm=90)
    >>> encoder.describe()
    "'pelvis_xray': a small network trained from scratch, looking at regions of 90 mm"
    """

    kind: ClassVar[str] = "regions"
    _apart: ClassVar[bool] = True
    pool: ClassVar[bool] = True  # type: ignore[misc]  # a token for each region

    def __init__(
        self,
        column: str,
        *,
        region: Any = None,
        side_mm: float | None = None,
        backbone: str = "compact",
        weights: str | None = None,
        size: int | Literal["auto"] = "auto",
        channels: int = 1,
        on_lost: OnLost = "missing",
        blackout: bool = False,
        mode: Mode = "auto",
        norm: Norm = "auto",
        augment: bool | Literal["photograph"] = True,
        d_out: int = 64,
        dropout: float = 0.1,
        on_error: Literal["raise", "missing"] = "raise",
        download: bool = False,
        store: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.column = column
        self.region = region
        self.side_mm = side_mm
        self.backbone = backbone
        self.weights = weights
        self.size = size
        self.channels = channels
        self.on_lost = on_lost
        self.blackout = blackout
        self.mode = mode
        self.norm = norm
        self.augment = augment
        self.d_out = d_out
        self.dropout = dropout
        self.on_error = on_error
        self.download = download
        self.store = store
        self.root = root

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> RegionEncoder:
        """Fit the finder on the films of the training rows, and choose the architecture.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the column of paths.
        y : ignored
            Films are read without targets.
        sample_weight : ignored
            A film is read as it is, whatever its weight.

        Returns
        -------
        RegionEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable, there is no finder, or it cannot be read.
        ColumnError
            If the column is missing or holds something other than paths and pictures.
        ImageReadError
            If no file can be read.
        InputError
            If no row has an image, or none of them is annotated.
        """
        if self.region is None:
            msg = (
                "region: expected a finder with annotations, such as "
                "asfusion.anatomy.RegionFinder, or the path of a saved one, got None."
            )
            raise ConfigurationError(msg)
        super().fit(X)
        self.regions_ = self._look.tokens
        return self

    def plain_features(self, X: Any, device: str = "cpu") -> NDArray[np.float64]:
        """Return embeddings of a frozen backbone, or small grey cuts of 16 x 16 pixels.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of paths.
        device : str
            Where a frozen backbone computes: ``"auto"``, or a torch device.

        Returns
        -------
        ndarray of shape (N, D)
            The mean over regions; NaN for rows without any.
        """
        if not self.needs_training:
            return super().plain_features(X, device)
        prepared = self.prepare(X)
        pixels, mask = prepared.tensors["pixels"], prepared.tensors["mask"].double()
        small = small_images(pixels.flatten(0, 1)).reshape(*mask.shape, -1)
        means = (small * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return with_absent(means, prepared.present)

    def _backbone_of(self, images: ImageBackbone) -> Backbone:
        return RegionBackbone(images)

    def _arranged(self, seen: Sequence[Seen | None]) -> Prepared:
        """Return the cuts of films as rows, regions that are not to be seen masked."""
        n_regions = len(self._look.tokens)
        shape = (len(seen), n_regions, self.channels, self.size_, self.size_)
        pixels, mask = np.zeros(shape, np.uint8), np.zeros(shape[:2], bool)
        for position, one in enumerate(seen):
            if one is not None:
                there = ~one.lost if self.on_lost == "missing" else np.ones(n_regions, bool)
                pixels[position, there], mask[position] = one.pixels[there], there
        tensors = {"pixels": torch.from_numpy(pixels), "mask": torch.from_numpy(mask)}
        return Prepared(tensors, torch.from_numpy(mask.any(axis=1)))
