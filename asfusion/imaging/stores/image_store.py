"""A cohort of images, decoded once, to be read as batches ever after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, in_words
from asfusion._door import public
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.read import WHO, read_pixels
from asfusion.imaging.stores._content import ContentStore, digest_of_file, key_of_file
from asfusion.imaging.stores._records import FileKey, Records

# Part of the folder's name: raised when the same file would be read as other pixels.
_READER = 1


class ImageStore(ContentStore):
    """A folder of decoded images at training size, memory-mapped.

    Each image is decoded once, whatever its file is called and however often it is used:
    records are found by the content of the file. A renamed or copied file is not decoded
    again, a changed one is. Several processes may fill one store, and a killed one leaves
    it whole.

    Parameters
    ----------
    folder : str or PathLike
        Where the store is, or is to be. Stores of other settings may share the folder.
    size : int
        Side of the images, in pixels; see `asfusion.imaging.read_image`.
    channels : {1, 3}
        1 for grey, 3 for RGB.
    dtype : {"uint8", "uint16"}
        ``"uint16"`` keeps finer steps of grey of files that have them, at twice the room.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable.
    StoreError
        If the folder cannot be made or written.

    Notes
    -----
    The store holds pixels, digests (SHA-256) of files, and their numbers and times on the
    disk; no names. The pixels are as confidential as the files. Each record has a checksum
    that is compared the first time a process reads it.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> from PIL import Image
    >>> from asfusion.imaging import ImageStore
    >>> folder = tempfile.TemporaryDirectory()
    >>> files = [pathlib.Path(folder.name) / f"{i}.png" for i in range(3)]
    >>> for i, file in enumerate(files):
    ...     Image.fromarray(np.full((40, 30), 80 * i, dtype=np.uint8)).save(file)
    >>> store = ImageStore(pathlib.Path(folder.name) / "store", size=32)
    >>> rows = store.ingest([files[0], None, files[2]])
    >>> rows.tolist(), len(store)
    ([0, -1, 1], 2)
    >>> store.read(rows).shape
    (3, 1, 32, 32)
    >>> del store
    >>> folder.cleanup()
    """

    _noun: ClassVar[str] = "image"
    _nouns: ClassVar[str] = "image file(s)"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int = 224,
        channels: int = 1,
        dtype: Literal["uint8", "uint16"] = "uint8",
    ) -> None:
        self.size = check_integer(size, "size", minimum=1)
        if channels not in (1, 3) or isinstance(channels, bool):
            msg = f"channels: expected 1 (grey) or 3 (RGB), got {in_words(channels)}."
            raise ConfigurationError(msg)
        self.channels = channels
        self.dtype = check_choice(dtype, "dtype", ("uint8", "uint16"))
        recipe = _Recipe(str(Path(folder).absolute()), self.size, channels, self.dtype)
        super().__init__(folder, recipe)

    @public
    def read(self, rows: Any) -> NDArray[Any]:
        """Return images by row, or by path, in one index operation.

        Parameters
        ----------
        rows : array-like of int, or iterable of str, PathLike or None
            N rows as `ingest` returned them, -1 for no image; or N paths, which are
            ingested first where they are new.

        Returns
        -------
        ndarray of shape (N, channels, size, size), uint8 or uint16
            A copy, zeros where there is no image; `torch.from_numpy` takes it as it is.

        Raises
        ------
        InputError
            If a row is not in the store.
        StoreError
            If a record is damaged and only its row is known.
        ImageReadError
            If a file cannot be read.
        """
        return self._take(rows)

    @property
    def info(self) -> dict[str, Any]:
        """Number of images, size (pixels), channels, dtype and room on the disk (bytes)."""
        return {
            "n_images": len(self),
            "size": self.size,
            "channels": self.channels,
            "dtype": self.dtype,
            "n_bytes": len(self._records) * self._records.record_bytes,
        }

    def __repr__(self) -> str:
        """Return the settings and the number of images."""
        return (
            f"<ImageStore of {len(self)} images, {self.channels} x {self.size} x {self.size} "
            f"{self.dtype}>"
        )

    def _repr_html_(self) -> str:
        """Return the settings and a sheet of the first images, for notebooks."""

        def pictures(rows: list[int]) -> NDArray[np.uint8]:
            pixels = self.read(rows)
            return (pixels >> 8).astype(np.uint8) if self.dtype == "uint16" else pixels

        what = f"images of {self.channels} x {self.size} x {self.size} {self.dtype}"
        return self._sheet(pictures, what)


class _Recipe(NamedTuple):
    """What a process needs to decode images for a store."""

    folder: str
    size: int
    channels: int
    dtype: str

    @property
    def who(self) -> str:
        return WHO

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    def open(self) -> Records:
        name = f"{self.dtype}-{self.channels}x{self.size}x{self.size}-r{_READER}"
        return Records(Path(self.folder) / name, self.shape, np.dtype(self.dtype), "ImageStore")

    def key(self, path: str) -> tuple[FileKey, int] | None:
        return key_of_file(path)

    def digest(self, path: str) -> bytes:
        return digest_of_file(path)

    def decode(self, path: str) -> NDArray[Any]:
        bits = 16 if self.dtype == "uint16" else 8
        return read_pixels(path, self.size, self.channels, bits)
