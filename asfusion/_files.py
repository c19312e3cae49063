"""Files that are there completely or not at all, and of the rights that `open` would give them."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp")
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LOCK = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK})
_UNKNOWN = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_IS_WINDOWS = os.name == "nt"
_PAUSE_S = 0.02  # between two tries to get a lock


class HeldError(OSError):
    """A lock that others did not let go of in time."""


def write_file(
    path: Path, content: bytes, *, durable: bool = True, like: Path | None = None
) -> None:
    """Write a file so that a reader, or a crash, never meets half of it.

    The content goes to a temporary sibling, is forced to the disk, and takes the name in
    one step. If that fails, what was there before still is. Without `durable` nothing is
    forced to the disk, so that a power failure may leave an empty file: quicker, for files
    that can be made again. A new file has the rights that the umask leaves, or those of the
    file `like`; one that is replaced keeps its own, as with `open`.
    """
    with replaced(path, durable=durable, like=like) as file:
        file.write(content)


@contextlib.contextmanager
def replaced(path: Path, *, durable: bool = True, like: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write to, which takes the place of `path` at the end of the block.

    Parameters are those of `write_file`. After an error, what was there before still is.
    """
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            _keep_rights(path if path.exists() else like, temporary)
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            if not _IS_WINDOWS:  # while it is held: nobody takes it for a leftover
                temporary.replace(path)
        if _IS_WINDOWS:  # which neither moves nor removes what is open
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def temporary_folder(path: Path) -> Path:
    """Return a new folder beside `path`, to be filled and then moved there."""
    folder = _sibling(path)
    folder.mkdir()
    return folder


def clear_leftovers(path: Path) -> None:
    """Remove what writing to `path` left beside it when it was killed.

    A file that somebody is writing at this moment stays. Of folders that is not known: who
    makes them holds the lock of `path`.
    """
    for entry in path.parent.iterdir():
        if temporary_of(entry.name) != path.name:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                _remove_unheld(entry)


def temporary_of(name: str) -> str | None:
    """Return the file that a temporary name stands in for; None for any other name."""
    found = _TEMPORARY.fullmatch(name)
    return found and found["name"]


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, where the system can do that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- locks -------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(file: Path, *, wait_s: float) -> Iterator[bool]:
    """Let one thread of one process at a time be in the block; the lock file is gone afterwards.

    Yields whether there is a lock: some network file systems know none. The system lets go of
    it when the process dies.

    Raises
    ------
    HeldError
        If others have held it for `wait_s` seconds.
    """
    handle = _acquire(file, time.monotonic() + wait_s)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _release(handle, file)


def hold(handle: int) -> None:
    """Wait until no other process holds the open file, and hold it until it is closed."""
    _lock(handle, wait=True)


def try_to_hold(handle: int) -> bool:
    """Hold an open file, unless another process or thread does; return whether it is held.

    Raises
    ------
    OSError
        If the file system knows no locks.
    """
    try:
        _lock(handle, wait=False)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def _lock(handle: int, *, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            except OSError:
                if not wait:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _acquire(file: Path, deadline: float) -> int | None:
    """Return the handle of a lock file that is held; None where there are no locks."""
    while True:
        try:
            handle = os.open(file, _LOCK, 0o666)
        except PermissionError:
            if not file.exists():
                raise
        else:
            with contextlib.suppress(BlockingIOError):
                return _hold_or_close(handle, file)
        if time.monotonic() > deadline:
            raise HeldError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        time.sleep(random.uniform(0.0, 2 * _PAUSE_S))


def _hold_or_close(handle: int, file: Path) -> int | None:
    """Return the handle if it is held; None without locks, `BlockingIOError` if others do."""
    try:
        # Whoever held it before has removed it: then it locks nothing any more.
        if try_to_hold(handle) and _is_at(handle, file):
            return handle
    except OSError as error:
        os.close(handle)
        if error.errno in _UNKNOWN:
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        raise
    os.close(handle)
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _release(handle: int, file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()  # while it is held, so that nobody else's is removed
    os.close(handle)
    if _IS_WINDOWS:
        with contextlib.suppress(OSError):
            file.unlink()


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.lstat())
    except OSError:
        return False


# -- temporary files ---------------------------------------------------------------------


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _temporary(path: Path) -> tuple[int, Path]:
    """Return a new file beside `path`, open and held."""
    while True:
        temporary = _sibling(path)
        handle = os.open(temporary, _NEW, 0o666)
        held = True  # as far as that can be known where there are no locks
        with contextlib.suppress(OSError):
            held = try_to_hold(handle)
        if held and _is_at(handle, temporary):
            return handle, temporary
        os.close(handle)  # it was taken for a leftover before it was held


def _keep_rights(of: Path | None, temporary: Path) -> None:
    if of is not None:
        with contextlib.suppress(OSError):
            temporary.chmod(stat.S_IMODE(of.stat().st_mode))


def _remove_unheld(file: Path) -> None:
    if file.is_symlink():
        file.unlink()
        return
    handle = os.open(file, os.O_RDWR)
    try:
        if try_to_hold(handle):
            file.unlink()
    finally:
        os.close(handle)
