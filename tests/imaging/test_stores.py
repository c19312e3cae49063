"""What all stores promise: decoded once, found by content, whole whatever happens to them."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest

import asfusion.imaging.stores._content as store_module
from asfusion.exceptions import (
    AsfusionWarning,
    ConfigurationError,
    ImageReadError,
    InputError,
    StoreError,
)
from tests.imaging.files import SECRET
from tests.imaging.stores import IMAGES, SERIES, Kind, count_decoded, settle_at_once
from tests.processes import answers_in_lists


@pytest.fixture(params=[IMAGES, SERIES], ids=["images", "series"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def files(tmp_path: Path, kind: Kind) -> list[Path]:
    """Return ten different images, or folders of slices, settled for long."""
    folder = tmp_path / SECRET
    folder.mkdir()
    return [kind.draw(folder / f"{i}.png", i) for i in range(10)]


def part(store: Any, name: str) -> Path:
    return next(store.folder.glob("*")) / name


def assert_whole(kind: Kind, store: Any, files: list[Path]) -> None:
    for file, stored in zip(files, store.read(store.ingest(files)), strict=True):
        assert np.array_equal(stored, kind.plain(file))


def some_file(path: Path) -> Path:
    """Return an image file, or a slice of a series."""
    return sorted(path.iterdir())[1] if path.is_dir() else path


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def copy(path: Path, to: Path) -> Path:
    return Path(shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to))


# -- what it does ----------------------------------------------------------------------


def test_batches_are_in_the_order_asked_for(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    rows = store.ingest(files)
    order = [7, 7, 0, 3]
    assert np.array_equal(store.read(order), store.read(rows)[order])
    assert np.array_equal(store.read([files[i] for i in order]), store.read(order))


def test_missing_cells_are_black(
    kind: Kind, tmp_path: Path, files: list[Path], df_module: ModuleType
) -> None:
    X = df_module.DataFrame({"xray": [str(files[0]), None, str(files[1])]})
    store = kind.open(tmp_path / "store")
    rows = store.ingest(X["xray"])
    assert rows.tolist() == [0, -1, 1]
    assert store.ingest([float("nan"), "", None]).tolist() == [-1, -1, -1]
    assert store.read(rows)[1].max() == 0
    assert store.read([]).shape == (0, *kind.plain(files[0]).shape)
    assert store.ingest([]).tolist() == []


def test_nothing_is_decoded_twice(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_at_once(monkeypatch)
    kind.open(tmp_path / "store").ingest(files)
    decoded = count_decoded(kind, monkeypatch)
    store = kind.open(tmp_path / "store")
    monkeypatch.setattr(store_module, "_make", lambda *_: pytest.fail("read again"))
    assert store.ingest(files).tolist() == list(range(10))
    assert decoded == []


def test_renamed_and_copied_files_are_not_decoded_again(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kind.open(tmp_path / "store")
    rows = store.ingest(files)
    decoded = count_decoded(kind, monkeypatch)
    renamed = files[3].rename(tmp_path / "other.png")
    copied = copy(files[4], tmp_path / "copy.png")
    assert store.ingest([renamed, copied, files[4]]).tolist() == rows[[3, 4, 4]].tolist()
    assert decoded == []
    assert len(store) == 10


def test_changed_file_is_read_again_even_if_it_looks_the_same(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = settle_at_once(monkeypatch)
    store = kind.open(tmp_path / "store")
    before = store.read(files[:1])
    changed, other = some_file(files[0]), some_file(files[1])
    status = changed.stat()
    wait()
    changed.write_bytes(other.read_bytes())
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not np.array_equal(store.read(files[:1]), before)
    assert_whole(kind, store, files)


def test_same_content_is_one_record(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    remove(files[1])
    copy(files[0], files[1])
    assert store.ingest([files[0], files[1], files[0]]).tolist() == [0, 0, 0]
    assert len(store) == 1


def test_deleted_store_is_made_again(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    store.ingest(files[::-1])
    shutil.rmtree(tmp_path / "store")
    assert_whole(kind, store, files)
    again = kind.open(tmp_path / "store")
    assert again.ingest(files).tolist() == list(range(10))


def test_processes_decode_the_same(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    rows = store.ingest(files, n_jobs=2)
    assert rows.tolist() == list(range(10))
    assert_whole(kind, store, files)


def test_any_backend_of_joblib_decodes(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    with joblib.parallel_config(backend="threading", n_jobs=2):
        store.ingest(files)
    assert_whole(kind, store, files)


def test_backend_that_answers_in_lists_decodes(
    kind: Kind, tmp_path: Path, files: list[Path]
) -> None:
    store = kind.open(tmp_path / "store")
    with answers_in_lists(2) as backend:
        assert store.ingest(files, n_jobs=2).tolist() == list(range(10))
    assert backend.n_handed_over == 10
    assert_whole(kind, store, files)


def test_no_name_is_stored(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    store.ingest(files)
    everything = b"".join(p.read_bytes() for p in store.folder.rglob("*") if p.is_file())
    assert SECRET.encode() not in everything
    assert b".png" not in everything


# -- files that cannot be read ---------------------------------------------------------


def test_unreadable_file_is_named_by_position(
    kind: Kind, tmp_path: Path, files: list[Path]
) -> None:
    words = kind.spoil(files[4])
    store = kind.open(tmp_path / "store")
    with pytest.raises(ImageReadError, match=rf"^(Image|Series) 4: {words}.*on_error='miss") as e:
        store.ingest(files)
    assert SECRET not in str(e.value)
    assert len(store) == 4  # those before it are kept


def test_unreadable_files_may_be_missing(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    remove(files[4])
    some_file(files[6]).write_bytes(some_file(files[6]).read_bytes()[:-100])
    store = kind.open(tmp_path / "store")
    with pytest.warns(
        AsfusionWarning, match=rf"2 of 10 {kind.noun}.*first is {kind.noun} 4.*existing"
    ):
        rows = store.ingest(files, on_error="missing")
    assert np.flatnonzero(rows < 0).tolist() == [4, 6]
    kind.draw(files[6], 6)
    assert store.ingest(files[6:7]).tolist() == [8]


def test_file_that_changes_while_it_is_read(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = getattr(kind.module, kind.reader)

    def meddle(path: str, *args: Any, **options: Any) -> Any:
        os.utime(some_file(Path(path)))
        return read(path, *args, **options)

    monkeypatch.setattr(kind.module, kind.reader, meddle)
    with pytest.raises(ImageReadError, match="0: expected a file at rest"):
        kind.open(tmp_path / "store").ingest(files)


def test_unusable_arguments(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    with pytest.raises(ConfigurationError, match="on_error: expected one of"):
        store.ingest(files, on_error="ignore")
    with pytest.raises(InputError, match="expected several paths"):
        store.ingest(str(files[0]))
    with pytest.raises(InputError, match="paths: expected paths or missing cells, got float at 1"):
        store.ingest([files[0], 3.5])
    for rows in ([0], [-2], np.array([5])):
        with pytest.raises(InputError, match="rows: expected integers from -1 to -1"):
            store.read(rows)


def test_folder_that_cannot_be_made(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be opened \(Not a directory\)") as caught:
        kind.open(tmp_path / "file" / "store")
    assert str(tmp_path) not in str(caught.value)


# -- damage ----------------------------------------------------------------------------


def scratch(path: Path, at: int, data: bytes = b"\xff\x00\xff") -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_damaged_record_is_found_and_healed(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    kind.open(tmp_path / "store").ingest(files)
    store = kind.open(tmp_path / "store")
    scratch(part(store, "pixels.raw"), 3 * kind.n_bytes + 500)
    assert store.verify().tolist() == [3]
    with pytest.raises(StoreError, match=r"got 1 damaged one\(s\). Ingest their files again"):
        store.read([2, 3])
    assert store.read([2]).shape[0] == 1
    with pytest.warns(AsfusionWarning, match=r"1 damaged record\(s\) were read again"):
        rows = store.ingest(files)
    assert rows.tolist() == list(range(10))
    assert store.verify().size == 0
    assert_whole(kind, store, files)


@pytest.mark.parametrize("name", ["pixels.raw", "index.bin", "seen.bin", "lock"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "scratched", "longer"])
def test_any_damage_is_healed(
    kind: Kind, tmp_path: Path, files: list[Path], name: str, damage: str
) -> None:
    kind.open(tmp_path / "store").ingest(files)
    path = part(kind.open(tmp_path / "store"), name)
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"\x13" * 777)
    elif damage == "scratched":
        scratch(path, size // 3)
    else:
        os.truncate(path, 0 if damage == "empty" else max(0, size * 2 // 3 - 5))
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=rf"{kind.name}: .* damaged", category=AsfusionWarning
        )
        assert_whole(kind, kind.open(tmp_path / "store"), files)
        assert_whole(kind, kind.open(tmp_path / "store"), files)


@pytest.mark.parametrize("damage", ["name", "entry", "all", "empty", "gone"])
def test_damaged_index_is_built_again(
    kind: Kind, tmp_path: Path, files: list[Path], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a process that wrote it; and rows stay what they were, in whatever order."""
    settle_at_once(monkeypatch)
    store = kind.open(tmp_path / "store")
    store.ingest(files[:6])
    rows = store.ingest(files)  # what this process knows of the store is not its last word
    before = store.read(rows)
    path = part(store, "index.bin")
    if damage in ("name", "entry"):
        scratch(path, 5 if damage == "name" else 4 * 40 + 7)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else os.urandom(path.stat().st_size))
    other = kind.open(tmp_path / "store")
    if damage == "name":  # a name says nothing of the records
        assert other.ingest(files[::-1]).tolist() == rows[::-1].tolist()
    else:
        n = 1 if damage == "entry" else 10
        assert other.verify().size == n
        with pytest.warns(
            AsfusionWarning, match=rf"{kind.name}: {n} damaged record\(s\) were read"
        ):
            assert other.ingest(files[::-1]).tolist() == rows[::-1].tolist()
    assert np.array_equal(other.read(rows), before)
    assert other.verify().size == store.verify().size == 0
    assert len(other) == 10


