"""What regions add, and their pixels on the film that they were cut from."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import asfusion as af
from asfusion._tokens import Prepared
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._details import Details
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.regions import RegionAttribution
from asfusion.explanation.views.regions import _frame
from asfusion.imaging.extent import Extent
from asfusion.imaging.place import Place
from asfusion.show.figures import new_figure
from tests.looking import HEIGHT, WIDTH, BrightFinder, draw_film

pytestmark = pytest.mark.filterwarnings("ignore:.*a region was not found")


# -- the way back --------------------------------------------------------------------------


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize(
    "box", [(10, 5, 20, 16), (-6, 30, 24, 24), (60, -10, 40, 90), (3, 3, 7, 5)]
)
def test_heat_goes_back_to_its_pixels(box, is_mirrored):
    place = Place("right_sij", *box, (0.5, 0.25), is_mirrored)
    rng = np.random.default_rng(0)
    heat, film = rng.normal(size=(8, 8)), rng.random((HEIGHT, WIDTH))
    part = ImageAttribution(
        heat, np.zeros((8, 8)), "occlusion", extent=Extent(HEIGHT, WIDTH, 2.0, (0.5, 0.25)),
        place=place,
    )  # fmt: skip
    back = part.at_original(image=film)
    assert back.values.shape == (HEIGHT, WIDTH) and back.spacing_mm == (0.5, 0.25)
    assert back.total == pytest.approx(part.total)
    # A pixel of the film lies under one value, or under shares of several.
    seen = heat[:, ::-1] if is_mirrored else heat
    whole = _shares(box[3]) @ seen @ _shares(box[2]).T
    x0, y0, x1, y1 = place.box
    top, left, bottom, right = max(0, y0), max(0, x0), min(HEIGHT, y1), min(WIDTH, x1)
    inner = whole[top - y0 : bottom - y0, left - x0 : right - x0]
    expected = np.zeros((HEIGHT, WIDTH))
    expected[top:bottom, left:right] = inner + (whole.sum() - inner.sum()) / inner.size
    np.testing.assert_allclose(back.values, expected, atol=1e-12)


def _shares(n: int) -> np.ndarray:
    """Return which share of each of 8 values lies on each of n pixels, by fine steps."""
    fine = 8 * n
    shares = np.zeros((n, 8))
    np.add.at(shares, (np.arange(fine) // 8, np.arange(fine) // n), 1 / n)
    return shares


def test_the_picture_beneath_is_that_of_the_film():
    film = np.zeros((HEIGHT, WIDTH))
    film[20:40, 30:50] = np.arange(20) / 20
    place = Place("left_sij", 30, 20, 20, 20, is_mirrored=True)
    cut = film[20:40, 49:29:-1]
    part = ImageAttribution(np.zeros((20, 20)), cut, "occlusion", place=place)
    np.testing.assert_allclose(part.at_original((HEIGHT, WIDTH)).image, film)
    assert "left_sij: 20 x 20 px, from 30 px right of" in repr(part)


# -- in models -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    """Films of which some are eroded, and a table that says little; film 3 lacks a joint."""
    folder = tmp_path_factory.mktemp("films")
    y = np.arange(16) % 2
    for row, eroded in enumerate(y):
        film = draw_film(row, "r" if row == 3 else "rl", eroded=bool(eroded))
        Image.fromarray(film).save(folder / f"{row}.png")
    crp = np.random.default_rng(0).normal(size=16)
    return pd.DataFrame({"xray": [str(folder / f"{i}.png") for i in range(16)], "crp": crp}), y


def model_of(kind: str, family: str, rows):
    X, y = rows
    encoder = getattr(af, kind)("xray", region=BrightFinder(), size=32, d_out=4, augment=False)
    encoders = {"films": encoder, "labs": af.TabularEncoder("crp", d_out=4, d_hidden=4)}
    options = {"max_epochs": 2, "verbose": 0} if family == "Joint" else {}
    model = getattr(af, f"{family}FusionClassifier")(encoders, random_state=0, **options)
    if family == "Early":
        model.set_params(encoders__films__backbone="efficientnet_lite0")
    return model.fit(X, y)


@pytest.fixture(scope="module", params=["Joint", "Early"])
def explained(request, rows):
    model = model_of("RegionEncoder", request.param, rows)
    # A film with both joints, and one without the left.
    return model, af.explain(model, rows[0].iloc[[0, 3]], image_method="occlusion", verbose=0)


def test_regions_are_players_of_one_game(explained, rows):
    """Values are those of all orders in which regions join, and add up to the modality's."""
    model, found = explained
    details: Details = found.details
    encoder = model._modality_encoders()["films"]
    for row, part in enumerate(found["films"]):
        game = details.game
        worth, without = game.marginal(row, "films"), game.without(row, "films")
        prepared = encoder.prepare(rows[0].iloc[[[0, 3][row]]])

        def value(chosen, prepared=prepared, worth=worth, without=without, game=game):
            if not chosen:
                return without
            mask = prepared.tensors["mask"].clone()
            mask[:] = False
            mask[0, [encoder.regions_.index(name) for name in chosen]] = True
            asked = Prepared({**prepared.tensors, "mask": mask}, mask.any(dim=1))
            return float(worth(*game.encode("films", asked))[0])

        names = list(part.regions)
        assert names == (["right_sij"] if row else ["right_sij", "left_sij"])
        expected = dict.fromkeys(names, 0.0)
        orders = list(permutations(names))
        for order in orders:
            for step, name in enumerate(order):
                gain = value(order[: step + 1]) - value(order[:step])
                expected[name] += gain / len(orders)
        assert part.regions == pytest.approx(expected, abs=1e-6)
        assert part.total == pytest.approx(game.own_value(row, "films"), abs=1e-6)


