"""Encoders that look where a finder points."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone

import asfusion as af
from asfusion._frames import Frame
from asfusion.datasets._phantoms.dicom_files import write_radiograph
from asfusion.encoders import _at_regions, _looking
from asfusion.encoders._cache import EMBEDDINGS
from asfusion.exceptions import AsfusionWarning, ConfigurationError, ImageReadError, InputError
from asfusion.imaging._in_memory import read_content
from asfusion.imaging.original import read_original
from tests.looking import WIDTH, BrightFinder, annotated, draw_film

BOTH = "ImageEncoder", "RegionEncoder"
pytestmark = pytest.mark.filterwarnings("ignore:.*how large a pixel is.*")


@pytest.fixture(scope="module")
def X(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Eight films; in row 2 there is none, in row 3 the left joint is not to be seen."""
    folder = tmp_path_factory.mktemp("films")
    for row in range(8):
        film = draw_film(row, "r" if row == 3 else "rl")
        Image.fromarray(film).save(folder / f"{row}.png")
    paths = [None if row == 2 else str(folder / f"{row}.png") for row in range(8)]
    return pd.DataFrame({"xray": paths})


@pytest.fixture
def sure(X: pd.DataFrame) -> pd.DataFrame:
    """Rows whose joints can all be found."""
    return X.iloc[[0, 1, 4, 5, 6, 7]]


def make(kind: str = "RegionEncoder", X: pd.DataFrame | None = None, **params):
    finder = BrightFinder(None if X is None else annotated(X["xray"]))
    return getattr(af, kind)("xray", region=finder, **{"size": 32, "d_out": 6, **params})


def lit(film: np.ndarray, name: str) -> tuple[int, int, int, int]:
    """Return the box of a joint, as whoever drew the film knows it."""
    middle = WIDTH // 2
    half = film[:, :middle] if name == "right_sij" else film[:, middle:]
    y, x = np.nonzero(half > 150)
    start = 0 if name == "right_sij" else middle
    return x.min() + start, y.min(), x.max() + 1 + start, y.max() + 1


def test_each_region_is_cut_from_the_original(sure):
    prepared = make(X=sure).fit(sure).prepare(sure)
    assert prepared.tensors["pixels"].shape == (6, 2, 1, 32, 32)
    for row, path in enumerate(sure["xray"]):
        film = np.asarray(Image.open(path))
        for region, name in enumerate(("right_sij", "left_sij")):
            x0, y0, x1, y1 = lit(film, name)
            cut = prepared.tensors["pixels"][row, region, 0].numpy()
            # 1.25 times the longer side of 18 pixels, to 32: the joint takes 4/5 of the height.
            rows = np.flatnonzero((cut > 150).any(axis=1))
            assert abs(len(rows) - 32 / 1.25) <= 2
            assert abs(rows.mean() - 15.5) <= 1.5
            assert x1 - x0 == 12 and y1 - y0 == 18


def test_the_left_is_seen_in_the_mirror(sure):
    """Joints are brightest towards the outside: in one orientation, on one side."""
    pixels = make(X=sure).fit(sure).prepare(sure).tensors["pixels"][:, :, 0].float()
    brightest = (pixels > 225).float().mean(dim=2)  # rows, regions, columns
    assert (brightest[..., :16].sum(dim=2) > 4 * brightest[..., 16:].sum(dim=2)).all()


