"""Files appear completely or not at all, whatever step fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from asfusion._files import clear_leftovers, sync_folder, write_file


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    for content in (b"one", b"", bytes(range(256)) * 1000):
        write_file(tmp_path / "a.bin", content)
        assert (tmp_path / "a.bin").read_bytes() == content
    assert listing(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("where", [(os, "fsync"), (os, "fdopen"), (Path, "replace")])
def test_failure_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    write_file(tmp_path / "a.bin", b"old")
    monkeypatch.setattr(*where, no_space)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "a.bin", b"new")
    monkeypatch.undo()
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert listing(tmp_path) == ["a.bin"]


def test_file_that_need_not_last_is_not_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    for content in (b"old", b"new"):
        write_file(tmp_path / "a.bin", content, durable=False)
        assert (tmp_path / "a.bin").read_bytes() == content
    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "a.bin", b"newer", durable=False)
    monkeypatch.undo()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert listing(tmp_path) == ["a.bin"]


def test_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a.bin", b"new")
    assert listing(tmp_path) == []


def test_only_own_leftovers_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".a.asf.abcd1234.tmp").mkdir()
    (tmp_path / ".a.asf.abcd1234.tmp" / "x").write_bytes(b"x")
    (tmp_path / ".a.asf.abcd12_4.tmp").write_bytes(b"x")
    others = [".b.a.asf.abcd1234.tmp", ".a.asf.tmp", "a.asf.abcd1234.tmp", ".aXasf.abcd1234.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    clear_leftovers(tmp_path / "a.asf")
    assert listing(tmp_path) == sorted(others)


def test_leftover_that_is_a_link_does_not_lead_away(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "x").write_bytes(b"x")
    (tmp_path / ".a.asf.abcd1234.tmp").symlink_to(kept)
    clear_leftovers(tmp_path / "a.asf")
    assert listing(tmp_path) == ["kept"]
    assert listing(kept) == ["x"]


def test_folder_that_cannot_be_opened_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", no_space)
    sync_folder(tmp_path)
