"""`find_duplicates`: every exact copy, nearly every changed one, and few false alarms."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from asfusion.datasets.axspa_cohort import make_axspa_cohort
from asfusion.duplicates.finder import find_duplicates
from asfusion.exceptions import ColumnError, InputError
from asfusion.imaging.fingerprint import perceptual_hash
from asfusion.imaging.read import read_image

WORDS = [
    "pain",
    "stiff",
    "morning",
    "night",
    "rest",
    "better",
    "worse",
    "exercise",
    "back",
    "hip",
    "heel",
    "eye",
    "skin",
    "bowel",
]


def notes(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 40)) for _ in range(n)]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Return pixels of different synthetic radiographs, each of another patient."""
    folder = tmp_path_factory.mktemp("films")
    cohort = make_axspa_cohort(30, random_state=1, path=folder, modalities=["xray"])
    return [read_image(path)[0] for path in cohort.X["pelvis_xray"].dropna()]


def change(pixels, kind):
    image = Image.fromarray(pixels)
    if kind == "resized":
        return image.resize((int(0.7 * image.width), int(0.7 * image.height)))
    if kind == "brighter":
        return Image.fromarray(np.clip(1.15 * pixels.astype(float) + 8, 0, 255).astype(np.uint8))
    return image


@pytest.mark.parametrize(
    ("kind", "ending", "options", "expected"),
    [
        ("copied", "png", {}, "file"),
        ("stored anew", "tif", {}, "pixels"),
        ("compressed", "jpg", {"quality": 60}, "image"),
        ("resized", "png", {}, "image"),
        ("brighter", "png", {}, "image"),
    ],
)
def test_planted_copies_of_films_are_found(films, tmp_path, kind, ending, options, expected):
    paths = []
    for i, pixels in enumerate(films):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    for i, pixels in enumerate(films):
        paths.append(str(tmp_path / f"again-{i}.{ending}"))
        change(pixels, kind).save(paths[-1], **options)
    found = find_duplicates(pd.DataFrame({"film": paths}), np.arange(len(paths)), verbose=0)
    pairs = {(link.first, link.second) for link in found.links}
    planted = {(i, i + len(films)) for i in range(len(films))}
    share = len(pairs & planted) / len(planted)
    assert share == 1.0 if expected != "image" else share >= 0.95
    assert {link.kind for link in found.links} == {expected}
    assert pairs <= planted  # no false alarm among phantoms that all resemble each other


def test_different_films_are_no_duplicates(films, tmp_path):
    paths = []
    for i, pixels in enumerate(films):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    found = find_duplicates(pd.DataFrame({"film": paths}), verbose=0)
    assert found.links == ()
    assert "No shared content under different rows" in found.verdict


def test_different_real_radiographs_are_no_duplicates(shared_data):
    cohort = pd.read_csv(shared_data / "cxr" / "cohort.csv")
    paths = pd.DataFrame({"film": [str(shared_data / "cxr" / name) for name in cohort["image"]]})
    found = find_duplicates(paths, cohort["group"], verbose=0)
    assert found.checked["film"] == len(cohort)
    assert len(found.links) <= 2


def test_notes_exact_and_edited():
    texts = notes(40)
    copied = [text.upper().replace(" ", "  ") + "." for text in texts[:10]]
    edited = [" ".join(["today", *text.split()[:-2]]) for text in texts[10:20]]
    X = pd.DataFrame({"note": [*texts, *copied, *edited]})
    found = find_duplicates(X, np.arange(60))
    kinds = {(link.first, link.second): link.kind for link in found.links}
    assert kinds == {
        **{(i, 40 + i): "note" for i in range(10)},
        **{(10 + i, 50 + i): "near note" for i in range(10)},
    }


@pytest.mark.parametrize("columns", [None, ["note"]])
def test_long_notes_among_short_ones_are_compared(columns):
    long, other = notes(2)
    for short in (["Back pain."] * 6, [f"Back pain {i}" for i in range(40)]):
        X = pd.DataFrame({"note": [*short, long, other, long], "crp": np.arange(len(short) + 3.0)})
        found = find_duplicates(X, np.arange(len(X)), columns=columns, verbose=0)
        last = len(X) - 1
        assert [(x.kind, x.first, x.second) for x in found.links] == [("note", last - 2, last)]
        assert found.checked["note"] == 3