def test_entry_and_pixels_of_one_record(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what was there: the file gets another row, and the words say so."""
    settle_at_once(monkeypatch)
    kind.open(tmp_path / "store").ingest(files)
    store = kind.open(tmp_path / "store")
    scratch(part(store, "index.bin"), 4 * 40 + 7)
    scratch(part(store, "pixels.raw"), 3 * kind.n_bytes + 500)
    store = kind.open(tmp_path / "store")
    with pytest.warns(AsfusionWarning, match=r"1 damaged record\(s\) were read again"):
        assert store.ingest(files).tolist() == [0, 1, 2, 10, 4, 5, 6, 7, 8, 9]
    assert store.verify().tolist() == [3]
    with pytest.raises(StoreError, match="files again, and use the rows that this returns"):
        store.read([3])
    assert_whole(kind, store, files)


def test_index_of_another_version(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_at_once(monkeypatch)
    kind.open(tmp_path / "store").ingest(files)
    path = part(kind.open(tmp_path / "store"), "index.bin")
    head = path.read_bytes()[:32] + struct.pack("<L", 7)
    scratch(path, 0, head + struct.pack("<L", zlib.crc32(head + bytes(4))))
    with pytest.warns(AsfusionWarning, match=r"10 damaged record\(s\) were read again"):
        assert_whole(kind, kind.open(tmp_path / "store"), files)


@pytest.mark.parametrize("share", [0.3, 0.75])
def test_cut_index_is_said(
    kind: Kind, tmp_path: Path, files: list[Path], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_at_once(monkeypatch)
    kind.open(tmp_path / "store").ingest(files)
    path = part(kind.open(tmp_path / "store"), "index.bin")
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.warns(AsfusionWarning, match=r"damaged record\(s\) were read again"):
        assert_whole(kind, kind.open(tmp_path / "store"), files)


def test_damage_while_the_store_is_open(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    rows = store.ingest(files)
    store.read(rows)
    os.truncate(part(store, "pixels.raw"), 5 * kind.n_bytes)
    with pytest.raises(StoreError, match=r"got 5 damaged"):
        store.read(rows)
    with pytest.warns(AsfusionWarning, match="damaged"):
        assert_whole(kind, store, files)


# -- several processes, and their deaths -----------------------------------------------

WORKER = """
import sys
from pathlib import Path
import asfusion.imaging
import asfusion.imaging.stores._content as module
module._BATCH = int(sys.argv[3])
store = {code}
store.ingest(sorted(Path(sys.argv[2]).iterdir()))
"""


def start(kind: Kind, store: Path, folder: Path, batch: int) -> subprocess.Popen[bytes]:
    script = WORKER.format(code=kind.code.format("sys.argv[1]"))
    command = [sys.executable, "-c", script, str(store), str(folder), str(batch)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_two_processes_at_once(kind: Kind, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = sorted(kind.draw(folder / f"{i}.png", i) for i in range(60))
    workers = [start(kind, tmp_path / "store", folder, 3) for _ in range(2)]
    for worker in workers:
        assert worker.wait() == 0, worker.stderr.read()
        worker.stderr.close()
    store = kind.open(tmp_path / "store")
    assert len(store) == 60  # nothing twice
    assert store.verify().size == 0
    assert_whole(kind, store, files)


def test_what_another_process_just_stored_is_there(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files too new to be known by their times, stored between a look and the reading."""
    monkeypatch.setattr(store_module, "_SETTLED_NS", 10**18)
    store, other = kind.open(tmp_path / "store"), kind.open(tmp_path / "store")
    make, ahead = store_module._make, [True]

    def late(path: str, recipe: Any) -> Any:
        if ahead.pop() if ahead else False:
            other.ingest(files)
        return make(path, recipe)

    monkeypatch.setattr(store_module, "_make", late)
    assert store.ingest(files).tolist() == list(range(10))


def test_store_that_is_deleted_meanwhile(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, write = kind.open(tmp_path / "store"), store_module.ContentStore._write

    def write_and_lose(self: Any, made: Any) -> None:
        write(self, made)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)

    with monkeypatch.context() as patch:
        patch.setattr(store_module.ContentStore, "_write", write_and_lose)
        patch.setattr(store_module, "_BATCH", 5)
        with pytest.raises(StoreError, match="got a store that was deleted while it was read"):
            store.ingest(files)
    assert_whole(kind, store, files)


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import asfusion.imaging
import asfusion.imaging.stores._content as module
module._BATCH, folder, files = 1, Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
rng, stored = random.Random(0), 0
other = folder.with_name("other")
({other}).ingest(files[:2])  # imports what it needs
for n_written in rng.choices(range(6), k=25):
    end, beginning = os.pipe()
    child = os.fork()
    if child == 0:
        write = module.ContentStore._write

        def write_and_say(store, made):
            write(store, made)
            os.write(beginning, b"." * sum(one.pixels is not None for _, one in made))

        module.ContentStore._write = write_and_say
        try:
            ({code}).ingest(files)
        finally:
            os._exit(0)
    os.close(beginning)
    written = 0
    while written < n_written and (said := os.read(end, n_written - written)):
        written += len(said)
    time.sleep(rng.uniform(0.0, 0.02))  # any instant will do
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(end)
    store = {code}
    assert store.verify().size == 0
    assert len(store) >= stored + written  # what was stored stays
    stored = len(store)
print(stored)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_processes_leave_a_whole_store(kind: Kind, tmp_path: Path) -> None:
    """Children that write record by record are killed at random instants, over and over.

    They say what they have written, so that a busy machine does not kill them all too early.
    They are forked from a process without threads: a lock that a thread holds stays shut for ever.
    """
    folder = tmp_path / "images"
    folder.mkdir()
    files = sorted(kind.draw(folder / f"{i:03}.png", i) for i in range(120))
    script = KILLER.format(code=kind.code.format("folder"), other=kind.code.format("other"))
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store"), str(folder)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 20
    assert_whole(kind, kind.open(tmp_path / "store"), files)


def test_full_disk(kind: Kind, tmp_path: Path, files: list[Path]) -> None:
    store = kind.open(tmp_path / "store")
    store.ingest(files[:4])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * kind.n_bytes + 100, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
            store.ingest(files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(store) == 4
    assert store.verify().size == 0
    assert part(store, "pixels.raw").stat().st_size == 4 * kind.n_bytes
    assert_whole(kind, store, files)


def test_interrupted_ingest_keeps_what_was_decoded(
    kind: Kind, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = getattr(kind.module, kind.reader)

    def interrupt(path: str, *args: Any, **options: Any) -> Any:
        if path == str(files[6]):
            raise KeyboardInterrupt
        return read(path, *args, **options)

    store = kind.open(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(kind.module, kind.reader, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.ingest(files)
    assert len(store) == 6
    decoded = count_decoded(kind, monkeypatch)
    assert_whole(kind, store, files)
    assert len(decoded) == 4


def test_worker_names_nobody(kind: Kind, tmp_path: Path) -> None:
    """What a failing process prints shows no path."""
    script = textwrap.dedent(
        """
        import sys
        import asfusion.imaging
        try:
            ({code}).ingest([sys.argv[2]] * 2, n_jobs=2)
        except ValueError as error:
            print(error)
        """
    ).format(code=kind.code.format("sys.argv[1]"))
    bad = kind.draw(tmp_path / SECRET, 0)
    words = kind.spoil(bad)
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store"), str(bad)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"0: {words}" in run.stdout
    assert SECRET not in run.stdout + run.stderr
