"""Sums that a site tells: what it could not have told is refused before it is added."""

import copy

import numpy as np
import pytest

from asfusion._frames import Frame
from asfusion.exceptions import InputError
from asfusion.tabular.told import Told, tell_columns


@pytest.fixture
def state():
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame({"crp": rng.normal(size=60), "sex": ["f", "m", None] * 20})
    return tell_columns(Frame.read(table), ["crp", "sex"], least=5).to_state()


def test_what_was_told_comes_back(state):
    told = Told.from_state(copy.deepcopy(state))
    assert told.to_state() == state
    assert (told + told).n_rows == 120


@pytest.mark.parametrize(
    "forge",
    [
        lambda state: state["columns"]["crp"]["bins"][0].__setitem__(1, 0),
        lambda state: state["columns"]["crp"]["bins"][0].__setitem__(1, -5),
        lambda state: state["columns"]["crp"]["bins"][0].__setitem__(2, np.inf),
        lambda state: state["columns"]["crp"]["bins"][0].__setitem__(0, np.inf),
        lambda state: state["columns"]["crp"].update(kind="text"),
        lambda state: state["columns"]["sex"]["levels"].update(f=-1),
        lambda state: state.update(n_rows=-1),
        lambda state: state.update(terms={"pain": -1}),
    ],
    ids=["no row", "fewer", "infinity", "nowhere", "kind", "level", "rows", "term"],
)
def test_what_no_site_tells_is_refused(forge, state):
    forge(state)
    with pytest.raises(InputError, match="expected the sums that a site tells"):
        Told.from_state(state)
