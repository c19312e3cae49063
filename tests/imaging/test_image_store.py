"""ImageStore: decoded once, found by content, whole whatever happens to it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
from PIL import Image

import asfusion.imaging.image_store as store_module
from asfusion.exceptions import (
    AsfusionWarning,
    ConfigurationError,
    ImageReadError,
    InputError,
    StoreError,
)
from asfusion.imaging import ImageStore, read_image
from tests.imaging.files import SECRET, write_dicom


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return ten different images, settled for long."""
    folder = tmp_path / SECRET
    folder.mkdir()
    return [image(folder / f"{i}.png", i) for i in range(10)]


def image(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 40)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    os.utime(path, (1e9 + seed, 1e9 + seed))
    return path


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every image decoded in this process."""
    decoded: list[str] = []
    read = store_module.read_pixels

    def counted(path: str, *args: Any) -> np.ndarray:
        decoded.append(path)
        return read(path, *args)

    monkeypatch.setattr(store_module, "read_pixels", counted)
    return decoded


def part(store: ImageStore, name: str) -> Path:
    return next(store.folder.glob("*")) / name


def assert_whole(store: ImageStore, files: list[Path]) -> None:
    pixels = store.read(store.ingest(files))
    for file, stored in zip(files, pixels, strict=True):
        assert np.array_equal(stored, read_image(file, size=store.size))


# -- what it does ----------------------------------------------------------------------


def test_images_are_what_read_image_gives(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files)
    assert rows.tolist() == list(range(10))
    assert store.read(rows).dtype == np.uint8
    assert_whole(store, files)
    assert len(store) == 10
    assert store.info == {"n_images": 10, "size": 32, "channels": 1, "dtype": "uint8",
                          "n_bytes": 10 * 32 * 32}  # fmt: skip
    assert repr(store) == "<ImageStore of 10 images, 1 x 32 x 32 uint8>"


def test_batches_are_in_the_order_asked_for(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files)
    order = [7, 7, 0, 3]
    assert np.array_equal(store.read(order), store.read(rows)[order])
    assert np.array_equal(store.read([files[i] for i in order]), store.read(order))


def test_missing_cells_are_black(tmp_path: Path, files: list[Path], df_module: ModuleType) -> None:
    X = df_module.DataFrame({"xray": [str(files[0]), None, str(files[1])]})
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(X["xray"])
    assert rows.tolist() == [0, -1, 1]
    assert store.ingest([float("nan"), "", None]).tolist() == [-1, -1, -1]
    assert store.read(rows)[1].max() == 0
    assert store.read([]).shape == (0, 1, 32, 32)
    assert store.ingest([]).tolist() == []


def test_channels_and_sixteen_bits(tmp_path: Path, files: list[Path]) -> None:
    colour = ImageStore(tmp_path / "store", size=32, channels=3)
    assert np.array_equal(colour.read(files[:1])[0], read_image(files[0], size=32, channels=3))
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    dicom = write_dicom(tmp_path / "a.dcm", values, BitsStored=12, HighBit=11)
    deep = ImageStore(tmp_path / "store", size=64, dtype="uint16").read([dicom, files[0]])
    assert deep.dtype == np.uint16
    assert len(np.unique(deep[0])) > 2000
    assert np.abs((deep[0] / 257) - read_image(dicom, size=64)).max() <= 0.51
    assert np.array_equal(deep[1], read_image(files[0], size=64) * np.uint16(257))


def test_settings_do_not_mix(tmp_path: Path, files: list[Path]) -> None:
    small, large = ImageStore(tmp_path / "s", size=32), ImageStore(tmp_path / "s", size=48)
    small.ingest(files[:2])
    assert (len(small), len(large)) == (2, 0)
    assert large.read(files[:1]).shape == (1, 1, 48, 48)


def test_nothing_is_decoded_twice(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SETTLED_NS", -1)
    ImageStore(tmp_path / "store", size=32).ingest(files)
    decoded = count_decoded(monkeypatch)
    store = ImageStore(tmp_path / "store", size=32)
    monkeypatch.setattr(store_module, "_make", lambda *_: pytest.fail("read again"))
    assert store.ingest(files).tolist() == list(range(10))
    assert decoded == []


def test_renamed_and_copied_files_are_not_decoded_again(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files)
    decoded = count_decoded(monkeypatch)
    renamed = files[3].rename(tmp_path / "other.png")
    copied = Path(shutil.copy(files[4], tmp_path / "copy.png"))
    assert store.ingest([renamed, copied, files[4]]).tolist() == rows[[3, 4, 4]].tolist()
    assert decoded == []
    assert len(store) == 10


def test_changed_file_is_read_again_even_if_it_looks_the_same(
    tmp_path: Path, files: list[Path]
) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    before = store.read(files[:1])
    status = files[0].stat()
    files[0].write_bytes(files[1].read_bytes())
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not np.array_equal(store.read(files[:1]), before)
    assert np.array_equal(store.read(files[:1]), store.read(files[1:2]))


def test_same_content_is_one_record(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    shutil.copy(files[0], files[1])
    assert store.ingest([files[0], files[1], files[0]]).tolist() == [0, 0, 0]
    assert len(store) == 1


def test_deleted_store_is_made_again(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    store.ingest(files[::-1])
    shutil.rmtree(tmp_path / "store")
    assert_whole(store, files)
    again = ImageStore(tmp_path / "store", size=32)
    assert again.ingest(files).tolist() == list(range(10))


def test_processes_decode_the_same(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files, n_jobs=2)
    assert rows.tolist() == list(range(10))
    assert_whole(store, files)


def test_any_backend_of_joblib_decodes(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        store.ingest(files)
    assert_whole(store, files)


def test_no_name_is_stored(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    store.ingest(files)
    everything = b"".join(p.read_bytes() for p in store.folder.rglob("*") if p.is_file())
    assert SECRET.encode() not in everything
    assert b".png" not in everything


def test_sheet_shows_images_and_no_names(tmp_path: Path, files: list[Path]) -> None:
    for dtype in ("uint8", "uint16"):
        store = ImageStore(tmp_path / "store", size=32, dtype=dtype)
        assert "0 images" in store._repr_html_()
        store.ingest(files)
        page = store._repr_html_()
        assert page.count("data:image/png;base64,") == 10
        assert SECRET not in page
    assert "10 images of 1 x 32 x 32 uint16" in page


# -- files that cannot be read ---------------------------------------------------------


def test_unreadable_file_is_named_by_position(tmp_path: Path, files: list[Path]) -> None:
    files[4].write_bytes(b"not an image")
    store = ImageStore(tmp_path / "store", size=32)
    with pytest.raises(ImageReadError, match=r"^Image 4: expected a PNG.*on_error='missing'") as e:
        store.ingest(files)
    assert SECRET not in str(e.value)
    assert len(store) == 4  # those before it are kept


def test_unreadable_files_may_be_missing(tmp_path: Path, files: list[Path]) -> None:
    files[4].unlink()
    files[6].write_bytes(files[6].read_bytes()[:200])
    store = ImageStore(tmp_path / "store", size=32)
    with pytest.warns(AsfusionWarning, match=r"2 of 10 image file.*first is image 4.*existing"):
        rows = store.ingest(files, on_error="missing")
    assert np.flatnonzero(rows < 0).tolist() == [4, 6]
    image(files[6], 6)
    assert store.ingest(files[6:7]).tolist() == [8]


def test_file_that_changes_while_it_is_read(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store_module.read_pixels

    def meddle(path: str, *args: Any) -> np.ndarray:
        os.utime(path)
        return read(path, *args)

    monkeypatch.setattr(store_module, "read_pixels", meddle)
    with pytest.raises(ImageReadError, match="Image 0: expected a file at rest"):
        ImageStore(tmp_path / "store", size=32).ingest(files)


def test_file_that_may_not_be_opened(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EACCES, "no", str(files[0]))

    monkeypatch.setattr(store_module.hashlib, "file_digest", refuse)
    with pytest.raises(ImageReadError, match="Image 0: expected a readable file") as caught:
        ImageStore(tmp_path / "store", size=32).ingest(files)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: expected an integer of at least 1"),
        ({"channels": 2}, "channels: expected 1"),
        ({"dtype": "float32"}, "dtype: expected one of"),
    ],
)
def test_unusable_settings(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ImageStore(tmp_path / "store", **options)


def test_unusable_arguments(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    with pytest.raises(ConfigurationError, match="on_error: expected one of"):
        store.ingest(files, on_error="ignore")
    with pytest.raises(InputError, match="expected several paths"):
        store.ingest(str(files[0]))
    with pytest.raises(InputError, match="paths: expected paths or missing cells, got float at 1"):
        store.ingest([files[0], 3.5])
    for rows in ([0], [-2], np.array([5])):
        with pytest.raises(InputError, match="rows: expected integers from -1 to -1"):
            store.read(rows)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be opened \(Not a directory\)") as caught:
        ImageStore(tmp_path / "file" / "store")
    assert str(tmp_path) not in str(caught.value)


# -- damage ----------------------------------------------------------------------------


def scratch(path: Path, at: int, data: bytes = b"\xff\x00\xff") -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_damaged_record_is_found_and_healed(tmp_path: Path, files: list[Path]) -> None:
    ImageStore(tmp_path / "store", size=32).ingest(files)
    store = ImageStore(tmp_path / "store", size=32)
    scratch(part(store, "pixels.raw"), 3 * 1024 + 500)
    assert store.verify().tolist() == [3]
    with pytest.raises(StoreError, match=r"got 1 damaged one\(s\). Ingest their files again"):
        store.read([2, 3])
    assert store.read([2]).shape[0] == 1
    with pytest.warns(AsfusionWarning, match=r"1 damaged record\(s\) were read again"):
        rows = store.ingest(files)
    assert rows.tolist() == list(range(10))
    assert store.verify().size == 0
    assert_whole(store, files)


@pytest.mark.parametrize("name", ["pixels.raw", "index.bin", "seen.bin", "lock"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "scratched", "longer"])
def test_any_damage_is_healed(tmp_path: Path, files: list[Path], name: str, damage: str) -> None:
    ImageStore(tmp_path / "store", size=32).ingest(files)
    path = part(ImageStore(tmp_path / "store", size=32), name)
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
            "ignore", message=r"ImageStore: .* damaged", category=AsfusionWarning
        )
        assert_whole(ImageStore(tmp_path / "store", size=32), files)
        assert_whole(ImageStore(tmp_path / "store", size=32), files)


def test_damage_while_the_store_is_open(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    rows = store.ingest(files)
    store.read(rows)
    os.truncate(part(store, "pixels.raw"), 5 * 1024)
    with pytest.raises(StoreError, match=r"got 5 damaged"):
        store.read(rows)
    with pytest.warns(AsfusionWarning, match="damaged"):
        assert_whole(store, files)


# -- several processes, and their deaths -----------------------------------------------

WORKER = """
import sys
from pathlib import Path
from asfusion.imaging.image_store import ImageStore
import asfusion.imaging.image_store as module
module._BATCH = int(sys.argv[3])
ImageStore(sys.argv[1], size=32).ingest(sorted(Path(sys.argv[2]).iterdir()))
"""


def start(store: Path, folder: Path, batch: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, str(store), str(folder), str(batch)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_two_processes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = sorted(image(folder / f"{i}.png", i) for i in range(60))
    workers = [start(tmp_path / "store", folder, 3) for _ in range(2)]
    for worker in workers:
        assert worker.wait(60) == 0, worker.stderr.read()
        worker.stderr.close()
    store = ImageStore(tmp_path / "store", size=32)
    assert len(store) == 60  # nothing twice
    assert store.verify().size == 0
    assert_whole(store, files)


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import asfusion.imaging.image_store as module
from asfusion.imaging.image_store import ImageStore
module._BATCH, folder, files = 1, Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
rng, stored = random.Random(0), 0
ImageStore(folder.with_name("other"), size=32).ingest(files[:2])  # imports what it needs
for _ in range(25):
    child = os.fork()
    if child == 0:
        try:
            ImageStore(folder, size=32).ingest(files)
        finally:
            os._exit(0)
    time.sleep(rng.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    store = ImageStore(folder, size=32)
    assert store.verify().size == 0
    assert len(store) >= stored  # what was stored stays
    stored = len(store)
print(stored)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_processes_leave_a_whole_store(tmp_path: Path) -> None:
    """Children that write record by record are killed at random instants, over and over.

    They are forked from a process without threads: a lock that a thread holds stays shut for ever.
    """
    folder = tmp_path / "images"
    folder.mkdir()
    files = sorted(image(folder / f"{i:03}.png", i) for i in range(120))
    run = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path / "store"), str(folder)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 0
    assert_whole(ImageStore(tmp_path / "store", size=32), files)


def test_full_disk(tmp_path: Path, files: list[Path]) -> None:
    store = ImageStore(tmp_path / "store", size=32)
    store.ingest(files[:4])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * 1024 + 100, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
            store.ingest(files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(store) == 4
    assert store.verify().size == 0
    assert part(store, "pixels.raw").stat().st_size == 4 * 1024
    assert_whole(store, files)


def test_interrupted_ingest_keeps_what_was_decoded(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store_module.read_pixels

    def interrupt(path: str, *args: Any) -> np.ndarray:
        if path == str(files[6]):
            raise KeyboardInterrupt
        return read(path, *args)

    store = ImageStore(tmp_path / "store", size=32)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "read_pixels", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.ingest(files)
    assert len(store) == 6
    decoded = count_decoded(monkeypatch)
    assert_whole(store, files)
    assert len(decoded) == 4


def test_worker_names_nobody(tmp_path: Path) -> None:
    """What a failing process prints shows no path."""
    script = textwrap.dedent(
        """
        import sys
        from asfusion.imaging import ImageStore
        try:
            ImageStore(sys.argv[1], size=32).ingest([sys.argv[2]] * 2, n_jobs=2)
        except ValueError as error:
            print(error)
        """
    )
    bad = tmp_path / SECRET
    bad.write_bytes(b"nothing")
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store"), str(bad)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "Image 0: expected a PNG" in run.stdout
    assert SECRET not in run.stdout + run.stderr
