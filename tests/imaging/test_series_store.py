"""SeriesStore: what is true of series alone; test_stores.py has what all stores promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asfusion.imaging.stores.series_store as store_module
from asfusion.exceptions import ConfigurationError, DicomReadError, ImageReadError
from asfusion.imaging import SeriesStore, read_series
from asfusion.imaging.volumes._grid_plan import GridPlan
from tests.imaging.files import SECRET
from tests.imaging.slices import dicomdir, enhanced, voxels, write_slices
from tests.imaging.stores import BOX, SERIES, count_decoded, draw_series, settle_at_once


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Return three folders of slices."""
    return [draw_series(tmp_path / SECRET / str(i), i) for i in range(3)]


# -- what it does ----------------------------------------------------------------------


def test_voxels_and_slices_by_row_and_by_path(tmp_path: Path, series: list[Path]) -> None:
    store = SeriesStore(tmp_path / "store", BOX)
    rows = store.ingest([series[0], None, series[2]])
    assert rows.tolist() == [0, -1, 1]
    assert store.read(rows).shape == (3, *BOX) and store.read(rows).dtype == np.uint8
    assert store.read(rows).flags.c_contiguous
    assert store.n_slices(rows).tolist() == [3, 0, 3]
    assert store.n_slices(series).tolist() == [3, 3, 3]
    assert store.notes(rows) == [(), (), ()]
    assert store.info == {
        "n_series": 3, "shape": BOX, "layout": "volume", "spacing": None, "window": "auto",
        "on_gap": "raise", "n_bytes": 3 * (4 * 16 * 16 + store_module._TAIL),
    }  # fmt: skip
    assert repr(store) == "<SeriesStore of 3 series, 4 x 16 x 16, volume>"


@pytest.mark.parametrize("extent", [(5, 24, 24), (3, 24, 20), (2, 9, 31)])
@pytest.mark.parametrize("window", ["auto", (100, 250)])
@pytest.mark.parametrize("layout", ["volume", "slices"])
def test_records_are_the_series_on_the_grid(
    tmp_path: Path, series: list[Path], layout: Any, window: Any, extent: tuple[int, int, int]
) -> None:
    store = SeriesStore(tmp_path / "store", extent, layout=layout, window=window)
    plan = GridPlan(extent, layout, None, window)
    for path, stored in zip(series, store.read(series), strict=True):
        assert np.array_equal(stored, plan.voxels_of(read_series(path)))


def test_slices_stay_slices_up_to_their_number(tmp_path: Path, series: list[Path]) -> None:
    wide = SeriesStore(tmp_path / "store", (5, 24, 24), layout="slices").read(series[:1])[0]
    assert wide[:3].any(axis=(1, 2)).all() and not wide[3:].any()
    values = read_series(series[0]).values
    low, high = np.percentile(values, [0.5, 99.5])
    grey = np.clip((values - low) / (high - low), 0, 1) * 255
    # The middle 6 x 6 mm, of 0.75 mm now and of 0.5 x 0.75 mm in the file.
    inside, before = wide[:3, 8:16, 8:16], grey[:, 4:16, 8:16]
    assert np.abs(inside.mean(axis=(1, 2)) - before.mean(axis=(1, 2))).max() < 3
    few = SeriesStore(tmp_path / "store", (2, 24, 24), layout="slices")
    assert few.read(series[:1])[0].any(axis=(1, 2)).all()
    assert few.n_slices(series[:1]).tolist() == [3]


def test_settings_never_mix(tmp_path: Path, series: list[Path]) -> None:
    settings: list[dict[str, Any]] = [
        {}, {"shape": (16, 4, 16)}, {"shape": (4, 16, 17)}, {"layout": "slices"},
        {"spacing": (4.0, 0.5, 0.5)}, {"spacing": (4.0, 0.5, 0.50001)}, {"window": (0, 100)},
        {"window": (0, 100.5)}, {"window": (-1, 100)}, {"on_gap": "fill"},
    ]  # fmt: skip
    stores = [SeriesStore(tmp_path / "store", **{"shape": BOX, **some}) for some in settings]
    for done, store in enumerate(stores):
        assert len(store) == 0
        store.ingest(series[: 1 + done % 3])
        assert len(store) == 1 + done % 3
    assert len(list((tmp_path / "store").iterdir())) == len(settings)
    same = SeriesStore(tmp_path / "store", list(BOX), window=[0.0, 100.0])
    assert len(same) == len(stores[6]), "numbers count, not their types"