def test_pixels_of_a_region_lie_on_its_place(explained):
    _, found = explained
    part = found["films"][0]
    assert isinstance(part, RegionAttribution)
    for name in part.regions:
        film = part[name].at_original()
        assert film.values.shape == (HEIGHT, WIDTH)
        x0, y0, x1, y1 = part[name].place.box
        inner = np.zeros((HEIGHT, WIDTH), bool)
        inner[max(0, y0) : y1, max(0, x0) : x1] = True
        assert not film.values[~inner].any()
        half = (x0 + x1) / 2 < WIDTH / 2
        assert half == (name == "right_sij")
    with pytest.raises(ConfigurationError, match="RegionAttribution: expected one of 'right_sij'"):
        part["jaw"]
    assert "right_sij: " in repr(part) and "from" in part._repr_html_()


def test_it_is_drawn_and_checked(explained):
    _, found = explained
    assert len(found.plot_patient(0).axes) > 2
    checks = found.check()
    assert len(checks) and not found.failed_checks
    assert found.plot_curves("films").size == 2


def test_frames_and_their_names_stay_on_the_film():
    ax = new_figure((4, 3), shown=False).subplots()
    ax.set(xlim=(0, 100), ylim=(80, 0))
    for number, (x, y) in enumerate([(-20, -10), (40, 30), (90, 60)]):
        place = Place(f"part {number}", x, y, 50, 50)
        _frame(ax, place.name, number != 1, place, (80, 100), number)
    boxes = [patch.get_bbox().extents.tolist() for patch in ax.patches]
    assert boxes == [[0, 0, 30, 40], [40, 30, 90, 80], [90, 60, 100, 80]]
    assert len({str(patch.get_linestyle()) for patch in ax.patches}) == 3
    told = [(*text.xy, text.get_verticalalignment()) for text in ax.texts]
    assert told == [(0, 0, "top"), (40, 80, "bottom"), (90, 60, "bottom")]


def test_a_place_that_begins_beside_the_film_is_told_as_such():
    words = Place("right_lung", -24, -3, 60, 60, (0.5, 0.5)).in_words()
    assert words.endswith("from 12 mm left of and 2 mm above the upper left corner")


def test_a_cut_around_all_regions_goes_back_to_the_film(rows):
    model = model_of("ImageEncoder", "Joint", rows)
    part = af.explain(model, rows[0].iloc[:1], verbose=0)["films"][0]
    assert part.place.name == "right_sij + left_sij"
    assert part.at_original().values.shape == (HEIGHT, WIDTH)
