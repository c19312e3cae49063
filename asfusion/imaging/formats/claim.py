"""What a file asks of a decoder, found without one."""

from __future__ import annotations

from typing import NamedTuple

from asfusion.exceptions import ImageReadError

MAX_BESIDE = 16 * 2**20  # bytes of what is no pixel: profiles, texts, tables, all unpacked
MAX_DIRECTORY = 4 * 2**20  # bytes that the entries of one block of EXIF may point at
MAX_PARTS = 4096  # segments of a JPEG before its pixels, entries of a TIFF directory
MAX_IMAGES = 1000  # that are counted, to say how many


class Claim(NamedTuple):
    """What a file asks of its decoder.

    Parameters
    ----------
    kind : {"PNG", "JPEG", "TIFF"}
        What it is.
    n_images : int
        How many images it holds; no more are counted than `MAX_IMAGES`.
    is_hard : bool
        Whether what it costs to decode is not bounded by the pixels that come of it.
    """

    kind: str
    n_images: int = 1
    is_hard: bool = False


def damaged(kind: str) -> ImageReadError:
    """Return what to raise where a file cannot be followed from its start to its end."""
    return ImageReadError(f"expected a readable {kind} file, got one that is damaged or cut short.")


def check_beside(kind: str, n_bytes: int, most: int = MAX_BESIDE) -> None:
    """Raise where a file holds far more than its picture."""
    if n_bytes > most:
        msg = (
            f"expected a {kind} file with at most {most // 2**20} MiB of texts, profiles and "
            "tables beside its picture, got more. Save the picture alone."
        )
        raise ImageReadError(msg)
