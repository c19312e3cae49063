"""What a DICOM file says of itself: whose, of which series, of what, how large, from when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, BinaryIO, TypeAlias

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import HEADER_BUDGET
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.dicom.encoding import DEFLATED, Metered, encoding_of, transfer_syntax
from asfusion.io._elements import CUT, DAMAGED, Elements, OddError, Wanted, read_elements

Facts: TypeAlias = "dict[str, Any]"

UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_CHARSET, _STOP = 0x00080005, 0x00280302
_MODALITY, _DESCRIPTION, _PATIENT, _PART = 0x00080060, 0x0008103E, 0x00100020, 0x00180015
_SOP, _STUDY, _SERIES, _VIEW = 0x00080018, 0x0020000D, 0x0020000E, 0x00185101
_SIDES = (0x00200062, 0x00200060)  # of the image, else of the series
_DATES = (0x00080020, 0x00080021, 0x00080022, 0x00080023)  # of study, series, scan, content
_SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280010, 0x00280011
_BITS, _BURNED_IN = 0x00280100, 0x00280301
_FRAMES = 0x00280008
_SPACINGS = (0x00280030, 0x00181164, 0x00182010)  # in the patient, at the detector, of the film
WANTED = Wanted(
    [
        _CHARSET, _MODALITY, _DESCRIPTION, _PATIENT, _PART, _SOP, _STUDY, _SERIES, _VIEW, *_SIDES,
        *_DATES, _SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS, _BITS, _BURNED_IN, _FRAMES, *_SPACINGS,
    ]
)  # fmt: skip
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)
_DATE = re.compile(r"(\d{4})[.-]?(0[1-9]|1[0-2])[.-]?(0[1-9]|[12]\d|3[01])", re.ASCII)
_SIDE = {"L", "R", "B", "U"}
_PLAIN = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_SHORTEST, _LONGEST = 1e-3, 1e3  # mm
# Bytes at once, and how often: a fragment of pixels takes one look.
_TO_THE_END = (512, 80_000)
_KEPT = 1024
# The columns of a row, in their order, but for what is known of the file itself.
FIELDS = (
    "patient", "study", "series", "sop", "modality", "body_part", "view", "laterality", "rows",
    "columns", "frames", "spacing_mm", "date", "photometric", "burned_in", "description",
)  # fmt: skip


def read_facts(file: BinaryIO, size: int) -> Facts:
    """Return what a DICOM file says of itself; None for what it does not say.

    Parameters
    ----------
    file : binary file
        An open file.
    size : int
        Its length, in bytes.

    Raises
    ------
    DicomReadError
        If it is no DICOM file, or one that is damaged or cut short.
    """
    try:
        found = read_elements(file, size, WANTED, _STOP)
    except OddError:
        found = _by_pydicom(file, size)
    facts = _facts(found)
    if size - found.end < _n_plain_bytes(found, facts):
        raise DicomReadError(CUT)
    return facts


def check_whole(file: BinaryIO, size: int) -> None:
    """Raise `DicomReadError` unless the elements of a file end where the file does."""
    try:
        read_elements(file, size, Wanted(), None, _TO_THE_END)
    except OddError:
        return  # its pixels were counted by `read_facts`


def is_uid(text: object) -> bool:
    """Return whether this is an identifier of numbers with points between them."""
    return isinstance(text, str) and len(text) <= 64 and UID_FORM.fullmatch(text) is not None


def _facts(found: Elements) -> Facts:
    """Return the fields of a row, in their order."""
    get, charset = found.values.get, found.values.get(_CHARSET, b"")
    rows = _short(get(_ROWS, b""), found.little)
    return {
        "patient": _text(get(_PATIENT, b""), charset),
        "study": _uid(get(_STUDY)),
        "series": _uid(get(_SERIES)),
        "sop": _uid(get(_SOP)),
        "modality": _code(get(_MODALITY)),
        "body_part": _code(get(_PART)),
        "view": _code(get(_VIEW)),
        "laterality": _first(_side, found.values, _SIDES),
        "rows": rows,
        "columns": _short(get(_COLUMNS, b""), found.little),
        "frames": None if rows is None else _frames(get(_FRAMES)),
        "spacing_mm": _first(_spacing, found.values, _SPACINGS),
        "date": _first(_date, found.values, _DATES),
        "photometric": _code(get(_PHOTOMETRIC)),
        "burned_in": _code(get(_BURNED_IN)),
        "description": _text(get(_DESCRIPTION, b""), charset),
    }


def _first(read: Callable[[bytes], Any], values: Mapping[int, bytes], tags: Iterable[int]) -> Any:
    """Return the first of some entries that can be used."""
    for tag in tags:
        raw = values.get(tag)
        if raw and (found := read(raw)) is not None:
            return found
    return None


# What slices of a series share is read once.
@lru_cache(_KEPT)
def _uid(raw: bytes | None) -> str | None:
    text = (raw or b"").strip(b" \0").decode("latin-1")
    return text if is_uid(text) else None


@lru_cache(_KEPT)
def _code(raw: bytes | None) -> str | None:
    code = (raw or b"").strip(b" \0").decode("latin-1").upper()
    return code if _CODE.fullmatch(code) else None


@lru_cache(_KEPT)
def _text(raw: bytes, charset: bytes) -> str | None:
    """Return a text, or None where it is empty."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii").strip(" \0") or None
    from pydicom.charset import convert_encodings, decode_bytes

    try:
        names = [name.strip() for name in charset.decode("ascii").strip(" \0").split("\\")]
        with quiet_readers():
            text = decode_bytes(raw, convert_encodings(names), set())
    except Exception:  # a character set that nobody knows
        text = raw.decode("latin-1")
    return text.strip(" \0") or None


