"""The folder of a saved model: named, sized and hashed files, replaced as a whole.

A bundle is one folder: ``manifest.json`` and payload files whose names hold a hash of
their content. Saving over a bundle writes the new payload beside the old one, then
replaces the manifest in one step, then deletes what it no longer names: at every moment
the manifest names complete files.
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
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asfusion._files import clear_leftovers, sync_folder, temporary_of, write_file
from asfusion.exceptions import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}\.[a-z0-9]{2,12}")
# Most bytes that each kind of file may have: JSON and skops are parsed into objects of
# several times their size, tensors are not.
LIMITS = {"json": 256 << 20, "skops": 2 << 30, "ubj": 2 << 30, "safetensors": 1 << 40}


def write_bundle(path: Path, parts: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write `parts`, named ``role.ending``, as the bundle at `path`.

    Raises
    ------
    BundleError
        If something other than a bundle is at `path`, or writing fails; what was there
        before is then still whole.
    """
    if path.exists() and not (path.is_dir() and (path / MANIFEST).is_file()):
        msg = (
            "save: expected a new path or a saved model to replace, got another file or folder. "
            "Choose another path."
        )
        raise BundleError(msg)
    files = {_hashed_name(name, content): content for name, content in parts.items()}
    manifest = _manifest(files, about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
        if path.exists():
            _replace(path, files, manifest)
        else:
            _create(path, files, manifest)
    except OSError as error:
        msg = (
            f"save: the model could not be written ({error.strerror or type(error).__name__}). "
            "What was saved before is untouched; free space or choose another path."
        )
        raise BundleError(msg) from error


def read_bundle(path: Path, *, max_bytes: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the parts of a bundle, every one checked against the manifest, and the manifest.

    Raises
    ------
    BundleError
        If anything is missing, larger than allowed, changed, or not where it should be.
    """
    manifest = _read_manifest(path)
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
    return parts, manifest


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
    text = json.dumps({"format": FORMAT, **about, "files": entries}, sort_keys=True, indent=1)
    return text.encode()


def _create(path: Path, files: Mapping[str, bytes], manifest: bytes) -> None:
    """Write a new bundle beside its place and move it there in one step."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        for name, content in {**files, MANIFEST: manifest}.items():
            write_file(temporary / name, content)
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
        raise
    sync_folder(path.parent)


def _replace(path: Path, files: Mapping[str, bytes], manifest: bytes) -> None:
    """Write a bundle over another one: payload first, then the manifest, then clean up."""
    fresh = [name for name in files if not (path / name).exists()]
    try:
        # Also those of the same name: an equal name promises equal content, but the file
        # may have been cut since.
        for name, content in files.items():
            write_file(path / name, content)
        write_file(path / MANIFEST, manifest)
    except BaseException:
        # The manifest may have taken its place before the disk failed.
        if (path / MANIFEST).read_bytes() != manifest:
            _remove(path, fresh)
        raise
    _remove(path, [entry.name for entry in path.iterdir() if _is_outdated(entry.name, files)])


def _is_outdated(name: str, files: Mapping[str, bytes]) -> bool:
    """Return whether a save wrote `name` and the manifest does not need it any more."""
    own = temporary_of(name) or name
    return (own != name and own == MANIFEST) or bool(_NAME.fullmatch(own) and name not in files)


def _remove(path: Path, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            (path / name).unlink()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read_plain(path / MANIFEST, at_most=_MANIFEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        msg = "load: expected the folder of a saved model, with a manifest.json, got none."
        raise BundleError(msg) from None
    except (ValueError, RecursionError, OSError):
        raise BundleError(_CHANGED.format(name=MANIFEST)) from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BundleError(_CHANGED.format(name=MANIFEST))
    if manifest.get("format") != FORMAT:
        msg = (
            f"load: expected format {FORMAT}, got another one. Update asfusion, or save the model "
            "again with this version."
        )
        raise BundleError(msg)
    for name, entry in manifest["files"].items():
        if not _is_entry(name, entry):
            raise BundleError("load: the manifest names a file that no saved model has.")
    return manifest


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
        content = _read_plain(file, at_most=entry["size"])
    except OSError:
        raise BundleError(_CHANGED.format(name=file.name)) from None
    if len(content) != entry["size"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BundleError(_CHANGED.format(name=file.name))
    return content


def _read_plain(file: Path, *, at_most: int) -> bytes:
    """Return the content of a regular file; a link, a pipe or a larger file is an `OSError`."""
    handle = os.open(file, _READ_ONLY)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > at_most:
            raise OSError(errno.EINVAL, "not a plain file of the expected size")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            return opened.read(at_most)
    finally:
        os.close(handle)


# No link is followed, no pipe waited for; Windows knows neither, but has text files.
_READ_ONLY = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READ_ONLY |= getattr(os, _flag, 0)
