"""The synthetic cohort as a FHIR server exports it: NDJSON of R4 resources, a file for each type.

Equal cohorts give equal bytes: no clock, and no random number.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from asfusion._files import clear_leftovers, write_file
from asfusion.datasets._dated import LABS, Cohort, Dated, dated

if TYPE_CHECKING:
    import pandas as pd

_LOINC, _UCUM, _SNOMED = "http://loinc.org", "http://unitsofmeasure.org", "http://snomed.info/sct"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMS = "http://terminology.hl7.org/CodeSystem"
_META: Final = {"tag": [{"system": f"{_TERMS}/v3-ActReason", "code": "HTEST"}]}
_DISPLAYS: Final = {
    "crp": "C reactive protein [Mass/volume] in Serum or Plasma",
    "esr": "Erythrocyte sedimentation rate",
    "wbc": "Leukocytes [#/volume] in Blood",
    "neutrophils": "Neutrophils [#/volume] in Blood",
    "lymphocytes": "Lymphocytes [#/volume] in Blood",
    "platelets": "Platelets [#/volume] in Blood",
    "haemoglobin": "Hemoglobin [Mass/volume] in Blood",
}
_PANEL: Final = ("wbc", "neutrophils", "lymphocytes", "platelets", "haemoglobin")
_PRESENCE: Final = {True: ("10828004", "Positive"), False: ("260385009", "Negative")}
CONDITIONS: Final = {
    "uveitis": ("128473001", "Uveitis"),
    "psoriasis": ("9014002", "Psoriasis"),
    "ibd": ("24526004", "Inflammatory bowel disease"),
    "axspa": ("723116002", "Axial spondyloarthritis"),
}
Resource = dict[str, Any]


def write_fhir(cohort: Cohort, folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Write the files, and return the index dates; see `AxSpaCohort.write_fhir`."""
    tables = dated(cohort)
    index = tables.index.assign(index_date=tables.index["index_date"].dt.tz_localize("UTC"))
    labs = [*_observations(tables), *_genotypes(cohort, index)]
    found = {
        "Patient": [*_patients(tables)],
        "Observation": labs,
        "DiagnosticReport": [*_reports(labs)],
        "DocumentReference": [*_documents(tables)],
        "Encounter": [*_encounters(tables)],
        "Condition": [*_conditions(tables)],
        "ImagingStudy": [*_studies(cohort, index)],
    }
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for kind, own in found.items():
        lines = [json.dumps(resource, ensure_ascii=False) + "\n" for resource in own]
        file = target / f"{kind}.ndjson"
        clear_leftovers(file)
        write_file(file, "".join(lines).encode())
    return index


def _new(kind: str, name: str, patient: int | None = None, **fields: Any) -> Resource:
    subject = {} if patient is None else {"subject": {"reference": f"Patient/{patient}"}}
    return {"resourceType": kind, "id": name, "meta": _META, **subject, **fields}


def _concept(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _stamp(time: Any) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}+00:00"


def _patients(tables: Dated) -> Iterator[Resource]:
    for patient, sex, birth in tables.persons.itertuples(index=False):
        known: Resource = {"gender": sex} if isinstance(sex, str) else {}
        if birth == birth:
            known["birthDate"] = f"{birth:%Y-%m-%d}"
        number = [{"system": "urn:asfusion:synthetic", "value": f"SYNTHETIC-{patient - 1}"}]
        yield _new("Patient", str(patient), identifier=number, **known)


# -- labs --------------------------------------------------------------------------------


def _observations(tables: Dated) -> Iterator[Resource]:
    """Yield what was measured at once: blood counts as one panel, the others by themselves."""
    together: Any = tables.labs.groupby(["patient", "time"])
    for (patient, time), own in together:
        parts = {
            lab: _measured(lab, value, unit)
            for lab, value, unit in own[["lab", "value", "unit"]].itertuples(index=False)
        }
        counts = [parts.pop(lab) for lab in _PANEL if lab in parts]
        for lab, part in parts.items():
            yield _observation(lab, int(patient), time, **part)
        if counts:
            panel = _concept(_LOINC, "58410-2", "CBC panel - Blood by Automated count")
            yield _observation("cbc", int(patient), time, code=panel, component=counts)


def _measured(lab: str, value: float, unit: str) -> Resource:
    quantity = {"value": float(value), "unit": unit, "system": _UCUM, "code": unit}
    return {"code": _concept(_LOINC, LABS[lab][0], _DISPLAYS[lab]), "valueQuantity": quantity}