@lru_cache(_KEPT)
def _short(raw: bytes, little: bool) -> int | None:
    return int.from_bytes(raw, "little" if little else "big") if len(raw) == 2 else None


def _frames(raw: bytes | None) -> int:
    text = (raw or b"").strip(b" \0")
    return max(1, int(text)) if text.isdigit() and len(text) < 10 else 1


@lru_cache(_KEPT)
def _spacing(raw: bytes) -> float | None:
    """Return the distance of rows, in mm, where two usable numbers are said."""
    try:
        pair = [float(part) for part in raw.strip(b" \0").split(b"\\")]
    except ValueError:
        return None
    usable = len(pair) == 2 and all(_SHORTEST <= side <= _LONGEST for side in pair)
    return pair[0] if usable else None


@lru_cache(_KEPT)
def _date(raw: bytes) -> str | None:
    """Return a day as 2021-03-09."""
    match = _DATE.fullmatch(raw.strip(b" \0").decode("latin-1"))
    return None if match is None else "-".join(match.groups())


@lru_cache(_KEPT)
def _side(raw: bytes) -> str | None:
    side = raw.strip(b" \0").decode("latin-1").upper()
    return side if side in _SIDE else None


def _n_plain_bytes(found: Elements, facts: Facts) -> int:
    """Return how many bytes the pixels take that are to come; 0 where that is not known."""
    if found.syntax not in _PLAIN or not facts["rows"] or not facts["columns"]:
        return 0
    samples = _short(found.values.get(_SAMPLES, b""), found.little) or 1
    bits = _short(found.values.get(_BITS, b""), found.little) or 8
    n_bits: int = facts["rows"] * facts["columns"] * facts["frames"] * samples * bits
    return n_bits // 8 * 2 // 3 if "422" in (facts["photometric"] or "") else n_bits // 8


def _by_pydicom(file: BinaryIO, size: int) -> Elements:
    """Return wanted entries of a file that is written oddly, as pydicom makes them out."""
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    syntax, start = transfer_syntax(file)
    if syntax == DEFLATED:
        raise DicomReadError(DAMAGED)
    last: list[int] = []

    def stops(tag: int, *_: Any) -> bool:
        last.extend([tag] * (tag >= _STOP))
        return bool(last)

    try:
        with quiet_readers():
            implicit, little = encoding_of(file, syntax, start)
            metered = Metered(file, start, HEADER_BUDGET)
            tags: list[Any] = [Tag(tag) for tag in sorted(WANTED.tags)]
            dataset: Any = read_dataset(
                metered, implicit, little, stop_when=stops, specific_tags=[*tags]
            )
            raw = {int(tag): dataset.get_item(tag) for tag in tags if tag in dataset}
    except Exception:
        raise DicomReadError(DAMAGED) from None
    if not last:  # pydicom is content with a file that ends too soon
        raise DicomReadError(CUT)
    values = {tag: item.value for tag, item in raw.items() if isinstance(item.value, bytes)}
    return Elements(syntax, little, values, min(metered.tell(), size))
