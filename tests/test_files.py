"""Files appear completely or not at all, whatever step fails."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asfusion._files import (
    HeldError,
    clear_leftovers,
    hold,
    locked,
    sync_folder,
    temporary_folder,
    try_to_hold,
    write_file,
)


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


# -- rights ------------------------------------------------------------------------------


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
def test_new_files_have_the_rights_that_open_would_give(tmp_path: Path, umask: int) -> None:
    for durable in (True, False):
        write_file(tmp_path / f"{durable}.bin", b"x", durable=durable)
        assert rights(tmp_path / f"{durable}.bin") == 0o666 & ~umask
    assert rights(temporary_folder(tmp_path / "model.asf")) == 0o777 & ~umask


@pytest.mark.skipif(os.name == "nt", reason="has no umask")
def test_everything_that_is_written_follows_the_umask(tmp_path: Path, umask: int) -> None:
    import torch

    from asfusion.bundle.objects import save_bundle
    from asfusion.imaging.stores._records import Records
    from asfusion.training.checkpoint import write_checkpoint

    save_bundle({"x": np.zeros(3), "t": torch.zeros(2)}, tmp_path / "a.asf")
    save_bundle({"x": np.ones(3), "t": torch.ones(2)}, tmp_path / "a.asf")
    write_checkpoint(tmp_path / "a.ckpt", {"t": torch.zeros(2)}, {})
    store = Records(tmp_path / "store", (2, 2), np.dtype(np.uint8), "ImageStore")
    store.write({b"a" * 32: np.zeros((2, 2), np.uint8)}, {})
    found = {path.relative_to(tmp_path): rights(path) for path in tmp_path.rglob("*")}
    assert len(found) == 11
    wrong = {
        path: oct(mode)
        for path, mode in found.items()
        if mode != (0o777 if (tmp_path / path).is_dir() else 0o666) & ~umask
    }
    assert wrong == {}


@pytest.mark.skipif(os.name == "nt", reason="has no such rights")
def test_file_that_is_replaced_keeps_its_rights(tmp_path: Path) -> None:
    write_file(tmp_path / "a.bin", b"old")
    (tmp_path / "a.bin").chmod(0o600)
    write_file(tmp_path / "a.bin", b"new")
    write_file(tmp_path / "b.bin", b"new", like=tmp_path / "a.bin")
    assert (rights(tmp_path / "a.bin"), rights(tmp_path / "b.bin")) == (0o600, 0o600)


# -- locks -------------------------------------------------------------------------------


def test_one_at_a_time_and_no_file_is_left(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with locked(tmp_path / ".lock", wait_s=30.0) as alone:
                assert alone
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 30
    assert listing(tmp_path) == []


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    with (
        locked(tmp_path / ".lock", wait_s=1.0),
        pytest.raises(HeldError, match="unavailable"),
        locked(tmp_path / ".lock", wait_s=0.05),
    ):
        pass
    with locked(tmp_path / ".lock", wait_s=0.0) as alone:
        assert alone


def test_lock_of_one_that_died_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with locked(tmp_path / ".lock", wait_s=0.0) as alone:
        assert alone


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    with locked(tmp_path / ".lock", wait_s=0.0) as alone:
        assert not alone
    write_file(tmp_path / "a.bin", b"x")
    assert listing(tmp_path) == ["a.bin"]


def test_lock_that_may_not_be_made(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"[Nn]o such file|cannot find"),
        locked(tmp_path / "none" / ".lock", wait_s=0.0),
    ):
        pass


def test_what_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    name = ".a.bin.abcd1234.tmp"
    with (tmp_path / name).open("wb") as file:
        hold(file.fileno())
        clear_leftovers(tmp_path / "a.bin")
        assert listing(tmp_path) == [name]
        with (tmp_path / name).open("rb") as other:
            assert not try_to_hold(other.fileno())
    clear_leftovers(tmp_path / "a.bin")
    assert listing(tmp_path) == []


def test_several_write_one_file(tmp_path: Path) -> None:
    """Also where each of them clears what it takes for leftovers of the others."""
    failed: list[BaseException] = []

    def work(letter: bytes) -> None:
        try:
            for _ in range(20):
                clear_leftovers(tmp_path / "a.bin")
                write_file(tmp_path / "a.bin", letter * 10_000, durable=False)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(bytes([65 + i]),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set((tmp_path / "a.bin").read_bytes())) == 1
    assert listing(tmp_path) == ["a.bin"]