def _observation(lab: str, patient: int, time: Any, **fields: Any) -> Resource:
    kind = [_concept(f"{_TERMS}/observation-category", "laboratory", "Laboratory")]
    at = {"effectiveDateTime": _stamp(time), "issued": _stamp(time)}
    name = f"{lab}-{patient}-{time:%Y%m%d}"
    return _new("Observation", name, patient, status="final", category=kind, **at, **fields)


def _genotypes(cohort: Cohort, index: pd.DataFrame) -> Iterator[Resource]:
    code = _concept(_LOINC, "26028-1", "HLA-B27 [Presence]")
    cells: Any = cohort.X.get("hla_b27", [])
    for (patient, at), cell in zip(index.itertuples(index=False), cells, strict=False):
        if isinstance(cell, bool | np.bool_):
            found = _concept(_SNOMED, *_PRESENCE[bool(cell)])
            yield _observation("hla-b27", patient, at, code=code, valueCodeableConcept=found)


def _reports(labs: list[Resource]) -> Iterator[Resource]:
    """Yield which observations were made at once."""
    together: dict[tuple[str, str], list[Resource]] = {}
    for one in labs:
        key = (one["subject"]["reference"], one["effectiveDateTime"])
        together.setdefault(key, []).append(one)
    for (subject, time), own in together.items():
        patient, day = int(subject.partition("/")[2]), time[:13].replace("-", "")
        yield _new(
            "DiagnosticReport", f"report-{patient}-{day}", patient, status="final",
            code=_concept(_LOINC, "11502-2", "Laboratory report"), effectiveDateTime=time,
            issued=time, result=[{"reference": f"Observation/{one['id']}"} for one in own],
        )  # fmt: skip


# -- notes, visits, history and films ----------------------------------------------------


def _documents(tables: Dated) -> Iterator[Resource]:
    for patient, time, text in tables.notes.itertuples(index=False):
        data = base64.b64encode(text.encode()).decode()
        attached = {"contentType": "text/plain; charset=utf-8", "data": data}
        yield _new(
            "DocumentReference", f"note-{patient}-{time:%Y%m%d}", patient, status="current",
            type=_concept(_LOINC, "11488-4", "Consult note"), date=_stamp(time),
            content=[{"attachment": attached}],
        )  # fmt: skip


def _encounters(tables: Dated) -> Iterator[Resource]:
    kind = {"system": f"{_TERMS}/v3-ActCode", "code": "AMB", "display": "ambulatory"}
    for patient, time in tables.visits.itertuples(index=False):
        fields = {"status": "finished", "class": kind, "period": {"start": _stamp(time)}}
        yield _new("Encounter", f"visit-{patient}-{time:%Y%m%d}", patient, **fields)


def _conditions(tables: Dated) -> Iterator[Resource]:
    status = {"coding": [{"system": f"{_TERMS}/condition-ver-status", "code": "confirmed"}]}
    clinical = {"coding": [{"system": f"{_TERMS}/condition-clinical", "code": "active"}]}
    for patient, time, name in tables.conditions.itertuples(index=False):
        yield _new(
            "Condition", f"{name}-{patient}", patient, code=_concept(_SNOMED, *CONDITIONS[name]),
            recordedDate=_stamp(time), verificationStatus=status, clinicalStatus=clinical,
        )  # fmt: skip


def _studies(cohort: Cohort, index: pd.DataFrame) -> Iterator[Resource]:
    """Yield a study for each row, of what the headers of its films and series say."""
    columns = [name for name in map(str, cohort.X) if name.endswith("_xray") or name[:4] == "mri_"]
    for (patient, at), paths in zip(
        index.itertuples(index=False), cohort.X[columns].itertuples(index=False), strict=True
    ):
        of_study: dict[str, list[Resource]] = {}
        for path in paths:
            if isinstance(path, str):
                study, own = _series(Path(path))
                of_study.setdefault(study, []).append(own)
        for number, (study, series) in enumerate(of_study.items()):
            yield _new(
                "ImagingStudy", f"study-{patient}-{at:%Y%m%d}-{number}", patient,
                identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}],
                status="available", started=_stamp(at), numberOfSeries=len(series), series=series,
            )  # fmt: skip


def _series(path: Path) -> tuple[str, Resource]:
    import pydicom

    files = sorted(path.iterdir()) if path.is_dir() else [path]
    tags = ["StudyInstanceUID", "SeriesInstanceUID", "Modality", "BodyPartExamined"]
    header = pydicom.dcmread(files[0], stop_before_pixels=True, specific_tags=tags)
    own: Resource = {
        "uid": str(header.SeriesInstanceUID),
        "modality": {"system": _DICOM, "code": str(header.Modality)},
        "numberOfInstances": len(files),
    }
    if part := header.get("BodyPartExamined"):
        own["bodySite"] = {"system": _DICOM, "code": str(part)}
    return str(header.StudyInstanceUID), own
