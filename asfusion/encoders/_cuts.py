"""Cuts of films in a folder, so that a film is decoded and looked at once for all processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.encoders._looking import Look, Seen
from asfusion.imaging.read import WHO
from asfusion.imaging.stores._content import ContentStore, digest_of_file, key_of_file
from asfusion.imaging.stores._records import FileKey, Records

# Part of the folder's name: raised when the same file would be cut to other pixels.
_CUTTER = 1
_PLACE = 6 * 8  # bytes of a row of `Seen.places`


class CutStore(ContentStore):
    """A folder of cuts, beside the decoded images that `asfusion.imaging.ImageStore` keeps.

    Its name holds a digest of the finder, the regions, the side in mm and the size.
    """

    _noun: ClassVar[str] = "image"
    _nouns: ClassVar[str] = "image file(s)"

    def __init__(self, folder: str, look: Look) -> None:
        self._look = look
        super().__init__(folder, _CutRecipe(str(Path(folder).absolute()), look))

    def read(self, rows: NDArray[np.int64]) -> list[Seen]:
        """Return what was seen of the films in these rows."""
        return [_unpacked(record, self._look) for record in self._take(rows)]


class _CutRecipe(NamedTuple):
    """What a process needs to cut films for a store."""

    folder: str
    look: Look

    @property
    def who(self) -> str:
        return WHO

    @property
    def shape(self) -> tuple[int]:
        return (_n_pixels(self.look) + len(self.look.tokens) * _PLACE,)

    def open(self) -> Records:
        name = f"cuts-{self.look.digest[:32]}-r{_CUTTER}"
        return Records(Path(self.folder) / name, self.shape, np.dtype("uint8"), "ImageStore")

    def key(self, path: str) -> tuple[FileKey, int] | None:
        return key_of_file(path)

    def digest(self, path: str) -> bytes:
        return digest_of_file(path)

    def decode(self, path: str) -> NDArray[Any]:
        seen = self.look.see(path)
        places = np.ascontiguousarray(seen.places).view(np.uint8)
        return np.concatenate([seen.pixels.ravel(), places.ravel()])


def _n_pixels(look: Look) -> int:
    return len(look.tokens) * look.channels * look.size**2


def _unpacked(record: NDArray[np.uint8], look: Look) -> Seen:
    n = _n_pixels(look)
    shape = (len(look.tokens), look.channels, look.size, look.size)
    places = np.ascontiguousarray(record[n:]).view(np.float64).reshape(-1, 6)
    return Seen(record[:n].reshape(shape), places)
