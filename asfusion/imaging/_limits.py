"""What a file may declare before anything of it is decoded."""

from __future__ import annotations

from asfusion.exceptions import ImageReadError

# A stitched whole-spine radiograph has about 50 million pixels; nothing that is read
# here has more than twice that. Both limits hold for what a file *says* it holds.
MAX_PIXELS = 100_000_000
MAX_BYTES = 512 * 2**20
# A volume, or the frames of one file: a thousand slices of 512 x 512 in single precision.
MAX_VOLUME_BYTES = 2 * 2**30
MAX_FRAMES = 2**16
# What a header may take before it is read by a worker instead of this process.
HEADER_BUDGET = 2**18
# Pictures above this size must not be smaller on disk than a thousandth (compressed pixels)
# or a 250th (PNG, JPEG, TIFF) of what they become. A flat picture is, and so is a bomb.
UNCAPPED = 128 * 2**20  # of a compressed frame, where no process can be given less memory
LARGE = 48 * 2**20


def check_declared(
    height: int,
    width: int,
    bytes_per_pixel: float = 1.0,
    *,
    error: type[ImageReadError] = ImageReadError,
) -> None:
    """Raise `ImageReadError` unless the declared size can be decoded.

    Parameters
    ----------
    height, width : int
        Declared size, in pixels.
    bytes_per_pixel : float
        Bytes that one decoded pixel takes, all samples together.
    error : type
        What to raise.

    Raises
    ------
    ImageReadError
        If there are no pixels, or more than a single image has.
    """
    if height < 1 or width < 1:
        msg = "expected at least one row and one column of pixels, got none."
        raise error(msg)
    if height * width > MAX_PIXELS or height * width * bytes_per_pixel > MAX_BYTES:
        msg = (
            f"expected at most {MAX_PIXELS // 10**6} million pixels and {MAX_BYTES // 2**20} MiB, "
            f"got a file that declares {height} x {width}. Resample the image first."
        )
        raise error(msg)
