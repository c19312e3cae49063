"""Volumes: columns of series to voxels on one grid, and voxels to tokens by a 3-D network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._frames import Frame
from asfusion.encoders._base import Mode
from asfusion.encoders._series import SeriesEncoder
from asfusion.imaging.augment import StackAugment
from asfusion.imaging.volumes._grid_plan import (
    GridPlan,
    Window,
    check_shape,
    check_spacing,
    check_window,
)
from asfusion.nn._norms import Norm, resolve_norm
from asfusion.nn.network import Backbone, EncoderNetwork, pretrained_rate
from asfusion.nn.volume import build_volume_backbone, describe_volume_backbone

_SMALLEST = (1, 32, 32)  # below this, networks have no position left at their end


class VolumeEncoder(SeriesEncoder):
    """Read one volume per row, or several sequences of it, by a 3-D network.

    Cells are paths of folders of DICOM slices, or whatever else
    `asfusion.imaging.read_series` reads. Several columns, such as a STIR and a T1 of the
    same joints, are sequences of one modality: they pass through one shared network and give
    one token each. A missing cell is a missing sequence; a row without any lacks the modality.

    Parameters
    ----------
    columns : str or list of str
        The column of paths, or one column per sequence.
    backbone : str
        - ``"compact_3d"``: a small residual network for a few hundred volumes.
        - ``"resnet18_3d"``, ``"resnet50_3d"``, ``"resnet101_3d"``, ``"densenet121_3d"``: by
          MONAI, from the extra ``monai``.
    weights : str, optional
        Weights for the backbone: a safetensors file, a folder with ``model.safetensors``, or a
        name on the Hugging Face hub. Those of the 2-D network of the same name are inflated:
        repeated along Z, and summed over colours.
    shape : tuple of three int, or "auto"
        Voxels (Z, Y, X) that the network reads; ``"auto"`` is (16, 96, 96) for
        ``"compact_3d"`` and (16, 128, 128) otherwise.
    spacing : tuple of three float, optional
        Distance of these voxels along Z, Y and X in mm, the same for all patients: a volume
        is then centred, and cut or filled with black. By default each volume is fitted in as
        a whole, its slices from first to last, its plane with the proportions in mm kept.
    window : (float, float) or "auto"
        What becomes black and what white, in the units of the file, such as (-160, 240) HU
        for CT. ``"auto"`` takes percentiles 0.5 and 99.5 of each volume, as suits MRI,
        whose values have no unit.
    region : finder or path, optional
        Where to look: a finder with annotations, as for `ImageEncoder`, whose ``film`` is the cell
        of a series and whose pixels are those of its middle slice; `fit` fits a copy of it on the
        training rows. Or the path of a saved one. What is around all its regions on the middle
        slice is cut from every slice; where it is not found, whole slices are read, with a warning.
        Cuts are not kept in the `store`.
    side_mm : float, optional
        Side of that square in mm; by default 1.25 times the longer side of what was found.
    mode : {"auto", "full", "last_block", "frozen"}
        Which part of the backbone learns. ``"auto"`` freezes what is pretrained and trains
        what is not. A frozen backbone embeds each series once.
    norm : {"auto", "batch", "frozen", "group"}
        Batch norms learn (``"batch"``), keep the statistics of the pretraining
        (``"frozen"``), or are replaced by group norms (``"group"``), for batches of a few
        volumes. ``"auto"`` keeps what is pretrained, and learns otherwise.
    pool : bool
        Whether a sequence becomes one token, the mean over its positions. False gives one
        token per position.
    augment : bool
        Whether volumes are moved and dimmed a little while the backbone learns
        (`asfusion.imaging.StackAugment`). Left and right are never exchanged.
    d_out : int
        Width of the tokens that fusion sees.
    dropout : float
        Dropout before the adapter.
    on_gap : {"raise", "fill"}
        What becomes of a series in which slices are missing.
    on_error : {"raise", "missing"}
        What becomes of a series that is not there or cannot be read: an error that names the
        row's position, or a missing sequence with a warning that counts them.
    download : bool
        Whether weights may be downloaded from the hub. Without it only local files are read.
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
        Voxels (Z, Y, X) that the network reads.
    backbone_config_ : dict
        The architecture and what it expects of voxels.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If a column is missing or holds something other than paths.
    ImageReadError
        If a series cannot be read and `on_error` is ``"raise"``; on `fit` also if none can.
    InputError
        On `fit`, if no training row has a series.

    References
    ----------
    .. [1] Hara, Kataoka and Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs
       and ImageNet?", CVPR 2018. https://doi.org/10.1109/CVPR.2018.00685
    .. [2] Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017.
       https://doi.org/10.1109/CVPR.2017.502

    Examples
    --------
    >>> import tempfile, asfusion as af
    >>> folder = tempfile.TemporaryDirectory()
    >>> cohort = af.datasets.make_axspa_cohort(
    ...     3, random_state=0, path=folder.name, modalities=["mri"])
    >>> encoder = af.VolumeEncoder(["mri_stir", "mri_t1"], shape=(8, 32, 32)).fit(cohort.X)
    >>> tuple(encoder.prepare(cohort.X).tensors["voxels"].shape)
    (3, 2, 8, 32, 32)
    >>> encoder.transform(cohort.X).shape
    (3, 64)
    >>> folder.cleanup()
    """

    _embed_rows: ClassVar[int] = 2

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        backbone: str = "compact_3d",
        weights: str | None = None,
        shape: tuple[int, int, int] | Literal["auto"] = "auto",
        spacing: tuple[float, float, float] | None = None,
        window: Window = "auto",
        region: Any = None,
        side_mm: float | None = None,
        mode: Mode = "auto",
        norm: Norm = "auto",
        pool: bool = True,
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
        self.shape = shape
        self.spacing = spacing
        self.window = window
        self.region = region
        self.side_mm = side_mm
        self.mode = mode
        self.norm = norm
        self.pool = pool
        self.augment = augment
        self.d_out = d_out
        self.dropout = dropout
        self.on_gap = on_gap
        self.on_error = on_error
        self.download = download
        self.store = store
        self.root = root

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VolumeEncoder:
        """Check the columns and choose the architecture; voxels teach nothing here.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the columns of paths. One series is read, to see that the
            paths lead somewhere.
        y : ignored
            Volumes are read without targets.
        sample_weight : ignored
            A volume is read as it is, whatever its weight.

        Returns
        -------
        VolumeEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable.
        ColumnError
            If a column is missing or holds something other than paths.
        ImageReadError
            If no series can be read.
        InputError
            If no row has a series.
        """
        names = self._names()
        self._check_common()
        check_spacing(self.spacing)
        plan = describe_volume_backbone(
            self.backbone,
            n_sequences=len(names),
            shape=None if self.shape == "auto" else check_shape(self.shape, smallest=_SMALLEST),
            norm=resolve_norm(self.norm, pretrained=self.has_weights),
        )
        frame = Frame.read(X)
        frame.check_columns(names, "VolumeEncoder")
        self._check_readable(frame)
        self._fit_finder(frame)
        self.__dict__.pop("network_", None)  # a network of another architecture is of no use
        self.columns_ = names
        self.backbone_config_ = plan
        self.shape_ = check_shape(plan["shape"], smallest=_SMALLEST)
        return self

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        Parameters
        ----------
        pretrained : bool
            Whether to load pretrained weights, if any were named.

        Returns
        -------
        EncoderNetwork
            Backbone and adapter to ``d_out``.
        """
        check_is_fitted(self)

        def make() -> Backbone:
            return build_volume_backbone(
                self.backbone_config_,
                pool=self.pool,
                augment=StackAugment() if self.augment and not self.is_frozen else None,
                weights=self.weights if pretrained else None,
                download=self.download,
            )

        sources = [self.weights] if pretrained and self.weights is not None else []
        return EncoderNetwork(
            self._made_once(make, sources, self.backbone_config_, self.pool),
            d_out=self.d_out,
            dropout=self.dropout,
            training_mode=self._training_mode(),
            learning_rate_scale=pretrained_rate(self._training_mode(), brought=self.has_weights),
            hold_statistics=self.backbone_config_["norm"] == "frozen",
        )

    @property
    def has_weights(self) -> bool:
        """Whether the backbone starts from weights of others."""
        return self.weights is not None

    def _grid_plan(self) -> GridPlan:
        window = check_window(self.window)
        return GridPlan(self.shape_, "volume", check_spacing(self.spacing), window)

    def _mask_of(self, slices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return slices > 0

    def _embedding_settings(self) -> object:
        return (super()._embedding_settings(), self.spacing, self.pool)