def test_sheet_shows_middle_slices_and_no_names(tmp_path: Path, series: list[Path]) -> None:
    for layout in ("volume", "slices"):
        store = SeriesStore(tmp_path / "store", BOX, layout=layout)
        assert "0 series" in store._repr_html_()
        store.ingest(series)
        page = store._repr_html_()
        assert page.count("data:image/png;base64,") == 3
        assert "3 series of 4 x 16 x 16 voxels" in page
        assert SECRET not in page


# -- gaps and other notes --------------------------------------------------------------


def test_what_was_noted_is_known_at_every_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gap"
    write_slices(folder, voxels(6), SpacingBetweenSlices=4.0)
    next(folder.glob("*-2.dcm")).unlink()
    (folder / "Thumbs.db").write_bytes(b"thumbs")
    expected = read_series(folder, on_gap="fill")
    assert len(expected.notes) == 2
    with pytest.raises(DicomReadError, match="Series 0: expected slices without a gap"):
        SeriesStore(tmp_path / "store", BOX).ingest([folder])
    SeriesStore(tmp_path / "store", BOX, on_gap="fill").ingest([folder])
    decoded = count_decoded(SERIES, monkeypatch)
    again = SeriesStore(tmp_path / "store", BOX, on_gap="fill")
    assert again.notes([folder, None]) == [expected.notes, ()]
    assert again.n_slices([folder]).tolist() == [6]
    assert decoded == []
    with pytest.raises(DicomReadError, match="without a gap"):
        SeriesStore(tmp_path / "store", BOX).ingest([folder])


def test_notes_without_room_are_left_out() -> None:
    tail = store_module._packed(70_000, ["ä" * 400, "b" * 300, "c"])
    assert len(tail) == store_module._TAIL
    assert store_module._unpacked(tail) == ("ä" * 400, "c")
    assert tail[:4].view("<u4").item() == 70_000


# -- content ---------------------------------------------------------------------------


def test_any_change_in_a_folder_counts(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = SeriesStore(tmp_path / "store", BOX), series[0]
    wait = settle_at_once(monkeypatch)
    store.ingest(series)
    decoded = count_decoded(SERIES, monkeypatch)

    def is_read_again() -> bool:
        wait()
        n = len(decoded)
        assert np.array_equal(store.read([folder])[0], GridPlan(BOX).voxels_of(read_series(folder)))
        return len(decoded) > n

    assert not is_read_again()
    os.utime(next(folder.iterdir()))
    assert not is_read_again(), "times alone are no content"
    last = next(folder.glob("*-2.dcm"))
    kept = last.read_bytes()
    last.unlink()
    assert is_read_again()
    last.write_bytes(kept)
    assert not is_read_again(), "what was stored before"
    write_slices(
        folder, voxels(4)[3:], gap_mm=4.0, prefix="more", ImagePositionPatient=[-10.0, -20.0, 12.0]
    )
    assert is_read_again()
    assert store.n_slices([folder]).tolist() == [4]
    next(folder.glob("*-1.dcm")).rename(folder / "zz.dcm")
    assert is_read_again(), "another file is read first, whose directions are the volume's"


def test_what_no_reader_opens_is_not_opened(tmp_path: Path, series: list[Path]) -> None:
    os.mkfifo(series[0] / "pipe")
    (series[0] / "empty").touch()
    store = SeriesStore(tmp_path / "store", BOX)
    assert store.notes(series[:1]) == [read_series(series[0]).notes]
    assert "2 files that are no DICOM files were left out" in store.notes(series[:1])[0]


def test_one_file_of_many_frames(tmp_path: Path) -> None:
    file = tmp_path / "enhanced.dcm"
    enhanced(voxels(5)).save_as(file, enforce_file_format=True)
    store = SeriesStore(tmp_path / "store", BOX)
    assert np.array_equal(store.read([file])[0], GridPlan(BOX).voxels_of(read_series(file)))
    assert store.n_slices([file]).tolist() == [5]


def test_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).normal(size=(20, 18, 6)).astype(np.float32)
    for seed, name in enumerate(("a.nii", "b.nii.gz")):
        image = nibabel.Nifti1Image(values + seed, np.diag([1.0, 1.0, 4.0, 1.0]))
        nibabel.save(image, tmp_path / name)
    files = [tmp_path / "a.nii", tmp_path / "b.nii.gz"]
    store = SeriesStore(tmp_path / "store", BOX)
    for file, stored in zip(files, store.read(files), strict=True):
        assert np.array_equal(stored, GridPlan(BOX).voxels_of(read_series(file)))


