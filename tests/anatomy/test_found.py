"""What was found: a table, a page and a picture."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot

from asfusion.anatomy.found import Found
from asfusion.exceptions import ConfigurationError

from .drawn import draw


def found(*, boxes: bool = True) -> Found:
    films = [*draw(2)[0], None]
    made = Found.empty(("right_$x$", "left"), films, boxes=boxes)
    made.status[:2] = [["found", "unsure"], ["lost", "found"]]
    made.confidence[:2] = [[0.9, 0.3], [0.05, 0.8]]
    made.centres[:2] = [[[10, 20], [40, 20]], [[np.nan, np.nan], [42, 22]]]
    for marks in (made.boxes, made.points):
        if marks is not None:
            marks[:2] = np.concatenate([made.centres - 5, made.centres + 5], 2)[
                :2, :, -marks.shape[2] :
            ]
    made.spacing_mm[0] = 0.5, 0.25
    return made


def test_the_table_is_long_and_in_mm_where_the_spacing_is_known() -> None:
    table = found().to_frame()
    assert table["row"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["region"].tolist() == ["right_$x$", "left"] * 3
    assert table.loc[0, ["x", "y", "x0", "y1", "x_mm", "y_mm", "x0_mm", "y1_mm"]].tolist() == [
        10, 20, 5, 25, 2.5, 10, 1.25, 12.5,
    ]  # fmt: skip
    assert table["x_mm"].isna().tolist() == [False, False, True, True, True, True]
    assert table["status"].tolist()[-1] == "absent"
    points = found(boxes=False).to_frame()
    assert "point" in points and "x0" not in points


def test_it_says_what_it_is() -> None:
    one = found()
    assert len(one) == 3
    assert "2 regions on 3 films: 2 found, 1 unsure, 1 lost; 1 films absent." in repr(one)
    assert "<table>" in one._repr_html_()
    assert "2 points" in repr(found(boxes=False))


@pytest.mark.parametrize("boxes", [True, False])
def test_the_picture_draws_what_was_found(boxes: bool) -> None:
    figure = found(boxes=boxes).plot()
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["row 0: 0.30, 1 unsure", "row 1: 0.05, 1 lost"]
    assert [len(axis.lines) for axis in figure.axes] == [2, 2]
    assert len(figure.legends) == 1
    pyplot.close(figure)
    absent = found(boxes=boxes).plot([2, 0])
    assert absent.axes[0].get_title() == "row 2: absent"
    pyplot.close(absent)


def test_rows_that_are_not_there_cannot_be_drawn() -> None:
    with pytest.raises(ConfigurationError, match="positions of films below 3 .* a larger one"):
        found().plot([3])
    with pytest.raises(ConfigurationError, match="rows: expected positions .* got none"):
        Found.empty(("a",), (None,), boxes=True).plot()
    with pytest.raises(ConfigurationError, match="rows: expected an integer"):
        found().plot([-1])
