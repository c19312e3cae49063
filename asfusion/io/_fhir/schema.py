"""What is read of each resource of FHIR: the fields, and what they are made of.

A concept is kept as the text of its JSON: there are few different ones, so that each is looked at
once, and polars needs half the time. Fields of the same meaning have the same names as in FHIR R4
(https://hl7.org/fhir/R4).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from asfusion.io._fhir.lines import FULL_URL

TEXT, NUMBER = pl.String(), pl.Float64()
CONCEPT = pl.String()
Schema = Mapping[str, pl.DataType]


def _of(*names: str, **others: pl.DataType) -> pl.Struct:
    return pl.Struct({**dict.fromkeys(names, TEXT), **others})


_REFERENCE = _of("reference")
_PERIOD = _of("start", "end")
_ATTACHMENT = _of("contentType", "data", "url")
VALUES: dict[str, pl.DataType] = {
    "valueQuantity": _of("comparator", "unit", "system", "code", value=NUMBER),
    "valueString": TEXT,
    "valueInteger": NUMBER,
    "valueBoolean": TEXT,
    "valueCodeableConcept": CONCEPT,
    # Kinds of values that are not read, so as to tell them from none.
    **dict.fromkeys(("valueRange", "valueRatio", "valueSampledData"), TEXT),
    **dict.fromkeys(("valueTime", "valueDateTime", "valuePeriod"), TEXT),
    "dataAbsentReason": TEXT,
}
OTHER_VALUES = tuple(VALUES)[5:-1]
_EFFECTIVE: dict[str, pl.DataType] = {
    "effectiveDateTime": TEXT,
    "effectiveInstant": TEXT,
    "effectivePeriod": _PERIOD,
    "issued": TEXT,
}
_ALL: dict[str, pl.DataType] = {
    "id": TEXT,
    "meta": _of("lastUpdated"),
    "status": TEXT,
    "subject": _REFERENCE,
    FULL_URL: TEXT,
}
_MEDICATION: dict[str, pl.DataType] = {"medicationCodeableConcept": CONCEPT, **_ALL}

SCHEMAS: dict[str, Schema] = {
    "Patient": {
        **{name: _ALL[name] for name in ("id", "meta", FULL_URL)},
        "gender": TEXT,
        "birthDate": TEXT,
        "identifier": pl.List(_of("system", "value")),
    },
    "Observation": {
        **_ALL,
        "code": CONCEPT,
        **_EFFECTIVE,
        **VALUES,
        "component": pl.List(pl.Struct({"code": CONCEPT, **VALUES})),
    },
    "DiagnosticReport": {
        **_ALL,
        "code": CONCEPT,
        **_EFFECTIVE,
        "conclusion": TEXT,
        "presentedForm": pl.List(_ATTACHMENT),
        "contained": TEXT,
    },
    "DocumentReference": {
        **_ALL,
        "docStatus": TEXT,
        "type": CONCEPT,
        "date": TEXT,
        "content": pl.List(pl.Struct({"attachment": _ATTACHMENT})),
    },
    "Encounter": {**_ALL, "class": TEXT, "period": _PERIOD},
    "Condition": {
        **_ALL,
        "code": CONCEPT,
        "verificationStatus": CONCEPT,
        "recordedDate": TEXT,
        "onsetDateTime": TEXT,
        "onsetPeriod": _PERIOD,
    },
    "MedicationRequest": {**_MEDICATION, "authoredOn": TEXT},
    "MedicationStatement": {**_MEDICATION, **_EFFECTIVE, "dateAsserted": TEXT},
    "MedicationAdministration": {**_MEDICATION, **_EFFECTIVE},
    "ImagingStudy": {
        **_ALL,
        "identifier": pl.List(_of("system", "value")),
        "started": TEXT,
        "description": TEXT,
        "series": pl.List(
            _of("uid", "description", modality=_of("code"), bodySite=_of("code", "display"))
        ),
    },
}
