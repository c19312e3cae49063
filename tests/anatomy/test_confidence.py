"""Points that are taken for their neighbours, told by how all of them stand to each other."""

from __future__ import annotations

import numpy as np
import pytest

from asfusion.anatomy._arrangement import arranged, nearest
from asfusion.anatomy._confidence import Confidence, Held, calibrated, features_of, with_off
from asfusion.anatomy._made_wrong import taken_for_another
from asfusion.anatomy._views import Seen


def chains(n: int, seed: int = 0, n_points: int = 12) -> np.ndarray:
    """Return points (n, R, 2) along a bent chain of two rows, anywhere, turned and zoomed."""
    rng = np.random.default_rng(seed)
    along, row = np.divmod(np.arange(n_points), 2)
    places = np.empty((n, n_points, 2))
    for film in range(n):
        bend = rng.normal(0, 0.05)
        z = (along + 0.4 * row) + 1j * (bend * along**2 + 0.8 * row) + rng.normal(0, 0.02, n_points)
        z = z * rng.uniform(6, 14) * np.exp(1j * rng.normal(0, 0.3)) + rng.uniform(10, 60) * (
            1 + 1j
        )
        places[film] = np.stack([z.real, z.imag], axis=1)
    return places


def test_a_point_at_the_place_of_its_neighbour_is_off() -> None:
    learned = arranged(chains(40))
    places = chains(30, seed=1)
    moved, taken = taken_for_another(places, nearest(places))
    right, off = learned.off(places), learned.off(moved)
    assert np.median(right) < 2
    assert np.quantile(off[taken], 0.1) > np.quantile(right, 0.95)
    # The others do not pay for it.
    others = np.ones(off.shape, dtype=bool)
    others[taken] = False
    assert np.quantile(off[others], 0.95) < np.median(off[taken]) / 2


def test_it_does_not_matter_where_how_large_and_how_turned() -> None:
    learned, places = arranged(chains(20)), chains(5, seed=2)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(learned.off(places @ turn * 3 + 100), learned.off(places), rtol=0.3)


@pytest.mark.parametrize("n_points", [1, 2])
def test_few_points_have_no_arrangement(n_points: int) -> None:
    places = chains(10, n_points=n_points)
    learned = arranged(places)
    assert (learned.pairs == -1).all()
    assert (learned.off(places) == 1).all()
    assert nearest(places).tolist() == [[0], [1, 0]][n_points - 1]


def test_points_that_few_films_show_are_passed_over() -> None:
    places = chains(20)
    places[5:, 3] = np.nan
    learned = arranged(places)
    assert not (learned.pairs[np.arange(12) != 3] == 3).any()
    assert (learned.pairs[3] == -1).all()
    assert learned.is_sound(12)
    assert np.isfinite(learned.off(chains(4, seed=3))).all()


def test_confidence_learns_from_what_is_wrong_by_intent() -> None:
    rng = np.random.default_rng(0)
    shape = (40, 6)
    seen = Seen(
        np.zeros((*shape, 2)),
        np.zeros((*shape, 2)),
        rng.uniform(0.1, 0.3, shape),
        rng.uniform(0.01, 0.03, shape),
    )
    features = features_of(seen, rng.uniform(0.5, 1.5, shape), seen)
    mistaken = with_off(features, np.full(shape, 12.0)).reshape(-1, 5)
    nothing = features.reshape(-1, 5) - np.array([-3.0, 2.0, -2.0, 2.0, -2.0])
    learned = calibrated([Held(features, np.ones(shape), nothing, mistaken)])
    assert isinstance(learned, Confidence)
    assert learned.is_sound()
    assert learned.knows_windows
    assert learned.of(features).min() > 0.9
    assert learned.of(mistaken).max() < 0.5
    assert learned.of(nothing).max() < 0.5
