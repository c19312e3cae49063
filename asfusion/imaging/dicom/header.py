"""What a DICOM header says of its pixels and their place, as plain numbers and codes.

Nothing else of a header is kept: no name, no date, no free text. A header is read with a
budget of bytes, so that a hostile one cannot fill the memory of the process; what needs more
is read by a worker (`asfusion.imaging.dicom._workers`), which passes it back as JSON.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, BinaryIO

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import MAX_FRAMES
from asfusion.imaging.dicom.encoding import (
    CUT_IMAGE,
    DEFLATED,
    GUESSED,
    PIXEL_TAGS,
    SOP_CLASS,
    SYNTAX,
    HeaderTooLarge,
    Metered,
    encoding_of,
    inflate,
    known_syntax,
    meta_group,
    pixel_element,
    transfer_syntax,
)
from asfusion.imaging.dicom.lookup import TABLE_KEYWORDS, read_tables

_IMAGE_NUMBERS = (
    "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "PixelAspectRatio",
)  # fmt: skip
# What a frame may have of its own.
_PLACE_NUMBERS = (
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
    "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth",
    "EchoTime", "EffectiveEchoTime", "TemporalPositionIdentifier", "TemporalPositionIndex",
)  # fmt: skip
_SERIES_NUMBERS = (
    "InstanceNumber", "SeriesNumber", "EchoNumbers", "RepetitionTime", "InversionTime",
    "FlipAngle", "DiffusionBValue", "GridFrameOffsetVector",
)  # fmt: skip
_CODES = ("PhotometricInterpretation", "VOILUTFunction", "Modality", "ImageType")
# Of these, anything else is "OTHER".
_KNOWN = {
    "BodyPartExamined": {"PELVIS"}, "ViewPosition": {"AP"}, "BurnedInAnnotation": {"YES", "NO"},
}  # fmt: skip
_UIDS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
    "FrameOfReferenceUID",
)  # fmt: skip
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_FOR_PIXELS = {*_IMAGE_NUMBERS, "PhotometricInterpretation"}
_TABLES = {"ModalityLUTSequence": "modality", "VOILUTSequence": "voi"}
_MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "MREchoSequence",
    "TemporalPositionSequence",
    "FrameContentSequence",
)
_WANTED = [
    *_IMAGE_NUMBERS, *_PLACE_NUMBERS, *_SERIES_NUMBERS, *_CODES, *_KNOWN, *_UIDS,
    *TABLE_KEYWORDS, *_GROUPS,
]  # fmt: skip
# A code is shown in messages and may hold anything: only known ones are kept.
_MODALITIES = {
    "BMD", "CR", "CT", "DX", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT",
    "PX", "RF", "RTDOSE", "RTIMAGE", "SC", "SEG", "SM", "US", "XA", "XC",
}  # fmt: skip
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")
_PER_FRAME = 6
_MANY = 4096  # values of one entry that are looked at


@dataclass(frozen=True)
class Header:
    """What a file says of its pixels.

    Parameters
    ----------
    syntax : str
        Transfer syntax, one that pydicom knows.
    entries : dict
        Keyword to a list of numbers or of codes.
    frames : list of dict
        For enhanced files, what each frame has of its own, in the same form.
    tables : dict
        Keyword of a look-up table to its parts.
    pixels : str or None
        Keyword of the pixel data; None where the file has none.
    start, length : int
        First byte of the pixel data and how many there are; -1 where it is not said.
    big_endian : bool
        Byte order of the pixel data.
    in_words : bool
        Whether the pixel data are words of sixteen bits, also where samples are shorter.
    """

    syntax: str
    entries: dict[str, list[Any]]
    frames: list[dict[str, list[Any]]] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    pixels: str | None = None
    start: int = -1
    length: int = -1
    big_endian: bool = False
    in_words: bool = False

    @property
    def is_compressed(self) -> bool:
        """Whether the pixels pass a codec."""
        from pydicom.uid import UID

        return bool(UID(self.syntax).is_encapsulated)

    @property
    def is_deflated(self) -> bool:
        """Whether all of the file but its meta group is deflated."""
        return self.syntax == DEFLATED

    def number(self, keyword: str, frame: int | None = None) -> float | None:
        """Return the first number of an entry, of a frame where it has its own."""
        values = self.numbers(keyword, 1, frame)
        return values[0] if values else None

    def numbers(self, keyword: str, n: int, frame: int | None = None) -> list[float] | None:
        """Return the first `n` numbers of an entry, or None if there are fewer."""
        values = self.values(keyword, frame)
        if len(values) < n or any(v is None for v in values[:n]):
            return None
        return [float(value) for value in values[:n]]

    def values(self, keyword: str, frame: int | None = None) -> list[Any]:
        """Return all of an entry, of a frame where it has its own; None for what is no number."""
        values = self.entries.get(keyword, [])
        if frame is not None and frame < len(self.frames):
            return self.frames[frame].get(keyword, values)
        return values

    def integer(self, keyword: str, default: int) -> int:
        """Return the first number of an entry as a whole one."""
        value = self.number(keyword)
        return default if value is None else int(value)

    def rescale(self, frame: int | None = None) -> tuple[float, float]:
        """Return slope and intercept from stored to shown values; 1 and 0 where none are said.

        Raises
        ------
        DicomReadError
            If one is said that cannot be used: without it, values have another meaning.
        """
        slope, intercept = (
            default if self._is_absent(keyword, frame) else self.number(keyword, frame)
            for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        )
        if slope is None or intercept is None or slope == 0.0:
            msg = (
                "expected a rescale slope and intercept that are numbers, the slope not 0, got a "
                "header with others. Correct the header; `read_stored_values` reads the values "
                "before any rescale."
            )
            raise DicomReadError(msg)
        return slope, intercept

    def _is_absent(self, keyword: str, frame: int | None) -> bool:
        return not (self.values(keyword, frame) or self.entries.get(keyword))

    def modality_table(self) -> dict[str, Any] | None:
        """Return the table from stored values to those of the modality, None where none is said.

        Raises
        ------
        DicomReadError
            If one is said that cannot be read: without it, values have another meaning.
        """
        table: dict[str, Any] | None = self.tables.get("modality")
        if table == {}:
            msg = (
                "expected a modality table that can be read, got another one. Correct the header; "
                "`read_stored_values` reads the values before any table."
            )
            raise DicomReadError(msg)
        return table

    def code(self, keyword: str) -> str:
        """Return the first code of an entry; empty where there is none."""
        values = self.entries.get(keyword)
        return str(values[0]) if values else ""

    @property
    def n_frames(self) -> int:
        """Number of frames that the file declares; at least 1."""
        return max(1, self.integer("NumberOfFrames", 1))

    def view(self) -> HeaderView:
        """Return the entries as attributes, as a pydicom dataset has them."""
        return HeaderView(self)

    def for_pixels(self) -> dict[str, Any]:
        """Return what a decoder needs of the header, as JSON can hold it."""
        kept = {k: v[:1] for k, v in self.entries.items() if k in _FOR_PIXELS}
        tables = dict.fromkeys(self.tables, True)
        return {**vars(self), "entries": kept, "frames": [], "tables": tables}

    def to_plain(self) -> dict[str, Any]:
        """Return the header as JSON can hold it."""
        return asdict(self)


class HeaderView:
    """First values of entries, by attribute, `get` and ``in``."""

    def __init__(self, header: Header) -> None:
        self._header = header

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the first value of an entry, or whether there is a table of that name."""
        if keyword in _TABLES:
            return self._header.tables.get(_TABLES[keyword])
        values = self._header.entries.get(keyword)
        return values[0] if values and values[0] is not None else default

    def __getattr__(self, keyword: str) -> Any:
        value = self.get(keyword)
        if value is None:
            raise AttributeError(keyword)
        return value

    def __contains__(self, keyword: str) -> bool:
        return self.get(keyword) is not None


