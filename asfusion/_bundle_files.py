"""The folder of a saved model: named, sized and hashed files, replaced as a whole.

A bundle is one folder: ``manifest.json`` and payload files whose names hold a hash of
their content. Saving over a bundle writes the new payload beside the old one, then
replaces the manifest in one step, then deletes what it no longer names: at every moment
the manifest names complete files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asfusion._files import sync_folder, write_file
from asfusion.exceptions import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}\.[a-z0-9]{2,12}")
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[^.]+\.tmp")
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
        _clear_leftovers(path)
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
        for name in fresh:
            with contextlib.suppress(OSError):
                (path / name).unlink()
        raise
    for entry in path.iterdir():
        if entry.name != MANIFEST and entry.name not in files:
            with contextlib.suppress(OSError):
                entry.unlink()


def _clear_leftovers(path: Path) -> None:
    """Remove what an earlier save to this path left behind when it was killed."""
    for entry in path.parent.iterdir():
        found = _TEMPORARY.fullmatch(entry.name)
        if found and found["name"] == path.name and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not path.is_dir() or not file.is_file():
        msg = "load: expected the folder of a saved model, with a manifest.json, got none."
        raise BundleError(msg)
    if file.is_symlink() or file.stat().st_size > _MANIFEST_BYTES:
        raise BundleError("load: the manifest is a link or too large. The model was tampered with.")
    try:
        manifest = json.loads(file.read_bytes())
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
    )


_CHANGED = (
    "load: {name} is missing, cut or changed since the model was saved. Restore the folder from "
    "its source."
)


def _read_checked(file: Path, entry: Mapping[str, Any]) -> bytes:
    """Return the content of a file whose size and hash are as promised."""
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as opened:
            content = opened.read(entry["size"] + 1)
    except OSError:
        raise BundleError(_CHANGED.format(name=file.name)) from None
    if len(content) != entry["size"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BundleError(_CHANGED.format(name=file.name))
    return content
