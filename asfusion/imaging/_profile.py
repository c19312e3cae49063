"""One DICOM data set without its patient: the Basic Profile, dates shifted, UIDs replaced."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections import Counter
from typing import Any

from asfusion._optional import import_optional
from asfusion.imaging._confidential import ACTIONS, REPEATING

# Whole days, between two months and two years back: times of day and intervals stay.
_LEAST_DAYS, _DAYS = 62, 668
_BIRTH = (0x00100030, 0x00100032, 0x00100033, 0x00100034, 0x00100035)
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_CHARACTERISTICS = (0x00100040, 0x00101010, 0x00101020, 0x00101030)  # sex, age, height, weight
_KEPT = (
    0x00080005, 0x00120062, 0x00120063, 0x00120064, 0x00280303,  # character set, and what we say
)  # fmt: skip
_METHOD = "asfusion, dicognito; PS3.15 Basic Profile"
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
_DUMMIES = {
    "DS": "0", "IS": "0", "AS": "000Y", "US": 0, "SS": 0, "UL": 0, "SL": 0, "FL": 0.0, "FD": 0.0,
}  # fmt: skip
_STRINGS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")


def pseudonym(key: bytes, patient: str) -> str:
    """Return the name that a patient has under a key: 80 bits of a keyed hash."""
    digest = hmac.digest(key, b"patient:" + patient.encode("utf-8", "replace"), "sha256")
    return "P-" + base64.b32encode(digest[:10]).decode("ascii")


class PatientProfile:
    """What is done to every data set of one patient.

    Parameters
    ----------
    key : bytes
        The secret.
    patient : str
        What tells this patient from others: the patient ID as a rule.
    keep_characteristics : bool
        Whether sex, age, height and weight stay.
    """

    def __init__(self, key: bytes, patient: str, keep_characteristics: bool) -> None:
        needs = {"needed_for": "deidentify", "extra": "deid"}
        dates = import_optional("dicognito.datetimeanonymizer", **needs)
        uids = import_optional("dicognito.uianonymizer", **needs)
        randomizer = import_optional("dicognito.randomizer", **needs)
        self.name = pseudonym(key, patient)
        secret = hmac.digest(key, b"values:" + patient.encode("utf-8", "replace"), "sha256")
        days = int.from_bytes(hashlib.sha256(secret).digest()[:8], "big") % _DAYS + _LEAST_DAYS
        self._shift = dates.DateTimeAnonymizer(-24 * days)
        # UIDs are replaced by the key alone: a frame of reference may join patients' files.
        shared = hmac.digest(key, b"uids", "sha256").hex()
        self._replace = uids.UIAnonymizer(randomizer.Randomizer(shared))
        self._keep = _CHARACTERISTICS if keep_characteristics else ()
        self.counts: Counter[str] = Counter()

    def apply(self, dataset: Any) -> Counter[str]:
        """Clean a data set in place; return how many elements were treated, by action."""
        self.counts = Counter()
        self._clean(dataset)
        self._clean_meta(dataset)
        dataset.preamble = bytes(128)
        dataset.PatientName = dataset.PatientID = self.name
        self._declare(dataset)
        return self.counts

    def _clean(self, dataset: Any) -> None:
        for tag in sorted(dataset.keys()):
            if tag.is_private or _is_repeating(tag) or tag.group in (0x0004, 0xFFFC):
                del dataset[tag]
                self.counts["private" if tag.is_private else "removed"] += 1
                continue
            if int(tag) in _PIXELS or int(tag) in _KEPT or int(tag) in self._keep:
                continue
            self._clean_element(dataset, tag, dataset[tag])

    def _clean_element(self, dataset: Any, tag: Any, element: Any) -> None:
        action = ACTIONS.get(int(tag), "")
        if element.VR in ("DA", "DT") and int(tag) not in _BIRTH:
            self._shift_date(dataset, tag, element)
        elif element.VR == "TM" and int(tag) not in _BIRTH:
            self.counts["time of day kept"] += 1  # the option that shifts dates allows it
        elif element.VR == "UI":
            self._replace_uid(dataset, element)
        elif element.VR == "SQ" and action in ("", "U", "X/Z/U*"):
            for item in element.value:
                self._clean(item)
        elif action == "X" or element.VR == "UN" or (not action and element.VR == "PN"):
            del dataset[tag]
            self.counts["removed"] += 1
        elif action in ("Z", "X/Z") or (action and element.VR == "SQ"):
            element.value = [] if element.VR == "SQ" else None
            self.counts["emptied"] += 1
        elif action:
            self._put_dummy(dataset, tag, element)

    def _shift_date(self, dataset: Any, tag: Any, element: Any) -> None:
        try:
            self._shift(_Alone(), element)
            self.counts["date shifted"] += 1
        except (ValueError, TypeError, AttributeError, OverflowError):
            element.value = None  # a date that nobody can read is text
            self.counts["emptied"] += 1

    def _replace_uid(self, dataset: Any, element: Any) -> None:
        import pydicom

        value = element.value
        values = [value] if isinstance(value, str) else list(value or ())
        if any(not str(uid).startswith("1.2.840.10008.") for uid in values):
            if not self._replace(dataset, element):
                if int(element.tag) not in ACTIONS:
                    return  # the class of an object: a private one names a maker, and no more
                # dicognito leaves all classes alone, the table not that of the device.
                instance = pydicom.DataElement(0x00080018, "UI", element.value)
                self._replace(dataset, instance)
                element.value = instance.value
            self.counts["UID replaced"] += 1

    def _put_dummy(self, dataset: Any, tag: Any, element: Any) -> None:
        if element.VR in _STRINGS:
            element.value = "ANONYMIZED"
        elif element.VR in _DUMMIES:
            element.value = _DUMMIES[element.VR]
        else:
            del dataset[tag]
        self.counts["replaced"] += 1

    def _clean_meta(self, dataset: Any) -> None:
        meta = dataset.file_meta
        for tag in list(meta.keys()):
            if tag.element in (0x0016, 0x0017, 0x0018, 0x0026, 0x0027, 0x0028, 0x0100, 0x0102):
                del meta[tag]
                self.counts["removed"] += 1
        if "SOPInstanceUID" in dataset:
            meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    def _declare(self, dataset: Any) -> None:
        """Say in the header what was done, as PS3.15 E.1.1 asks for."""
        from pydicom import Dataset

        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = _METHOD
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
        items = []
        for value, meaning in _CODES.items():
            if value == "113108" and not self._keep:
                continue
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
            items.append(item)
        dataset.DeidentificationMethodCodeSequence = items


class _Alone:
    """A data set that holds no time beside a date: days are shifted, times stay."""

    def __contains__(self, name: object) -> bool:
        return False


def _is_repeating(tag: Any) -> bool:
    """Return whether an element is of a curve, or an overlay that may hold text."""
    for first, element in REPEATING:
        if first <= tag.group <= first + 0x1E and element in (None, tag.element):
            return True
    return False


def patient_of(dataset: Any) -> str:
    """Return what tells the patient of a data set from others."""
    for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID"):
        value = None
        with contextlib.suppress(ValueError, TypeError):
            value = str(dataset.get(keyword) or "").strip()
        if value:
            return value
    return ""