def read_header(file: BinaryIO, budget: int | None) -> Header:
    """Return the header of a DICOM file.

    Parameters
    ----------
    file : binary file
        A file for which `looks_like_dicom` holds.
    budget : int or None
        Bytes that may be read; None for any number, in a process that may die of it.

    Raises
    ------
    HeaderTooLarge
        If the header takes more bytes than `budget`, or is deflated and there is one.
    DicomReadError
        If the header cannot be used, or is that of an image that ends before its pixels.
    """
    from pydicom.filereader import read_dataset

    meta, start = meta_group(file)
    syntax = (meta or {}).get(SYNTAX, "")
    if syntax == DEFLATED:
        if budget is not None:
            raise HeaderTooLarge
        file, start = io.BytesIO(inflate(file, start)), 0
    implicit, little = encoding_of(file, syntax, start)
    metered = Metered(file, start, budget)
    dataset = read_dataset(
        metered,
        implicit,
        little,
        stop_when=lambda tag, *_: tag in PIXEL_TAGS,
        specific_tags=_wanted_tags(),
    )
    keyword, first, length, in_words = pixel_element(metered, little)
    numbers = (*_IMAGE_NUMBERS, *_PLACE_NUMBERS, *_SERIES_NUMBERS)
    entries = _entries(dataset, numbers) | _words(dataset)
    if keyword is None and _is_cut_image(entries, meta):
        raise DicomReadError(CUT_IMAGE)
    return Header(
        syntax=known_syntax(syntax) if syntax else GUESSED[implicit, little],
        entries=entries,
        frames=_frames(dataset),
        tables=read_tables(dataset, little),
        pixels=keyword,
        start=first,
        length=length,
        big_endian=not little,
        in_words=in_words,
    )


