"""Pictures at their own resolution, and squares cut from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.exceptions import ImageReadError
from asfusion.imaging.original import read_original

GREY = np.arange(100, dtype=np.uint8).reshape(10, 10)


def test_a_square_inside_is_what_is_there() -> None:
    cut = read_original(GREY).cut((5.0, 4.0), (4.0, 4.0), 4)
    assert (cut[0] == GREY[2:6, 3:7]).all()


def test_what_lies_outside_is_black() -> None:
    cut = read_original(GREY + np.uint8(1)).cut((0.0, 0.0), (4.0, 4.0), 4)
    assert cut[0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 11, 12]]
    assert not read_original(GREY).cut((-50.0, 90.0), (4.0, 4.0), 8).any()


@given(
    st.floats(-20, 30), st.floats(-20, 30), st.floats(0.1, 40), st.floats(0.1, 40),
    st.integers(1, 24),
)  # fmt: skip
def test_any_square_has_its_size_and_no_new_grey(
    x: float, y: float, tall: float, wide: float, size: int
) -> None:
    cut = read_original(GREY, channels=3).cut((x, y), (tall, wide), size)
    assert cut.shape == (3, size, size)
    assert cut.max() <= GREY.max()


def test_lengths_need_a_spacing() -> None:
    original = read_original(GREY)
    assert original.pixels_of(90.0) is None
    with pytest.raises(ImageReadError, match="dimension"):
        read_original(np.zeros(3))