def test_one_cut_goes_around_all_regions(sure):
    encoder = make("ImageEncoder", X=sure).fit(sure)
    pixels = encoder.prepare(sure).tensors["pixels"]
    assert pixels.shape == (6, 1, 32, 32)
    film = np.asarray(Image.open(sure["xray"].iloc[0]))
    (place,) = encoder._looked_at(encoder._read(sure.iloc[[0]]))[0]
    x0, y0 = lit(film, "right_sij")[:2]
    x1, y1 = lit(film, "left_sij")[2:]
    assert place.x0 < x0 < x1 < place.box[2] and place.y0 < y0 < y1 < place.box[3]
    assert place.width == round(1.25 * (x1 - x0)) == place.height


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Four films of pixels half a millimetre high and 0.4 wide."""
    folder, paths = tmp_path_factory.mktemp("dicom"), []
    for row in range(4):
        path = folder / f"{row}.dcm"
        write_radiograph(
            path, draw_film(row).astype(np.uint16) * 16, spacing_mm=(0.5, 0.4), patient_key="P1",
            site="A", scanner="DX 1", sex="male", age_years=34, date=datetime.date(2021, 3, 9),
            window=(0, 4095),
        )  # fmt: skip
        paths.append(path)
    return pd.DataFrame({"xray": paths})


def test_side_in_mm_is_that_on_the_patient(dicom):
    encoder = make(X=dicom, side_mm=10).fit(dicom)
    places = encoder._looked_at(encoder._read(dicom))
    for film in places:
        assert [place.name for place in film] == ["right_sij", "left_sij"]
        assert all((place.height, place.width) == (20, 25) for place in film)
        assert [place.is_mirrored for place in film] == [False, True]
        x0, y0, x1, y1 = film[0].box_mm
        assert (x1 - x0, y1 - y0) == pytest.approx((10, 10))


@pytest.mark.parametrize("kind", BOTH)
def test_a_side_in_mm_is_guessed_without_spacing_and_that_is_said_once(kind, sure):
    plain = make(kind, X=sure).fit(sure).prepare(sure)
    with pytest.warns(AsfusionWarning, match=r"'xray': 6 of 6 film\(s\) do not say") as told:
        guessed = make(kind, X=sure, side_mm=90).fit(sure).prepare(sure)
    assert len(told) == 1
    assert torch.equal(guessed.tensors["pixels"], plain.tensors["pixels"])


# -- what is lost ----------------------------------------------------------------------------


def test_a_lost_region_has_no_token_and_a_missing_film_no_row(X):
    encoder = make(X=X).fit(X)
    with pytest.warns(AsfusionWarning, match=r"on 1 of 7 film\(s\) a region was not found, and it"):
        prepared = encoder.prepare(X)
    assert prepared.present.tolist() == [row != 2 for row in range(8)]
    expected = [[row != 2, row not in (2, 3)] for row in range(8)]
    assert prepared.tensors["mask"].tolist() == expected
    assert not prepared.tensors["pixels"][~prepared.tensors["mask"]].any()


@pytest.mark.parametrize("kind", BOTH)
def test_a_lost_film_is_read_whole(kind, X):
    whole = af.ImageEncoder("xray", size=32).fit(X).prepare(X).tensors["pixels"][3]
    encoder = make(kind, X=X, on_lost="whole").fit(X)
    with pytest.warns(AsfusionWarning, match="a region was not found, and the film is read whole"):
        seen = encoder.prepare(X).tensors["pixels"][3]
    assert torch.equal(seen if kind == "ImageEncoder" else seen[1], whole)


def test_a_lost_film_is_missing(X):
    encoder = make("ImageEncoder", X=X, on_lost="missing").fit(X)
    with pytest.warns(AsfusionWarning, match="1 of 7"):
        assert encoder.prepare(X).present.tolist() == [row not in (2, 3) for row in range(8)]


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "compact"])
def test_regions_that_are_lost_on_every_film_are_said(backbone):
    dark = pd.DataFrame({"xray": [np.full((64, 80), grey, np.uint8) for grey in range(8)]})
    encoder = make(X=dark, backbone=backbone, on_lost="missing")
    model = af.EarlyFusionClassifier({"film": encoder}, verbose=0)
    said = r"encoders\['film'\]: .* got 8 row\(s\) without. The finder of region= found nothing"
    expected = pytest.raises(InputError, match=said)
    with pytest.warns(AsfusionWarning, match="on 8 of 8"), expected:
        model.fit(dark, [0, 1] * 4)


@pytest.mark.parametrize("kind", BOTH)
def test_a_lost_region_is_an_error(kind, X):
    encoder = make(kind, X=X, on_lost="raise").fit(X)
    with pytest.raises(InputError, match=r"Column 'xray', row 3: expected to find .*left_sij, got"):
        encoder.prepare(X)


# -- black -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_blackout_hides_what_the_cut_shows_and_nothing_else(kind, sure):
    encoder = make(kind, X=sure, blackout=True).fit(sure)
    pixels = encoder.prepare(sure).tensors["pixels"].reshape(6, 32, 32)
    whole = af.ImageEncoder("xray", size=32).fit(sure).prepare(sure).tensors["pixels"][:, 0]
    cutting = clone(encoder).set_params(blackout=False).fit(sure)
    places = cutting._looked_at(cutting._read(sure))
    for row in range(6):
        assert whole[row].max() > 150 > pixels[row].max()
        film = np.asarray(Image.open(sure["xray"].iloc[row])).copy()
        for place in places[row]:
            x0, y0, x1, y1 = (max(0, edge) for edge in place.box)
            film[y0:y1, x0:x1] = 0
        expected = read_content(film, 32, 1)[0]
        np.testing.assert_array_equal(pixels[row].numpy(), expected)


def test_blackout_shows_no_film_whose_region_is_lost(X):
    encoder = make(X=X, blackout=True, on_lost="whole").fit(X)
    with pytest.warns(AsfusionWarning, match="and it is taken as missing"):
        assert encoder.prepare(X).present.tolist() == [row not in (2, 3) for row in range(8)]


# -- the finder ------------------------------------------------------------------------------


def test_the_finder_learns_from_training_rows_alone(sure):
    encoder = make(X=sure).fit(sure.iloc[:4])
    assert len(encoder.finder_.trained_on_) == 4
    assert not hasattr(encoder.region, "trained_on_"), "a description stays as it was"
    assert encoder.elsewhere_ == ()


def test_equal_rows_teach_one_finder_once(sure, monkeypatch):
    calls = []
    monkeypatch.setattr(
        BrightFinder,
        "fit",
        lambda self, films, _f=BrightFinder.fit: (calls.append(1), _f(self, films))[1],
    )
    rows = sure.iloc[:3]
    for encoder in (make(X=sure, d_out=3), make("ImageEncoder", X=sure)):
        encoder.fit(rows)
        clone(encoder).fit(rows)
    assert len(calls) == 1
    make(X=sure.iloc[:2]).fit(rows)  # other annotations
    make(X=sure).fit(sure.iloc[1:4])  # other films
    assert len(calls) == 3


def test_a_saved_finder_warns_of_films_that_it_learned_from(sure, monkeypatch):
    saved = BrightFinder(annotated(sure["xray"])).fit(sure["xray"])
    monkeypatch.setattr(_at_regions, "read_finder", lambda path: saved)
    encoder = af.RegionEncoder("xray", region="finder.asf", size=32).fit(sure.iloc[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.prepare(sure.iloc[:3])  # of these, the encoder itself has learned
    with pytest.warns(AsfusionWarning, match=r"learned from 2 of 3 film\(s\) that this encoder"):
        encoder.prepare(sure.iloc[[0, 3, 4]])


@pytest.mark.parametrize("region", [3, "nothing", BrightFinder])
def test_what_is_no_finder_is_refused(region, sure):
    with pytest.raises((ConfigurationError, af.exceptions.BundleError), match="expected "):
        af.ImageEncoder("xray", region=region).fit(sure)


def test_regions_need_a_finder(sure):
    with pytest.raises(ConfigurationError, match="region: expected a finder with annotations"):
        af.RegionEncoder("xray").fit(sure)
    with pytest.raises(ConfigurationError, match="blackout: expected a region= to make black"):
        af.ImageEncoder("xray", blackout=True).fit(sure)


@pytest.mark.parametrize(
    ("params", "words"),
    [({"side_mm": 0}, "side_mm: expected"), ({"on_lost": "zero"}, "on_lost: expected")],
)
def test_unusable_parameters_are_named(params, words, sure):
    with pytest.raises(ConfigurationError, match=words):
        make(X=sure, **params).fit(sure)


# -- cache and store -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_a_store_changes_no_bit_and_looks_once(kind, X, tmp_path, monkeypatch):
    plain = make(kind, X=X, on_lost="whole").fit(X)
    stored = clone(plain).set_params(store=tmp_path / "store").fit(X)
    with pytest.warns(AsfusionWarning, match="1 of 7"):
        expected = plain.prepare(X)
        first = stored.prepare(X)
    monkeypatch.setattr(_looking.Look, "see", lambda *_: pytest.fail("looked again"))
    with pytest.warns(AsfusionWarning, match="1 of 7"):
        again = clone(stored).fit(X).prepare(X.iloc[::-1])
    for name, tensor in expected.tensors.items():
        assert torch.equal(first.tensors[name], tensor)
        assert torch.equal(again.tensors[name].flip(0), tensor)


def test_other_sides_sizes_and_finders_share_no_key(dicom, tmp_path):
    described = make(X=dicom, side_mm=10, store=tmp_path / "store")
    others = [{}, {"side_mm": 12}, {"size": 48}, {"blackout": True}, {"channels": 3}]
    encoders = [clone(described).set_params(**params).fit(dicom) for params in others]
    encoders.append(clone(described).fit(dicom.iloc[:3]))  # a finder that knows other films
    assert len({encoder._look.digest for encoder in encoders}) == len(others) + 1
    assert len({repr(encoder._embedding_settings()) for encoder in encoders}) == len(others) + 1
    for encoder in encoders:
        encoder.prepare(dicom)
    assert len(list((tmp_path / "store").iterdir())) == len(others) + 1


def test_a_frozen_backbone_embeds_a_film_once(sure, monkeypatch):
    encoder = make(X=sure, backbone="efficientnet_lite0").fit(sure)
    EMBEDDINGS.clear()
    first = encoder.transform(sure)
    monkeypatch.setattr(_looking.Look, "see", lambda *_: pytest.fail("looked again"))
    np.testing.assert_array_equal(clone(encoder).fit(sure).transform(sure), first)


def test_colours_are_cut_as_well(sure):
    pixels = make(X=sure, channels=3).fit(sure).prepare(sure).tensors["pixels"]
    assert pixels.shape == (6, 2, 3, 32, 32)


def test_pictures_in_memory_are_cut_as_their_files_are(sure, tmp_path):
    films = [np.asarray(Image.open(path)) for path in sure["xray"]]
    held = pd.DataFrame({"xray": pd.Series(films, dtype=object)})
    from_files = make(X=sure).fit(sure).prepare(sure).tensors["pixels"]
    encoder = make(X=held, store=tmp_path).fit(held)
    assert torch.equal(encoder.prepare(held).tensors["pixels"], from_files)


def test_relative_paths_start_at_root(sure):
    folder = Path(sure["xray"].iloc[0]).parent
    names = pd.DataFrame({"xray": [Path(path).name for path in sure["xray"]]})
    encoder = make(X=names, root=folder).fit(names)
    assert len(encoder.finder_.trained_on_) == 6
    expected = make(X=sure).fit(sure).prepare(sure).tensors["pixels"]
    assert torch.equal(encoder.prepare(names).tensors["pixels"], expected)


def test_unreadable_films_are_missing_on_demand(sure, tmp_path):
    path = tmp_path / "none.png"
    path.write_bytes(b"nothing")
    rows = pd.concat([sure, pd.DataFrame({"xray": [str(path)]})], ignore_index=True)
    encoder = make(X=sure, on_error="missing").fit(sure)
    with pytest.warns(AsfusionWarning, match="1 of 7 image file"):
        assert encoder.prepare(rows).present.tolist() == [True] * 6 + [False]


class Reading(BrightFinder):
    """A finder that reads what it is taught, as those of asfusion do."""

    def fit(self, films, groups=None):
        for film in films:
            read_original(film)
        return super().fit(films)


@pytest.mark.parametrize("encoder", [af.ImageEncoder, af.RegionEncoder])
def test_an_unreadable_film_that_is_annotated(encoder, sure, tmp_path):
    (tmp_path / "none.png").write_bytes(b"nothing")
    table = sure.assign(xray=[str(tmp_path / "none.png"), *sure["xray"][1:]])
    frame = Frame.read(table).take(np.arange(6)[::-1])
    described = encoder("xray", region=Reading(annotated(table["xray"])), size=32)
    with pytest.raises(ImageReadError, match="'xray', row 0: expected a PNG"):
        described.fit(frame)
    described.set_params(on_error="missing")
    with pytest.warns(AsfusionWarning, match="1 of 6 image file.*'xray', row 0: "):
        described.fit(frame)
    assert len(described.finder_.trained_on_) == 5


def test_what_is_printed_names_no_film(sure):
    for finder in (af.anatomy.RegionFinder, af.anatomy.LandmarkFinder):
        encoder = af.RegionEncoder("xray", region=finder(annotated(sure["xray"]), size=64))
        assert "annotations=..., size=64)" in repr(encoder)
        assert "films" not in repr(encoder) and "films" not in str(encoder)
        model = af.EarlyFusionClassifier({"joints": encoder})
        assert ".png" not in repr(model) and ".png" not in model._repr_html_()
    assert repr(af.anatomy.RegionFinder(annotated([]))) == "RegionFinder(annotations=...)"
