"""Values of columns as the package shap finds them, and what they come back as."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._foreign import Asked, import_shap, shap_in_our_words

Floats = NDArray[np.float64]


class ShapleyOfColumns(NamedTuple):
    """Values (P,) of one row's columns, the payoff of none, standard errors, and pairs (P, P)."""

    values: Floats
    base: float
    errors: Floats | None = None
    interactions: Floats | None = None


def ask_kernel_explainer(
    play: Callable[[NDArray[np.bool_]], Floats], n_players: int, *, seed: int
) -> ShapleyOfColumns:
    """Return what `shap.KernelExplainer` finds for a game, without its selection of features.

    Whether a column is there becomes a feature of its own, one in the row and zero in the
    background, so that shap plays the very coalitions of the game.
    """
    shap = import_shap()
    asked = Asked(lambda masks: play(np.asarray(masks) > 0.5))
    before = np.random.get_state()  # noqa: NPY002 (shap draws from numpy's global state)
    loud = logging.getLogger("shap")
    level = loud.level
    try:
        np.random.seed(seed % 2**32)  # noqa: NPY002
        loud.setLevel(logging.ERROR)
        with shap_in_our_words(asked):
            explainer = shap.KernelExplainer(asked, np.zeros((1, n_players)))
            values = explainer.shap_values(np.ones((1, n_players)), silent=True, l1_reg=False)
    finally:
        np.random.set_state(before)  # noqa: NPY002
        loud.setLevel(level)
    return ShapleyOfColumns(np.ravel(values), float(np.ravel(explainer.expected_value)[0]))
