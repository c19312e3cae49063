"""Pictures that are in memory already: bytes of a file, arrays, and images of Pillow.

They are read as files of the same content are, and leave no trace.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging._cells import is_pillow
from asfusion.imaging._guard import guarded
from asfusion.imaging._limits import MAX_BYTES, check_declared
from asfusion.imaging._picture import Picture
from asfusion.imaging._pillow import check_held, decode_pillow, orientation, shown_size
from asfusion.imaging.dicom.encoding import looks_like_dicom
from asfusion.imaging.dicom.picture import read_dicom
from asfusion.imaging.extent import Extent, read_extent
from asfusion.imaging.read import WHO, read_ordinary, shown

if TYPE_CHECKING:
    from PIL import Image

Content: TypeAlias = "bytes | bytearray | memoryview | NDArray[Any] | Image.Image"

_KINDS = "PNG, JPEG, TIFF or single-frame DICOM file"


def read_content(content: Content, size: int | None, channels: int) -> NDArray[np.uint8]:
    """Return pixels (channels, H, W) as `read_image` does from a file.

    Parameters
    ----------
    content : bytes, ndarray or PIL.Image.Image
        Bytes of a PNG, JPEG, TIFF or DICOM file; an array (H, W) of grey, uint8 as it is and
        of another type between its percentiles, or of colours, uint8 (H, W, 3) or (3, H, W).
    size : int or None
        Side of the square, in pixels; None leaves the picture as it is.
    channels : {1, 3}
        1 for grey, 3 for RGB.

    Raises
    ------
    ImageReadError
        If it is no picture, or a larger one than is read. The message shows nothing of it.
    """
    with guarded(WHO, _KINDS, ImageReadError):
        return np.ascontiguousarray(_read(content, size, channels))


def content_digest(content: Content) -> str | None:
    """Return a name for a picture's content: of bytes that of their file; None if there is none."""
    if isinstance(content, np.ndarray):
        head = repr((content.shape, content.dtype.str)).encode()
        return hashlib.sha256(head + content.tobytes()).hexdigest()
    if not is_pillow(content):
        return hashlib.sha256(_bytes_of(content)).hexdigest()
    image: Any = content
    try:
        raw, palette = image.tobytes(), image.getpalette()
    except Exception:  # for the reader to say
        return None
    looks = (image.mode, image.size, palette, image.info.get("transparency"))
    head = repr((looks, orientation(image), image.format == "TIFF")).encode()
    return hashlib.sha256(head + raw).hexdigest()


def extent_of(source: str | Content) -> Extent:
    """Return the size of a picture that was read before, from its file or its content."""
    if isinstance(source, str):
        return read_extent(source)
    if isinstance(source, np.ndarray):
        return Extent(*_as_picture(source).shape[:2])
    if is_pillow(source):
        return Extent(*shown_size(cast(Any, source)))
    with _as_file(_bytes_of(source)) as path:
        return read_extent(path)


def _read(content: Content, size: int | None, channels: int) -> NDArray[Any]:
    if isinstance(content, np.ndarray):
        return shown(_picture_of(_as_picture(content)), size, channels, 8)
    if is_pillow(content):
        check_held(cast(Any, content))
        return shown(decode_pillow(cast(Any, content)), size, channels, 8)
    raw = _bytes_of(content)
    _check_length(raw)
    if not looks_like_dicom(raw[:348]):
        return read_ordinary(io.BytesIO(raw), _as_file(raw), size, channels, 8)
    with guarded("", "single-frame DICOM file", DicomReadError), _as_file(raw) as path:
        return shown(read_dicom(path, size), size, channels, 8)


def _bytes_of(content: Any) -> bytes:
    return content if isinstance(content, bytes) else bytes(content)


def _check_length(raw: bytes) -> None:
    if not raw:
        raise ImageReadError("expected an image, got an empty file.")
    if len(raw) > MAX_BYTES:
        msg = f"expected a file of at most {MAX_BYTES // 2**20} MiB, got a larger one."
        raise ImageReadError(msg)


@contextmanager
def _as_file(raw: bytes) -> Iterator[Path]:
    """Lend bytes to readers of files, in a folder that nobody else may open and that goes."""
    with tempfile.TemporaryDirectory(prefix="asfusion-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(raw)
        yield path


def _as_picture(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as grey (H, W) or colours (H, W, 3)."""
    if array.dtype.kind not in "buif":
        raise ImageReadError(f"expected an array of numbers, got dtype {array.dtype}.")
    if array.ndim == 3 and 3 in (array.shape[2], array.shape[0]):
        return array if array.shape[2] == 3 else array.transpose(1, 2, 0)
    if array.ndim == 3 and 1 in (array.shape[2], array.shape[0]):
        return array[..., 0] if array.shape[2] == 1 else array[0]
    if array.ndim != 2:
        got = f"{array.ndim} dimension(s)" if array.ndim != 3 else f"{array.shape}"
        msg = f"expected an array of shape (H, W) or (H, W, 3), got {got}."
        raise ImageReadError(msg)
    return array


def _picture_of(array: NDArray[Any]) -> Picture | Image.Image:
    from PIL import Image

    check_declared(*array.shape[:2])
    if array.dtype == bool:
        array = array * np.uint8(255)
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    if array.ndim == 3:
        msg = f"expected colours as uint8, from 0 to 255, got {array.dtype}."
        raise ImageReadError(msg)
    own = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Picture(own if own.dtype in (np.uint16, np.int16) else own.astype(np.float32))
