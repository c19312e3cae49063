"""The folder of a saved model: named, sized and hashed files, replaced as a whole.

A bundle is one folder: ``manifest.json``, which carries a hash of itself, and payload files
whose names hold a hash of their content. One saver at a time, by a lock: saving over a bundle
writes the new payload beside the old one, then replaces the manifest in one step, then deletes
what it no longer names. At every moment the manifest names complete files; a reader whose
files went meanwhile finds another manifest, and begins again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asfusion._files import (
    HeldError,
    clear_leftovers,
    locked,
    sync_folder,
    temporary_folder,
    temporary_of,
    write_file,
)
from asfusion.exceptions import BundleError

FORMAT = 2
MANIFEST = "manifest.json"
_LOCK = ".lock"
_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}\.[a-z0-9]{2,12}")
# Most bytes that each kind of file may have: JSON and skops are parsed into objects of
# several times their size, tensors are not.
LIMITS = {"json": 16 << 20, "skops": 2 << 30, "ubj": 2 << 30, "safetensors": 1 << 40}
# How long a saver waits for another one, and a reader for savers that follow one another.
_LONGEST_WAIT_S, _LONGEST_READ_S = 60.0, 10.0


def write_bundle(path: Path, parts: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write `parts`, named ``role.ending``, as the bundle at `path`.

    Raises
    ------
    BundleError
        If something other than a bundle is at `path`, a part is larger than `read_bundle`
        allows, another process keeps saving to `path`, or writing fails.
    """
    for name, content in parts.items():
        _check_size(name, len(content))
    files = {_hashed_name(name, content): content for name, content in parts.items()}
    manifest = _manifest(files, about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_alone(path, files, manifest)
    except HeldError:
        msg = (
            f"save: expected to be the only one that saves to this path, but others have been at "
            f"it for {_LONGEST_WAIT_S:.0f} s. Nothing was changed; try again, or choose another "
            "path."
        )
        raise BundleError(msg) from None
    except OSError as error:
        msg = (
            f"save: the model could not be written ({error.strerror or type(error).__name__}). "
            f"{_left_at(path, manifest)} Free space or choose another path."
        )
        raise BundleError(msg) from error


def read_bundle(path: Path, *, max_bytes: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the parts of a bundle, every one checked against the manifest, and the manifest.

    Raises
    ------
    BundleError
        If anything is missing, larger than allowed, changed, or not where it should be.
    """
    deadline = time.monotonic() + _LONGEST_READ_S
    raw, version = _versioned(path)
    while True:
        manifest = _read_manifest(raw)
        try:
            return _read_parts(path, manifest, max_bytes), manifest
        except _ChangedError:
            before, (raw, version) = version, _versioned(path)
            # Another one means that the model was saved over while it was read.
            if version == before or time.monotonic() > deadline:
                raise


def _check_size(name: str, size: int) -> None:
    most = LIMITS.get(name.rpartition(".")[2], 0)
    if size > most:
        msg = (
            f"save: expected parts that load accepts, got {name} of {size >> 20} MB, more than "
            f"{most >> 20} MB. Use fewer columns, categories or words."
        )
        raise BundleError(msg)


def _hashed_name(name: str, content: bytes) -> str:
    role, _, ending = name.partition(".")
    return f"{role}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"


def _role(name: str) -> str:
    stem, _, ending = name.partition(".")
    return f"{stem.rpartition('-')[0]}.{ending}"


def _manifest(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    entries = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    return sealed({"format": FORMAT, **about, "files": entries})


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return the one text of a manifest, with the hash of the rest of it."""
    return _text({**manifest, "sha256": hashlib.sha256(_text(manifest)).hexdigest()})


def _text(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, indent=1).encode()


# -- writing -----------------------------------------------------------------------------


def _write_alone(path: Path, files: Mapping[str, bytes], manifest: bytes) -> None:
    """Write a bundle while no other process writes one there."""
    while True:
        replaced = path.exists()
        lock = path / _LOCK if replaced else path.with_name(f".{path.name}.lock")
        _check_place(path)
        with locked(lock, wait_s=_LONGEST_WAIT_S) as alone:
            if path.exists() != replaced:
                continue  # another one has made it, and may be replacing it
            _check_place(path)
            if alone:
                clear_leftovers(path)
            if replaced:
                _replace(path, files, manifest, alone=alone)
            else:
                _create(path, files, manifest)
            return


def _check_place(path: Path) -> None:
    if path.exists() and not (path.is_dir() and (path / MANIFEST).is_file()):
        msg = (
            "save: expected a new path or a saved model to replace, got another file or folder. "
            "Choose another path."
        )
        raise BundleError(msg)


def _create(path: Path, files: Mapping[str, bytes], manifest: bytes) -> None:
    """Write a new bundle beside its place and move it there in one step."""
    temporary = temporary_folder(path)
    try:
        for name, content in {**files, MANIFEST: manifest}.items():
            write_file(temporary / name, content)
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
        raise
    sync_folder(path.parent)


def _replace(path: Path, files: Mapping[str, bytes], manifest: bytes, *, alone: bool) -> None:
    """Write a bundle over another one: payload first, then the manifest, then clean up.

    Without a lock nothing is deleted: it may be what another saver counts on.
    """
    fresh = [name for name in files if not (path / name).exists()]
    try:
        # Also those of the same name: an equal name promises equal content, but the file
        # may have been cut since.
        for name, content in files.items():
            write_file(path / name, content, like=path / MANIFEST)
        write_file(path / MANIFEST, manifest)
    except BaseException:
        # The manifest may have taken its place before the disk failed.
        if alone and (path / MANIFEST).read_bytes() != manifest:
            _remove(path, fresh)
        raise
    if alone:
        _remove(path, [entry.name for entry in path.iterdir() if _is_outdated(entry.name, files)])


def _left_at(path: Path, manifest: bytes) -> str:
    """Return in words what is at `path` after a save that failed, having looked."""
    try:
        found, _ = _versioned(path)
        if found == manifest:
            return "The new model took its place, but the disk may lose it."
        for name, entry in _read_manifest(found)["files"].items():
            _read_checked(path / name, entry)
    except BundleError:
        return "There is no whole model at the path." if path.exists() else "Nothing was saved."
    return "What was saved before is untouched."


def _is_outdated(name: str, files: Mapping[str, bytes]) -> bool:
    """Return whether a save wrote `name` and the manifest does not need it any more."""
    own = temporary_of(name) or name
    return (own != name and own == MANIFEST) or bool(_NAME.fullmatch(own) and name not in files)


def _remove(path: Path, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            (path / name).unlink()


# -- reading -----------------------------------------------------------------------------


class _ChangedError(BundleError):
    """A file that is not what the manifest promises: perhaps there is another manifest by now."""


def _read_parts(path: Path, manifest: Mapping[str, Any], max_bytes: int) -> dict[str, bytes]:
    parts = {}
    total = 0
    for name, entry in manifest["files"].items():
        total += entry["size"]
        if entry["size"] > LIMITS.get(name.rpartition(".")[2], 0) or total > max_bytes:
            msg = f"load: file {name} is larger than allowed. Raise max_bytes if you trust it."
            raise BundleError(msg)
        parts[_role(name)] = _read_checked(path / name, entry)
    if len(parts) < len(manifest["files"]):
        raise BundleError("load: the manifest names two files for one part of the model.")
    return parts


def _versioned(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """Return the text of the manifest and what differs for each one that takes its place."""
    try:
        raw, found = _read_plain(path / MANIFEST, at_most=_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        msg = "load: expected the folder of a saved model, with a manifest.json, got none."
        raise BundleError(msg) from None
    except (ValueError, OSError):  # a path with a null byte is a ValueError
        raise BundleError(_CHANGED.format(name=MANIFEST)) from None
    return raw, (found.st_ino, found.st_mtime_ns, found.st_size)


def _read_manifest(raw: bytes) -> dict[str, Any]:
    """Return the manifest that a text is, without its hash."""
    manifest: Any = None
    try:
        manifest = json.loads(raw)
        # Every byte counts: there is one text for what a manifest says.
        is_dict = isinstance(manifest, dict) and manifest.pop("sha256", None) is not None
        whole = is_dict and sealed(manifest) == raw
    except (ValueError, RecursionError):
        raise BundleError(_CHANGED.format(name=MANIFEST)) from None
    if isinstance(manifest, dict) and manifest.get("format") != FORMAT:
        msg = (
            f"load: expected format {FORMAT}, got another one. Update asfusion, or save the model "
            "again with this version."
        )
        raise BundleError(msg)
    if not whole or not isinstance(manifest.get("files"), dict):
        raise BundleError(_CHANGED.format(name=MANIFEST))
    for name, entry in manifest["files"].items():
        if not _is_entry(name, entry):
            raise BundleError("load: the manifest names a file that no saved model has.")
    return dict(manifest)


def _is_entry(name: str, entry: Any) -> bool:
    return (
        bool(_NAME.fullmatch(name))
        and isinstance(entry, dict)
        and set(entry) == {"size", "sha256"}
        and type(entry["size"]) is int
        and entry["size"] >= 0
        and isinstance(entry["sha256"], str)
        and entry["sha256"].startswith(name.partition("-")[2].partition(".")[0])
    )


_CHANGED = (
    "load: {name} is missing, cut or changed since the model was saved. Restore the folder from "
    "its source."
)


def _read_checked(file: Path, entry: Mapping[str, Any]) -> bytes:
    """Return the content of a file whose size and hash are as promised."""
    try:
        content, _ = _read_plain(file, at_most=entry["size"])
    except OSError:
        raise _ChangedError(_CHANGED.format(name=file.name)) from None
    if len(content) != entry["size"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise _ChangedError(_CHANGED.format(name=file.name))
    return content


def _read_plain(file: Path, *, at_most: int) -> tuple[bytes, os.stat_result]:
    """Return a regular file's content and state; a link, a pipe or too large is an `OSError`."""
    handle = os.open(file, _READ_ONLY)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > at_most:
            raise OSError(errno.EINVAL, "not a plain file of the expected size")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            return opened.read(at_most), found
    finally:
        os.close(handle)


# No link is followed, no pipe waited for; Windows knows neither, but has text files.
_READ_ONLY = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READ_ONLY |= getattr(os, _flag, 0)
