"""Images of an index to the rows of a table, by patient and date."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, in_words
from asfusion._door import public
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError
from asfusion.io._index_files import check_key, keyed_patient
from asfusion.io.dicom_index import DicomIndex
from asfusion.show.page import Page, paragraph
from asfusion.show.page import table as html_table

if TYPE_CHECKING:
    import pandas as pd

Prefer = Literal["nearest", "before", "after"]

_WITHIN = re.compile(r"(\d{1,5})([dwy])")
_DAYS = {"d": 1.0, "w": 7.0, "y": 365.25}
_NO_PATIENT, _NO_DATE = "the row has no patient", "the row has no date"
_UNKNOWN, _FAR = "no image of the patient", "no image of the patient within these days"


class _Image(NamedTuple):
    """An image that may be chosen: its day, how many files it lacks of many, its path, its row."""

    day: float
    n_fewer: int
    path: str
    row: int


@dataclass(frozen=True, eq=False, repr=False)
class MatchedImages(Page):
    """What `match_images` found. Printed and shown, it holds counts and no patient.

    Parameters
    ----------
    table : DataFrame
        The rows of the table, in their order, with the path of the image, and how many days it
        is from the row's date (negative: before), in a column of that name and ``_days``.
    without : DataFrame
        ``row`` (position) and ``reason`` of rows that have no image.
    unused : DataFrame
        Rows of the index that stand in no row of the table, with a ``reason``.
    ties : DataFrame
        ``row`` and ``n_images`` where several were as near: of these the earliest is taken, then
        the one of most files, then the first by path.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> images = pd.DataFrame({"patient": ["a"], "date": ["2021-03-09"], "path": ["a.dcm"]})
    >>> rows = pd.DataFrame({"id": ["a", "b"], "visit": ["2021-03-01", "2021-03-01"]})
    >>> found = af.io.match_images(images, rows, patient="id", date="visit")
    >>> found.table["image_days"].tolist(), found.without["reason"].tolist()
    ([8.0, nan], ['no image of the patient'])
    """

    table: Any
    without: pd.DataFrame
    unused: pd.DataFrame
    ties: pd.DataFrame

    def _title(self) -> str:
        return "Images and rows"

    def _summary(self) -> str:
        n_rows = len(self.table)
        return (
            f"{n_rows - len(self.without)} of {n_rows} rows with an image, {len(self.ties)} of "
            f"them by a tie; {len(self.unused)} images unused"
        )

    def _text(self) -> str:
        lines = [f"<MatchedImages: {self._summary()}>"]
        return "\n".join([*lines, *(f"{n:>7} {why}" for why, n in self._reasons())])

    def _body(self) -> list[str]:
        counts = [[why, str(n)] for why, n in self._reasons()]
        return [paragraph(self._summary()), html_table(["Reason", "Rows or images"], counts)]

    def _reasons(self) -> list[tuple[str, int]]:
        return Counter([*self.without["reason"], *self.unused["reason"]]).most_common()


@public
def match_images(
    images: DicomIndex | Any,
    table: Any,
    *,
    patient: str,
    date: str | None = None,
    within: str | None = "90d",
    prefer: Prefer = "nearest",
    column: str = "image",
    key: str | None = None,
) -> MatchedImages:
    """Find the image of each row: of the same patient, and of the nearest date.

    Parameters
    ----------
    images : DicomIndex or DataFrame
        What `index_dicom` returns, of which series are matched; or a frame with the columns
        ``patient``, ``path`` and ``date``, such as some rows of ``index.to_frame(by="series")``:
        choose modality and body part there.
    table : DataFrame
        N rows, in pandas or polars.
    patient : str
        The column of `table` with the identifier that images have. Whole numbers are compared as
        text: mind leading zeros.
    date : str, optional
        The column of `table` with the day that images should be near. Without it the latest image
        of each patient is taken.
    within : str or None
        How far away an image may be, in days, weeks or years such as ``"90d"``, ``"12w"`` or
        ``"2y"``; None for any distance.
    prefer : {"nearest", "before", "after"}
        Which image is taken: the nearest, the latest not after the date, or the earliest not
        before it. What came after the day of a prediction, that prediction must not see.
    column : str
        Name of the new column of paths, which `ImageEncoder` and `VolumeEncoder` take.
    key : str, optional
        The secret under which `images` were indexed, where `table` has the identifiers
        themselves.

    Returns
    -------
    MatchedImages
        ``table`` with a row for each given one, in order; what did not match on either side; ties.

    Raises
    ------
    ColumnError
        If a column is not there, or the new one is.
    ConfigurationError
        If another parameter is unusable.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> series = pd.DataFrame({
    ...     "patient": ["a", "a", "b"], "date": ["2021-01-01", "2021-03-01", "2021-03-01"],
    ...     "path": ["series/1", "series/2", "series/3"],
    ... })
    >>> visits = pd.DataFrame({"id": ["a", "c"], "visit": ["2021-02-20", "2021-02-20"]})
    >>> found = af.io.match_images(series, visits, patient="id", date="visit", prefer="before")
    >>> found
    <MatchedImages: 1 of 2 rows with an image, 0 of them by a tie; 2 images unused>
          1 no image of the patient
          1 another image is taken, or none is near
          1 the patient is not in the table
    >>> found.table["image"].tolist()
    ['series/1', None]
    """
    check_choice(prefer, "prefer", ("nearest", "before", "after"))
    days, secret = _days_within(within), check_key(key)
    index = Frame.read(images.to_frame() if isinstance(images, DicomIndex) else images)
    index.check_columns(["patient", "path", *(["date"] if date else [])], "match_images, images")
    frame = Frame.read(table)
    frame.check_columns([patient, *([date] if date else [])], "match_images, table")
    _check_new(frame, column)
    whose = _patients(frame, patient)
    if secret is not None:
        whose = [None if one is None else keyed_patient(secret, one) for one in whose]
    when = frame.days(date) if date else np.full(len(frame), np.inf)
    by_patient, unfit = _by_patient(index, bool(date))
    choices = [
        _chosen(one, day, by_patient, days, prefer, bool(date))
        for one, day in zip(whose, when, strict=True)
    ]
    return _matched(index, frame, column, choices, when, unfit, {one for one in whose if one})


class _Choice(NamedTuple):
    """The image of a row, why it has none, and how many were as good."""

    image: _Image | None = None
    reason: str = ""
    n_equal: int = 1


def _chosen(
    patient: str | None,
    day: float,
    by_patient: dict[str, list[_Image]],
    within: float,
    prefer: Prefer,
    dated: bool,
) -> _Choice:
    if patient is None:
        return _Choice(reason=_NO_PATIENT)
    if np.isnan(day):
        return _Choice(reason=_NO_DATE)
    own = by_patient.get(patient, [])
    if not own:
        return _Choice(reason=_UNKNOWN)
    if not dated:
        equal = [image for image in own if image.day == own[-1].day]
        return _Choice(equal[0], n_equal=len(equal))
    day = np.floor(day)  # an image of the same day is neither before nor after
    lowest = day if prefer == "after" else day - within
    highest = day if prefer == "before" else day + within
    first = bisect_left(own, lowest, key=lambda image: image.day)
    near = own[first : bisect_right(own, highest, key=lambda image: image.day)]
    if not near:
        return _Choice(reason=_FAR)
    distance = min(abs(image.day - day) for image in near)
    equal = [image for image in near if abs(image.day - day) == distance]
    return _Choice(equal[0], n_equal=len(equal))


def _by_patient(index: Frame, dated: bool) -> tuple[dict[str, list[_Image]], dict[int, str]]:
    """Return images of each patient by date, and rows that can be none, with the reason."""
    days = index.days("date") if "date" in index.columns else np.full(len(index), np.nan)
    counts = index.numbers("n_files") if "n_files" in index.columns else np.ones(len(index))
    is_image = index.known("rows") if "rows" in index.columns else np.ones(len(index), bool)
    found: dict[str, list[_Image]] = {}
    unfit: dict[int, str] = {}
    cells = zip(_patients(index, "patient"), index.strings("path"), strict=True)
    for row, (whose, path) in enumerate(cells):
        if not is_image[row]:
            unfit[row] = "the file is no image"
        elif path is None:
            unfit[row] = "the series has no folder of its own: see DicomIndex.arrange"
        elif whose is None:
            unfit[row] = "the image has no patient"
        elif dated and np.isnan(days[row]):
            unfit[row] = "the image has no date"
        else:
            day = -np.inf if np.isnan(days[row]) else float(np.floor(days[row]))
            found.setdefault(whose, []).append(_Image(day, -int(counts[row]), path, row))
    return {whose: sorted(own) for whose, own in found.items()}, unfit


def _patients(frame: Frame, column: str) -> list[str | None]:
    """Return identifiers as text; a whole number has no point, however its column holds it."""
    texts = frame.strings(column)
    if frame.kind(column) == "number":
        texts = [None if one is None else one.removesuffix(".0") for one in texts]
    return [one and (one.strip() or None) for one in texts]


def _matched(
    index: Frame,
    frame: Frame,
    column: str,
    choices: list[_Choice],
    when: NDArray[np.float64],
    unfit: dict[int, str],
    patients: set[str],
) -> MatchedImages:
    import pandas as pd

    paths = [None if choice.image is None else choice.image.path for choice in choices]
    apart = [
        np.nan if choice.image is None or np.isinf(day) else choice.image.day - np.floor(day)
        for choice, day in zip(choices, when, strict=True)
    ]
    origin = frame.origin.tolist()
    without = [(at, one.reason) for at, one in zip(origin, choices, strict=True) if one.reason]
    ties = [(at, c.n_equal) for at, c in zip(origin, choices, strict=True) if c.n_equal > 1]
    used = {choice.image.row for choice in choices if choice.image is not None}
    names = _patients(index, "patient")
    reasons = {
        row: unfit.get(row)
        or ("another image is taken, or none is near" if names[row] in patients
            else "the patient is not in the table")
        for row in range(len(index)) if row not in used
    }  # fmt: skip
    unused = Frame.take(index, np.array(sorted(reasons), dtype=np.int64)).to_native()
    return MatchedImages(
        _with_columns(frame, {column: paths, f"{column}_days": apart}),
        pd.DataFrame(without, columns=["row", "reason"]),
        _with_columns(Frame.read(unused), {"reason": [reasons[row] for row in sorted(reasons)]}),
        pd.DataFrame(ties, columns=["row", "n_images"]),
    )


def _with_columns(frame: Frame, columns: dict[str, list[Any]]) -> Any:
    """Return the table that a frame views with further columns, its index as it is."""
    native = frame.to_native()
    if hasattr(native, "assign"):
        import pandas as pd

        return native.assign(
            **{
                name: pd.Series(cells, index=native.index, dtype=_kind(cells))
                for name, cells in columns.items()
            }
        )
    import polars as pl

    types = {"object": pl.String, "float64": pl.Float64}
    return native.with_columns(
        [pl.Series(name, cells, dtype=types[_kind(cells)]) for name, cells in columns.items()]
    )


def _kind(cells: Iterable[Any]) -> Literal["object", "float64"]:
    return "float64" if any(isinstance(cell, float) for cell in cells) else "object"


def _check_new(frame: Frame, column: object) -> None:
    if not isinstance(column, str) or not column:
        raise ConfigurationError(f"column: expected a name, got {in_words(column)}.")
    for name in (column, f"{column}_days"):
        if name in frame.columns:
            msg = f"column: expected a name that the table does not have, got {name!r}."
            raise ColumnError(msg)


def _days_within(within: object) -> float:
    """Return a distance in days."""
    if within is None:
        return float("inf")
    match = _WITHIN.fullmatch(within.strip()) if isinstance(within, str) else None
    if match is not None:
        return int(match[1]) * _DAYS[match[2]]
    msg = (
        "within: expected days, weeks or years such as '90d', '12w' or '2y', or None, got "
        f"{in_words(within)}."
    )
    raise ConfigurationError(msg)
