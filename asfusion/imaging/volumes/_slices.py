"""The slices of a folder or of a file of many frames, and the series that they belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging.dicom.header import Header
from asfusion.imaging.dicom.spacing import pixel_spacing
from asfusion.imaging.volumes._geometry import directions_of, orientation_of

_LISTED = 12
_FRAME_UID = "FrameOfReferenceUID"


@dataclass(frozen=True)
class Slice:
    """One frame of one file, and what its header says of its place."""

    path: Path
    header: Header
    frame: int

    @property
    def place(self) -> NDArray[np.float64] | None:
        """Centre of the first pixel, in mm."""
        place = self.header.numbers("ImagePositionPatient", 3, self.frame)
        if place is None:
            return None
        offsets = self.header.entries.get("GridFrameOffsetVector")
        if offsets and self.frame < len(offsets) and not self.header.frames:
            cosines = self.cosines
            if cosines is not None and offsets[self.frame] is not None:
                shift = float(offsets[self.frame]) - float(offsets[0] or 0.0)
                return np.asarray(np.asarray(place) + shift * directions_of(cosines)[0])
        return np.asarray(place)

    @property
    def cosines(self) -> NDArray[np.float64] | None:
        """Directions of rows and columns."""
        cosines = self.header.numbers("ImageOrientationPatient", 6, self.frame)
        return None if cosines is None else np.asarray(cosines)

    def number(self, keyword: str) -> float | None:
        """Return a number of the header, this frame's own if it has one."""
        return self.header.number(keyword, self.frame)

    @property
    def pixel_mm(self) -> tuple[float, float] | None:
        """Distance of rows and of columns in the patient, in mm."""
        return pixel_spacing(self.header, self.frame, ("PixelSpacing",))

    @property
    def is_localizer(self) -> bool:
        """Whether the slice only plans others."""
        return "LOCALIZER" in self.header.entries.get("ImageType", [])


def slices_of(path: Path, header: Header) -> list[Slice]:
    """Return the slices of one file."""
    return [Slice(path, header, frame) for frame in range(header.n_frames)]


def series_of(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Return slices by series, in the order of the examination.

    A series in which each place comes once for every echo, time or kind of image is as many
    series. So is one whose slices are not of one patient's coordinates or scale of values.
    """
    groups: dict[Any, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[_identity(one.header)].append(one)
    parts = [part for group in groups.values() for part in _split(group)]
    return sorted(parts, key=_turn)


def _identity(header: Header) -> tuple[Any, ...]:
    """Return what slices must share to be stacked."""
    uids = [header.code(k) for k in ("SeriesInstanceUID", "StudyInstanceUID", _FRAME_UID)]
    number = None if uids[0] else header.number("SeriesNumber")
    return (
        *uids,
        number,
        header.code("Modality"),
        *(header.integer(keyword, 0) for keyword in ("Rows", "Columns", "BitsAllocated")),
        header.pixels,
        is_inverted(header),
    )


def is_inverted(header: Header) -> bool:
    """Return whether low values are bright."""
    return header.code("PhotometricInterpretation") == "MONOCHROME1"


def _turn(group: Sequence[Slice]) -> tuple[float, float, float]:
    keywords = "SeriesNumber", "EchoTime", "InstanceNumber"
    first, second, third = (
        min((n for one in group if (n := one.number(keyword)) is not None), default=0.0)
        for keyword in keywords
    )
    return first, second, third


def _split(group: list[Slice]) -> list[list[Slice]]:
    """Return a series by what tells repeated slices apart, if something does."""
    if _n_places(group) in (None, len(group)):
        return [group]
    for key in (_echo, _moment, _kind):
        parts: dict[Any, list[Slice]] = defaultdict(list)
        for one in group:
            parts[key(one)].append(one)
        if len(parts) > 1 and all(_n_places(part) == len(part) for part in parts.values()):
            return list(parts.values())
    return [group]


def _echo(one: Slice) -> Any:
    return one.number("EchoTime") or one.number("EffectiveEchoTime"), one.number("EchoNumbers")


def _moment(one: Slice) -> Any:
    keywords = "TemporalPositionIdentifier", "TemporalPositionIndex", "DiffusionBValue"
    return tuple(one.number(keyword) for keyword in keywords)


def _kind(one: Slice) -> Any:
    return tuple(one.header.entries.get("ImageType", []))


def _n_places(group: Sequence[Slice]) -> int | None:
    """Return how many places slices have, to a hundredth of a mm; None without places."""
    places = [one.place for one in group]
    if any(place is None for place in places):
        return None
    return len({tuple(np.rint(100.0 * place).tolist()) for place in places if place is not None})


def choose(groups: list[list[Slice]], series: int | None) -> tuple[list[Slice], int]:
    """Return the slices of the series to read, and how many localizers were left out.

    Parameters
    ----------
    groups : list of list of Slice
        What `series_of` returned.
    series : int or None
        Which one; None for the only one that is no localizer.

    Raises
    ------
    DicomReadError
        If there are several and none is chosen, or fewer than the number chosen.
    """
    if series is not None:
        if series >= len(groups):
            msg = f"expected series={series} to exist, got {len(groups)} series.{listing(groups)}"
            raise DicomReadError(msg)
        return groups[series], 0
    real = [group for group in groups if not all(one.is_localizer for one in group)] or groups
    if len(real) > 1:
        msg = (
            f"expected one series, got {len(groups)}. Choose one by its number: series=0 to "
            f"series={len(groups) - 1}.{listing(groups)}"
        )
        raise DicomReadError(msg)
    return real[0], sum(len(group) for group in groups) - len(real[0])


def listing(groups: Sequence[Sequence[Slice]]) -> str:
    """Return one line for each series: numbers and planes, no names."""
    tell_bits = len({group[0].header.integer("BitsAllocated", 0) for group in groups}) > 1
    lines = [f"\n  {n}: {_described(group, tell_bits)}" for n, group in enumerate(groups)]
    more = f"\n  and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return "".join(lines[:_LISTED]) + more


def _described(group: Sequence[Slice], tell_bits: bool) -> str:
    one = group[len(group) // 2]
    header = one.header
    size = f"{header.integer('Rows', 0)} x {header.integer('Columns', 0)}"
    parts = [header.code("Modality"), f"{len(group)} slices of {size}"]
    if one.cosines is not None:
        try:
            parts.append(orientation_of(directions_of(one.cosines)))
        except DicomReadError:
            parts.append("of no direction")
    for keyword, short in (
        ("RepetitionTime", "TR"), ("EchoTime", "TE"), ("InversionTime", "TI")
    ):  # fmt: skip
        value = one.number(keyword)
        parts += [f"{short} {value:g} ms"] if value is not None else []
    parts += [f"{header.integer('BitsAllocated', 0)} bits"] if tell_bits else []
    parts += ["low is bright"] if is_inverted(header) else []
    parts += ["localizer"] if one.is_localizer else []
    return ", ".join(part for part in parts if part)
