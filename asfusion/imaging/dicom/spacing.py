"""How large a pixel is: the one reading of what a header says of it."""

from __future__ import annotations

from asfusion.imaging.dicom.header import Header

# In the patient; at the detector; of the film that was scanned.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SHORTEST, _LONGEST = 1e-3, 1e3  # mm
_MOST_OBLONG = 10.0


def pixel_spacing(
    header: Header, frame: int = 0, keywords: tuple[str, ...] = SPACINGS
) -> tuple[float, float] | None:
    """Return the distance of rows and of columns, in mm.

    Parameters
    ----------
    header : Header
        What the file says.
    frame : int
        Which frame, where frames have their own.
    keywords : tuple of str
        The entries to ask, the first usable one counts. For a place in the patient that is
        ``("PixelSpacing",)`` alone.

    Returns
    -------
    (float, float) or None
        None where nothing usable is said. An entry that is not two numbers from 0.001 to
        1000 mm is passed over as if it were not there.
    """
    for keyword in keywords:
        pair = _pair(header, keyword, frame)
        if pair is not None and min(pair) >= _SHORTEST and max(pair) <= _LONGEST:
            return pair
    return None


def pixel_aspect(header: Header, frame: int = 0) -> float:
    """Return the height of a pixel divided by its width; 1 where nothing usable is said.

    Parameters
    ----------
    header : Header
        What the file says.
    frame : int
        Which frame, where frames have their own.
    """
    for keyword in (*SPACINGS, "PixelAspectRatio"):
        pair = _pair(header, keyword, frame)
        if pair is not None and max(pair) <= _MOST_OBLONG * min(pair):
            return pair[0] / pair[1]
    return 1.0


def _pair(header: Header, keyword: str, frame: int) -> tuple[float, float] | None:
    """Return the two numbers of an entry, if it has two and both are above 0."""
    values = header.values(keyword, frame)
    if len(values) != 2 or any(value is None or value <= 0 for value in values):
        return None
    return float(values[0]), float(values[1])
