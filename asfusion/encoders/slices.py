"""Volumes slice by slice: a 2-D network for each slice, and attention over the slices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_integer
from asfusion._frames import Frame
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._base import MODES, Mode
from asfusion.encoders._embedding import embed_prepared
from asfusion.encoders._series import SeriesEncoder
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.augment import StackAugment
from asfusion.imaging.volumes._grid_plan import GridPlan, Window, check_window
from asfusion.nn._norms import Norm, resolve_norm
from asfusion.nn.image import (
    build_image_backbone,
    describe_image_backbone,
    is_pretrained,
    weights_sources,
)
from asfusion.nn.network import Backbone, EncoderNetwork, pretrained_rate
from asfusion.nn.volume import GatedAttentionPool, SliceBackbone


class SliceEncoder(SeriesEncoder):
    """Read volumes slice by slice: a 2-D network per slice, gated attention over slices.

    Every slice passes through one 2-D network, which may be pretrained on photographs and
    frozen. A small network then weighs the slices [1]_: their weighted sum is the token of the
    sequence, and the weights say where it looked (`attention`). Cells and sequences are
    those of `VolumeEncoder`.

    Parameters
    ----------
    columns : str or list of str
        The column of paths, or one column per sequence.
    backbone : str
        Any backbone of `ImageEncoder`: ``"compact"``, ``"efficientnet_lite0"`` with weights
        from ImageNet, an architecture, a folder or a name on the Hugging Face hub.
    weights : str, optional
        Weights for an architecture that brings none, as for `ImageEncoder`.
    size : int or "auto"
        Side of the square that a slice is fitted into, in pixels, its proportions in mm kept;
        ``"auto"`` is what `ImageEncoder` would take.
    n_slices : int or "auto"
        Slices that are kept of a series; longer ones are brought to that number along the
        whole stack, shorter ones are read as they are. ``"auto"`` is the number in the first
        series that can be read.
    window : (float, float) or "auto"
        What becomes black and what white, in the units of the file; ``"auto"`` takes
        percentiles 0.5 and 99.5 of each volume.
    region : finder or path, optional
        Where to look: a finder with annotations, as for `ImageEncoder`, whose ``film`` is the cell
        of a series and whose pixels are those of its middle slice; `fit` fits a copy of it on the
        training rows. Or the path of a saved one. What is around all its regions on the middle
        slice is cut from every slice; where it is not found, whole slices are read, with a warning.
        Cuts are not kept in the `store`.
    side_mm : float, optional
        Side of that square in mm; by default 1.25 times the longer side of what was found.
    mode : {"auto", "full", "lora", "last_block", "frozen"}
        Which part of the 2-D network learns; attention learns always. ``"auto"`` freezes what
        is pretrained and trains what is not. A frozen network embeds each series once.
        ``"lora"`` is as for `ImageEncoder`.
    norm : {"auto", "batch", "frozen", "group"}
        What becomes of batch norms, as for `ImageEncoder`.
    augment : bool
        Whether slices are moved and dimmed a little while the network learns, all slices of
        a patient alike (`asfusion.imaging.StackAugment`).
    d_out : int
        Width of the tokens that fusion sees.
    dropout : float
        Dropout before the adapter.
    on_gap : {"raise", "fill"}
        What becomes of a series in which slices are missing.
    on_error : {"raise", "missing"}
        What becomes of a series that is not there or cannot be read.
    download : bool
        Whether a hub name may be downloaded. Without it only local files are read.
    store : str or PathLike, optional
        A folder in which voxels are kept (`asfusion.imaging.SeriesStore`): each series is
        decoded and laid on its grid once, for all fits, folds and processes.
    root : str or PathLike, optional
        The folder that relative paths start at; by default the working directory.

    Attributes
    ----------
    columns_ : tuple of str
        The columns of paths.
    shape_ : tuple of three int
        Slices, rows and columns that are read.
    backbone_config_ : dict
        The architecture and what it expects of pixels.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable or a pretrained model cannot be read.
    ColumnError
        If a column is missing or holds something other than paths.
    ImageReadError
        If a series cannot be read and `on_error` is ``"raise"``; on `fit` also if none can.
    InputError
        On `fit`, if no training row has a series.

    Notes
    -----
    `transform` gives the plain mean over slices, which needs no target. Attention is learned
    by joint fusion, or by late fusion.

    References
    ----------
    .. [1] Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning",
       ICML 2018. https://doi.org/10.48550/arXiv.1802.04712

    Examples
    --------
    >>> import tempfile, asfusion as af
    >>> folder = tempfile.TemporaryDirectory()
    >>> cohort = af.datasets.make_axspa_cohort(
    ...     3, random_state=0, path=folder.name, modalities=["mri"])
    >>> encoder = af.SliceEncoder("mri_stir", size=32).fit(cohort.X)
    >>> encoder.attention(cohort.X).shape  # rows, sequences, slices
    (3, 1, 12)
    >>> folder.cleanup()
    """

    _embed_rows: ClassVar[int] = 1
    _modes: ClassVar[tuple[str, ...]] = MODES

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        backbone: str = "compact",
        weights: str | None = None,
        size: int | Literal["auto"] = "auto",
        n_slices: int | Literal["auto"] = "auto",
        window: Window = "auto",
        region: Any = None,
        side_mm: float | None = None,
        mode: Mode = "auto",
        norm: Norm = "auto",
        augment: bool = True,
        d_out: int = 64,
        dropout: float = 0.1,
        on_gap: Literal["raise", "fill"] = "raise",
        on_error: Literal["raise", "missing"] = "raise",
        download: bool = False,
        store: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.columns = columns
        self.backbone = backbone
        self.weights = weights
        self.size = size
        self.n_slices = n_slices
        self.window = window
        self.region = region
        self.side_mm = side_mm
        self.mode = mode
        self.norm = norm
        self.augment = augment
        self.d_out = d_out
        self.dropout = dropout
        self.on_gap = on_gap
        self.on_error = on_error
        self.download = download
        self.store = store
        self.root = root

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> SliceEncoder:
        """Check the columns and choose the architecture; pixels teach nothing here.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the columns of paths. One series is read, to see that the
            paths lead somewhere.
        y : ignored
            Slices are read without targets.
        sample_weight : ignored
            A series is read as it is, whatever its weight.

        Returns
        -------
        SliceEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable or a pretrained model cannot be read.
        ColumnError
            If a column is missing or holds something other than paths.
        ImageReadError
            If no series can be read.
        InputError
            If no row has a series.
        """
        names = self._names()
        if not isinstance(self.backbone, str) or not self.backbone:
            msg = f"backbone: expected a non-empty str, got {type(self.backbone).__name__}."
            raise ConfigurationError(msg)
        self._check_common()
        if self.size != "auto":
            check_integer(self.size, "size", minimum=32)
        if self.n_slices != "auto":
            check_integer(self.n_slices, "n_slices", minimum=1)
        frame = Frame.read(X)
        frame.check_columns(names, "SliceEncoder")
        plan = describe_image_backbone(
            self.backbone,
            size=None if self.size == "auto" else int(self.size),
            norm=resolve_norm(self.norm, pretrained=self.has_weights),
            weights=self.weights,
            download=self.download,
        )
        first = self._check_readable(frame)
        self._fit_finder(frame)
        self.__dict__.pop("network_", None)  # a network of another architecture is of no use
        self.columns_ = names
        self.backbone_config_ = plan
        side = int(plan["size"])
        n_slices = len(first.values) if self.n_slices == "auto" else int(self.n_slices)
        self.shape_ = (n_slices, side, side)
        return self

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        Parameters
        ----------
        pretrained : bool
            Whether to load pretrained weights, if the backbone has any.

        Returns
        -------
        EncoderNetwork
            Backbone, adapter to ``d_out``, and attention over slices.
        """
        check_is_fitted(self)

        def make() -> Backbone:
            images = build_image_backbone(
                self.backbone_config_,
                source=self.backbone if pretrained and is_pretrained(self.backbone) else None,
                weights=self.weights if pretrained else None,
                download=self.download,
            )
            return SliceBackbone(images, augment)

        augment = StackAugment() if self.augment and not self.is_frozen else None
        sources = weights_sources(self.backbone, self.weights) if pretrained else []
        return EncoderNetwork(
            self._made_once(make, sources, self.backbone_config_),
            d_out=self.d_out,
            dropout=self.dropout,
            training_mode=self._training_mode(),
            learning_rate_scale=pretrained_rate(self._training_mode(), brought=self.has_weights),
            hold_statistics=self.backbone_config_["norm"] == "frozen",
            pooling=GatedAttentionPool(
                self.d_out, n_sequences=len(self.columns_), n_slices=self.shape_[0]
            ),
        )

    def attention(self, X: Any) -> NDArray[np.float64]:
        """Return how much each slice weighs in its sequence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of paths.

        Returns
        -------
        ndarray of shape (N, S, Z)
            Weights that add up to one per sequence; zeros where there is no slice. They are
            those of the trained network once an estimator has trained this encoder.
        """
        return self.attention_of(self.embed(X))

    def attention_of(self, prepared: Prepared) -> NDArray[np.float64]:
        """Return what `attention` gives, from rows that `prepare` or `embed` made.

        Parameters
        ----------
        prepared : Prepared
            N rows as tensors, embedded already or not.

        Returns
        -------
        ndarray of shape (N, S, Z)
            Weights that add up to one per sequence.
        """
        embedded = prepared
        if not prepared.is_embedded:
            embedded = embed_prepared(self._network(), prepared, self._embed_rows)
        network = self._network().eval()
        with torch.no_grad():
            tokens = embedded.tokens()
            dtype = next(network.adapter.parameters()).dtype
            adapted = Tokens(network.adapter(tokens.values.to(dtype)), tokens.mask)
            weights = cast(GatedAttentionPool, network.pooling).weights(adapted)
        return weights.to(torch.float64).numpy()

    @property
    def has_weights(self) -> bool:
        """Whether the backbone starts from weights of others."""
        return self.weights is not None or is_pretrained(self.backbone)

    def _grid_plan(self) -> GridPlan:
        return GridPlan(self.shape_, "slices", window=check_window(self.window))

    def _mask_of(self, slices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.arange(self.shape_[0]) < slices[:, :, None]