def _is_cut_image(entries: dict[str, list[Any]], meta: dict[bytes, str] | None) -> bool:
    """Return whether a header without pixels is that of an image, or not even says of what.

    A report has no pixels either, but it has a class of its own.
    """
    from pydicom.uid import UID

    named = [*entries.get("SOPClassUID", []), (meta or {}).get(SOP_CLASS, "")]
    classes = [UID(uid).name for uid in named if _UID.fullmatch(uid)]
    is_image = "Rows" in entries or any("Image Storage" in name for name in classes)
    return is_image or (meta is not None and not classes)


# -- what it says ----------------------------------------------------------------------


@cache
def _tag(keyword: str) -> Any:
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return Tag(tag_for_keyword(keyword) or 0)


@cache
def _wanted_tags() -> list[Any]:
    return [_tag(keyword) for keyword in _WANTED]


def values_of(dataset: Any, keyword: str) -> list[Any]:
    """Return the values of an entry; none where it is absent or cannot be read."""
    try:
        return _stated(dataset, keyword)
    except Exception:  # pydicom converts what it reads when it is asked for
        return []


def _stated(dataset: Any, keyword: str) -> list[Any]:
    """Return the values of an entry; pydicom raises what it likes where it cannot be read."""
    tag = _tag(keyword)
    if tag not in dataset:  # as most are; by attribute, pydicom takes its time to say so
        return []
    value = dataset[tag].value
    if value is None or value == "":
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return list(value)[:_MANY]


def _entries(dataset: Any, keywords: Iterable[str]) -> dict[str, list[Any]]:
    """Return entries of numbers; what is there and no number is None."""
    found: dict[str, list[Any]] = {}
    for keyword in keywords:
        try:
            values = _stated(dataset, keyword)
        except Exception:
            values = [None]
        if values:
            found[keyword] = [_number(value) for value in values]
    return found


def _number(value: Any) -> float | int | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _words(dataset: Any) -> dict[str, list[Any]]:
    """Return codes and identifiers, as far as they are what the standard allows."""
    found = {}
    for keywords, form in ((_CODES, _CODE), (_UIDS, _UID)):
        for keyword in keywords:
            words = [str(value).strip() for value in values_of(dataset, keyword)]
            if words:
                found[keyword] = [word if form.fullmatch(word) else "" for word in words]
    if not _MODALITIES.issuperset(found.get("Modality", [])):
        del found["Modality"]
    for keyword, known in _KNOWN.items():
        words = [str(value).strip().upper() for value in values_of(dataset, keyword)]
        if any(words):
            found[keyword] = [word if word in known else "OTHER" for word in words]
    return found


def _frames(dataset: Any) -> list[dict[str, list[Any]]]:
    """Return what each frame has of its own, flattened, with what all frames share."""
    shared: dict[str, list[Any]] = {}
    for item in values_of(dataset, _GROUPS[0])[:1]:
        shared = _flattened(item)
    per_frame = _items(dataset, _GROUPS[1])
    if len(per_frame) > MAX_FRAMES:
        msg = f"expected at most {MAX_FRAMES} frames, got more."
        raise DicomReadError(msg)
    frames = [shared | _flattened(item) for item in per_frame]
    return frames or ([shared] if shared else [])


def _items(dataset: Any, keyword: str) -> list[Any]:
    try:
        return list(dataset.get(keyword) or [])
    except Exception:
        return []


def _flattened(group: Any) -> dict[str, list[Any]]:
    """Return the numbers of a functional group, whatever macro they stand in."""
    found: dict[str, list[Any]] = {}
    for keyword in _MACROS:
        for item in _items(group, keyword)[:1]:
            found |= {k: v[:_PER_FRAME] for k, v in _entries(item, _PLACE_NUMBERS).items()}
    return found


def read_directory(file: BinaryIO, budget: int | None) -> list[list[str]]:
    """Return the files that a DICOMDIR names, each as the parts of its path.

    Parameters
    ----------
    file : binary file
        A DICOM file without pixels.
    budget : int or None
        Bytes that may be read, as in `read_header`.
    """
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    syntax, start = transfer_syntax(file)
    if syntax == DEFLATED:
        return []  # no medium has a directory like that
    metered = Metered(file, start, budget)
    implicit, little = encoding_of(file, syntax, start)
    metered.seek(start)
    dataset = read_dataset(
        metered,
        implicit,
        little,
        specific_tags=[Tag(0x0004, 0x1220)],
    )
    found = []
    for record in _items(dataset, "DirectoryRecordSequence"):
        parts = [str(part) for part in values_of(record, "ReferencedFileID")]
        if any(part in (".", "..") for part in parts):
            msg = "expected a DICOMDIR that names files beside it, got one that leads elsewhere."
            raise DicomReadError(msg)
        if parts and all(parts):
            found.append(parts[:8])
    return found
