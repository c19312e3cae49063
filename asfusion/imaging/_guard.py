"""Whatever a reader raises becomes one error that shows nothing of the file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asfusion.exceptions import ConfigurationError, ImageReadError, MissingDependencyError
from asfusion.imaging._cells import NO_ADDRESS, is_address
from asfusion.imaging._limits import MAX_BYTES
from asfusion.imaging._quiet import quiet_readers

_OTHER = "expected a readable {kind}, got one that is damaged, cut short or of another kind."


@contextmanager
def guarded(who: str, kind: str, error: type[ImageReadError]) -> Iterator[None]:
    """Silence readers inside the block, and turn what they raise into `ImageReadError`.

    Parameters
    ----------
    who : str
        Start of the message.
    kind : str
        What was expected.
    error : type
        What becomes of an exception that is not ours.
    """
    try:
        with quiet_readers():
            yield
    except (ConfigurationError, MissingDependencyError):
        raise
    except ImageReadError as problem:
        raise type(problem)(who + str(problem)) from None
    except (FileNotFoundError, NotADirectoryError, PermissionError) as problem:
        raise ImageReadError(who + reason(problem, kind)) from None
    except Exception as problem:
        # Readers put paths, names and dates into their messages, and raise what they like.
        raise error(who + reason(problem, kind)) from None


def checked_path(who: str, path: str | os.PathLike[str]) -> Path:
    """Return a path that could be one.

    Parameters
    ----------
    who : str
        Start of the message.
    path : str or PathLike
        What was given.

    Raises
    ------
    ImageReadError
        If it is of another type, empty, an address on a network, or holds a null byte.
    """
    if not isinstance(path, str | os.PathLike):
        msg = f"expected the path of a file as str or PathLike, got {type(path).__name__}."
        raise ImageReadError(who + msg)
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        msg = "expected an existing file, got an empty path, one of bytes or with a null byte."
        raise ImageReadError(who + msg)
    if is_address(name):
        raise ImageReadError(who + NO_ADDRESS)
    return Path(name)


def first_bytes(path: Path) -> bytes:
    """Return how a file starts; raise if it is no ordinary file of a sensible size."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        msg = "expected one image file, got a folder. `read_series` reads a folder of slices."
        raise ImageReadError(msg)
    if not stat.S_ISREG(status.st_mode):
        msg = "expected an ordinary file, got a device, pipe or socket."
        raise ImageReadError(msg)
    if status.st_size == 0:
        msg = "expected an image, got an empty file."
        raise ImageReadError(msg)
    if status.st_size > MAX_BYTES:
        msg = f"expected a file of at most {MAX_BYTES // 2**20} MiB, got a larger one."
        raise ImageReadError(msg)
    with path.open("rb") as file:
        return file.read(348)


def reason(error: Exception, kind: str) -> str:
    """Return what went wrong in words that show nothing of the file."""
    if isinstance(error, ImageReadError):
        return str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "expected an existing file, got a path where there is none."
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return "expected an existing file, got a path that is longer than this system allows."
    if isinstance(error, PermissionError):
        return "expected a file that may be read, got one without permission."
    if isinstance(error, MemoryError):
        return "expected an image that fits into memory, got a larger one."
    return _OTHER.format(kind=kind)
