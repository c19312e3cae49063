"""Networks of a finder: built once for what was learned, and kept nowhere else."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251  (what others may do with a finder)
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from asfusion.anatomy import _built
from asfusion.anatomy.landmark_finder import LandmarkFinder
from asfusion.anatomy.region_finder import RegionFinder
from asfusion.anatomy.saved import read_finder

from .conftest import QUICK
from .drawn import box_table, draw


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows by each network that is built."""
    made: list[Any] = []
    honest = _built.HeatNetwork

    def build(*args: Any, **kwargs: Any) -> Any:
        made.append(honest(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(_built, "HeatNetwork", build)
    return made


@pytest.mark.parametrize("which", ["finder", "pointer"])
def test_networks_are_built_once(
    which: str,
    request: pytest.FixtureRequest,
    built: list[Any],
    films: list[str],
    tmp_path: Any,
) -> None:
    fitted: RegionFinder | LandmarkFinder = copy.copy(request.getfixturevalue(which))
    built.clear()
    state = torch.get_rng_state()
    one, two = fitted.find(films[:1]), fitted.find(films[:1])
    np.testing.assert_array_equal(one.centres, two.centres)
    assert len(built) == 4  # three for films, one for windows
    assert torch.equal(torch.get_rng_state(), state)
    read_finder(fitted.save(tmp_path / "finder.asf")).find(films[:1])
    assert len(built) == 8


def test_networks_stay_where_they_are(finder: RegionFinder, films: list[str]) -> None:
    fitted = copy.deepcopy(finder)
    before = pickle.dumps(fitted)
    found = fitted.find(films[:1])
    assert pickle.dumps(fitted) == before
    for other in (pickle.loads(before), copy.copy(fitted), copy.deepcopy(fitted)):
        assert not [name for name in vars(other) if "_built" in name]
        np.testing.assert_array_equal(other.find(films[:1]).boxes, found.boxes)


def test_what_is_learned_anew_is_built_anew(boxes: pd.DataFrame, films: list[str]) -> None:
    options: dict[str, Any] = {**QUICK, "size": 32, "epochs": 1}
    fitted = RegionFinder(boxes, **options).fit(films)
    first = fitted.find(films[:2]).centres
    others, truth = draw(8, seed=5)
    fitted.set_params(annotations=box_table(others, truth)).fit(others)
    afresh = RegionFinder(box_table(others, truth), **options).fit(others)
    np.testing.assert_array_equal(fitted.find(films[:2]).centres, afresh.find(films[:2]).centres)
    assert not np.array_equal(fitted.find(films[:2]).centres, first)
    fitted.weights_ = fitted.weights_[:1]
    assert not np.array_equal(fitted.find(films[:2]).centres, afresh.find(films[:2]).centres)


def test_threads_find_the_same(finder: RegionFinder, films: list[str]) -> None:
    fitted = copy.copy(finder)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fitted.find(films[:2]).centres, range(8)))
    assert all(np.array_equal(own, found[0]) for own in found)