def test_short_notes_are_phrases_not_duplicates():
    X = pd.DataFrame({"note": ["no acute findings in either joint today", *notes(9)] * 2})
    found = find_duplicates(X, np.arange(20))
    assert (0, 10) not in {(link.first, link.second) for link in found.links}
    assert len(found.links) == 9


def test_rows_of_a_table_and_of_an_array():
    values = np.random.default_rng(0).normal(size=(50, 6))
    values[40:] = values[:10]
    frame = pd.DataFrame(values, columns=list("abcdef"))
    for X in (frame, pl.from_pandas(frame), values):
        found = find_duplicates(X, np.arange(50))
        assert {(link.first, link.second) for link in found.links} == {
            (i, 40 + i) for i in range(10)
        }


def test_equal_cells_that_are_a_coincidence_are_not_reported():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.integers(20, 60, 200), "sex": rng.choice(["f", "m"], 200)})
    assert find_duplicates(X, np.arange(200)).links == ()


def test_same_patient_may_repeat_and_joined_groups_keep_copies_together():
    texts = notes(4)
    X = pd.DataFrame({"note": [texts[0], texts[0], texts[1], texts[0], texts[2], texts[3]]})
    groups = ["a", "a", "b", "c", "d", "e"]
    found = find_duplicates(X, groups)
    assert [(link.first, link.second) for link in found.links] == [(0, 3)]
    joined = found.joined_groups
    assert joined[0] == joined[1] == joined[3]
    assert len(set(joined)) == 4
    assert find_duplicates(X, joined).links == ()
    assert found.n_patients == 2


def test_folders_of_slices(tmp_path):
    for name, content in (("one", b"a"), ("two", b"b"), ("three", b"a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "slice-0").write_bytes(content)
        (tmp_path / name / "slice-1").write_bytes(content * 2)
    X = pd.DataFrame({"series": [str(tmp_path / name) for name in ("one", "two", "three")]})
    found = find_duplicates(X, [1, 2, 3], verbose=0)
    assert [(link.kind, link.first, link.second) for link in found.links] == [("folder", 0, 2)]


def test_unreadable_images_are_counted_and_no_path_is_told(tmp_path):
    paths = [str(tmp_path / "secret-a.png"), str(tmp_path / "secret-b.png")]
    found = find_duplicates(pd.DataFrame({"film": paths}), verbose=0)
    assert found.n_unreadable == 2
    assert "2 could not be read" in repr(found)
    assert "secret" not in repr(found) + found._repr_html_()


def test_text_page_and_table():
    texts = notes(30)
    found = find_duplicates(pd.DataFrame({"note": texts * 2}), np.arange(60))
    assert "60 patients share content with another: same note in 'note' (30)" in found.verdict
    assert "and 20 more" in repr(found)
    assert "<script" not in found._repr_html_()
    assert found.to_frame()["is_exact"].all() and len(found.to_frame()) == 30


def test_grey_image_has_no_perceptual_hash():
    assert perceptual_hash(np.full((32, 32), 7, dtype=np.uint8)) is None


def test_refusals():
    X = pd.DataFrame({"note": notes(3)})
    with pytest.raises(ColumnError, match="columns: expected the column 'nota' in X"):
        find_duplicates(X, columns=["nota"])
    with pytest.raises(InputError, match="groups: expected 3 entries"):
        find_duplicates(X, groups=[1])


def test_example_rows_are_named_once():
    texts = notes(4)
    X = pd.DataFrame({"note": texts[:2] * 2, "other": texts[2:] * 2, "crp": np.arange(4.0)})
    found = find_duplicates(X, np.arange(4), verbose=0)
    assert len(found.links) == 4
    assert "for example rows 0 and 2, 1 and 3." in found.verdict
