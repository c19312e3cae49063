"""The inside of a gzip file, read in bounded time and memory.

The reader of the standard library goes byte by byte through the names in a file, and through
any number of empty members. Here zlib does, which also compares each member with its checksum.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

MARK = b"\x1f\x8b"
_BLOCK = 2**16
_MEMBERS = 64  # and one more for each `_MEMBER_BYTES`: files of many blocks have that many
_MEMBER_BYTES = 1024


class Inflated:
    """What a gzip file holds, from its start to its end.

    Parameters
    ----------
    file : binary file
        It stands at its start.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._data = b""
        self._n_members = self._n_bytes = 0
        self._ended = False

    def fill(self, view: memoryview) -> int:
        """Fill a buffer and return how many bytes there were.

        Raises
        ------
        ValueError
            If the file is cut, damaged, or of very many members without content.
        """
        done = 0
        while done < len(view) and not self._ended:
            part = self._next(len(view) - done)
            view[done : done + len(part)] = part
            done += len(part)
        self._n_bytes += done
        return done

    def skip(self, n: int) -> int:
        """Pass over up to `n` bytes and return how many there were."""
        scratch = memoryview(bytearray(min(n, _BLOCK)))
        done = 0
        while done < n and (found := self.fill(scratch[: n - done])):
            done += found
        return done

    def _next(self, most: int) -> bytes:
        """Return some of the next bytes."""
        try:
            part = self._inflater.decompress(self._data, most)
        except zlib.error:
            raise ValueError from None
        self._data = self._inflater.unconsumed_tail
        if self._inflater.eof:
            self._next_member()
        elif not part and not self._data:
            self._data = self._file.read(_BLOCK)
            if not self._data:
                raise ValueError  # cut
        return part

    def _next_member(self) -> None:
        self._data = self._inflater.unused_data
        if len(self._data) < 2:
            self._data += self._file.read(_BLOCK)
        self._ended = not self._data.startswith(MARK)  # zeros, or nothing
        self._n_members += 1
        if self._n_members > _MEMBERS + self._n_bytes // _MEMBER_BYTES:
            raise ValueError
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