def test_files_that_a_dicomdir_names_are_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = settle_at_once(monkeypatch)
    files = write_slices(tmp_path / "medium", voxels(4))
    directory = tmp_path / "medium" / "DICOMDIR"
    dicomdir([[file.name] for file in files]).save_as(directory, enforce_file_format=True)
    store = SeriesStore(tmp_path / "store", BOX)
    before = store.read([directory])
    assert np.array_equal(before[0], GridPlan(BOX).voxels_of(read_series(directory)))
    wait()
    write_slices(tmp_path / "medium", voxels(4)[::-1])
    after = store.read([directory])
    assert not np.array_equal(after, before)
    assert np.array_equal(after[0], GridPlan(BOX).voxels_of(read_series(directory)))
    files[1].unlink()
    with pytest.raises(DicomReadError, match="Series 0: expected the files that the DICOMDIR"):
        store.ingest([directory])


# -- what cannot be read, and unusable settings ----------------------------------------


def test_failures_are_not_stored(tmp_path: Path, series: list[Path]) -> None:
    store = SeriesStore(tmp_path / "store", BOX)
    with pytest.raises(ImageReadError, match="Series 1: expected an existing file") as caught:
        store.ingest([series[0], tmp_path / SECRET / "nowhere"])
    assert SECRET not in str(caught.value) and not isinstance(caught.value, DicomReadError)
    (tmp_path / SECRET / "nowhere").mkdir()
    with pytest.raises(DicomReadError, match="Series 0: expected a folder of DICOM slices"):
        store.ingest([tmp_path / SECRET / "nowhere"])
    draw_series(tmp_path / SECRET / "nowhere", 7)
    assert store.ingest([tmp_path / SECRET / "nowhere"]).tolist() == [1]


def test_file_that_may_not_be_opened(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "no", str(series[0]))

    monkeypatch.setattr(store_module.hashlib, "file_digest", refuse)
    with pytest.raises(ImageReadError, match="Series 0: .* without permission") as caught:
        SeriesStore(tmp_path / "store", BOX).ingest(series)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (4, 16)}, r"shape: expected three numbers of voxels \(Z, Y, X\)"),
        ({"shape": (4, 16, 0)}, "shape: expected an integer of at least 1"),
        ({"layout": "stack"}, "layout: expected one of"),
        ({"spacing": (1.0, 1.0)}, "spacing: expected 3 numbers"),
        ({"spacing": (1.0, 1.0, -1.0)}, "spacing: expected distances above 0 mm"),
        ({"spacing": (1.0, 1.0, 1.0), "layout": "slices"}, "spacing: expected None with layout"),
        ({"window": (2, 1)}, r"window: expected \(black, white\)"),
        ({"window": "wide"}, "window: expected 2 numbers"),
        ({"on_gap": "skip"}, "on_gap: expected one of"),
    ],
)
def test_unusable_settings(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SeriesStore(tmp_path / "store", **options)
