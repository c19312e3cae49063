"""Exports of FHIR servers: the same features as from the frame, and what strangers write."""

from __future__ import annotations

import datetime
import gzip
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.datasets._dated import dated
from asfusion.datasets._fhir import CONDITIONS
from asfusion.datasets.axspa_cohort import AxSpaCohort
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.io._fhir import lines as fhir_lines
from asfusion.io.records import Records

LABS = af.LabEvents(["crp", "esr", "wbc", "platelets", "haemoglobin"])
CRP = af.LabEvents(["crp"], statistics=["last", "count"])
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
AT = "2024-03-01T08:00:00+01:00"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "gender": "female",
    "birthDate": "1984-04-01",
}
INDEX = pd.DataFrame(
    {"patient": ["p1", "p2"], "index_date": pd.to_datetime(["2024-04-01T12:00Z"] * 2, utc=True)}
)


def observation(**fields: Any) -> dict[str, Any]:
    """Return a CRP of 5 mg/L with some fields changed; those that are None left out."""
    whole = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "1988-5"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": AT,
        "valueQuantity": {"value": 5.0, "unit": "mg/L", "system": UCUM, "code": "mg/L"},
    }
    return {name: part for name, part in (whole | fields).items() if part is not None}


def bundle(*resources: Any, kind: str = "collection") -> dict[str, Any]:
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def ndjson(folder: Path, *lines: Any, name: str = "any.ndjson") -> Path:
    """Write lines, which are bytes or resources, and return the folder."""
    parts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    content = b"\n".join(parts)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def read(source: Any, **options: Any) -> Records:
    return af.io.read_fhir(source, index=INDEX, **{"labs": CRP, **options})


def left_out(records: Records, what: str = "Observation") -> Mapping[str, int]:
    return next((tally.left_out for tally in records.report if tally.what == what), {})


def values(records: Records) -> list[Any]:
    assert isinstance(records.events, pl.DataFrame)
    return records.events["value"].to_list()


# -- the synthetic cohort ----------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort() -> AxSpaCohort:
    kinds = ("labs", "notes", "genes", "visits")
    return af.datasets.make_axspa_cohort(12, random_state=3, modalities=kinds)


@pytest.fixture(scope="module")
def export(cohort: AxSpaCohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("fhir")
    return folder, cohort.write_fhir(folder)


def test_features_are_those_of_the_frame(cohort: AxSpaCohort, export: tuple[Path, Any]) -> None:
    folder, index = export
    asked = {name: [code] for name, (code, _) in CONDITIONS.items()}
    records = af.io.read_fhir(
        folder, index=index, labs=LABS, notes=True, visits=True, conditions=asked
    )
    tables = dated(cohort)
    wide = records.to_frame()
    expected = LABS.transform(tables.labs, tables.index)
    pd.testing.assert_frame_equal(wide[expected.columns], expected, rtol=0, atol=1e-9)
    assert wide["note"].fillna("").tolist() == cohort.X["clinical_note"].fillna("").tolist()
    assert (wide["age"] - cohort.X["age"]).abs().max() < 0.01
    assert wide["n_visits"].tolist() == cohort.visits.groupby("patient").size().tolist()
    assert wide["uveitis"].tolist() == (cohort.truth["history_uveitis"] > 0).tolist()
    assert not wide["axspa"].any()  # it was told a month later
    assert left_out(records) == {"after the index date": 12}


def test_films_are_studies(tmp_path: Path) -> None:
    cohort = af.datasets.make_axspa_cohort(
        1, random_state=0, modalities=["xray"], path=tmp_path / "films", missing=0
    )
    index = cohort.write_fhir(tmp_path / "fhir")
    table = af.io.read_fhir(tmp_path / "fhir", index=index, studies=True).studies
    assert table is not None
    assert table["patient"].to_list() == [1]
    assert set(table["modality"]) <= {"DX", "CR"}
    assert set(table["body_site"]) == {"PELVIS"}
    from pydicom import dcmread

    headers = [dcmread(path) for path in cohort.X["pelvis_xray"]]
    assert table["study"].to_list() == [header.StudyInstanceUID for header in headers]
    assert table["series"].to_list() == [header.SeriesInstanceUID for header in headers]
    validated(tmp_path / "fhir" / "ImagingStudy.ndjson")


def validated(file: Path) -> None:
    """Fail unless fhir.resources takes each line for what the name of the file says."""
    pytest.importorskip("fhir.resources", reason="fhir.resources judges whether it is FHIR")
    module = importlib.import_module(f"fhir.resources.R4B.{file.stem.lower()}")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines, file.stem
    for line in lines[:60]:
        getattr(module, file.stem).model_validate_json(line)


def test_a_bundle_a_folder_of_bundles_and_packed_files_read_alike(
    export: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, index = export
    plain = af.io.read_fhir(folder, index=index, labs=LABS, notes=True)
    resources = []
    for file in sorted(folder.glob("*.ndjson")):
        lines = file.read_bytes().splitlines()
        resources += [json.loads(line) for line in lines]
        (tmp_path / "packed").mkdir(exist_ok=True)
        (tmp_path / "packed" / f"{len(lines)}{file.name}.gz").write_bytes(
            gzip.compress(file.read_bytes())
        )
    (tmp_path / "bundles").mkdir()
    for number, part in enumerate((resources[::2], resources[1::2])):
        text = json.dumps(bundle(*part, kind="searchset"), indent=1)
        (tmp_path / "bundles" / f"{number}.json").write_text(text)
    for source in (tmp_path / "packed", tmp_path / "bundles", bundle(*resources)):
        other = af.io.read_fhir(source, index=index, labs=LABS, notes=True)
        pd.testing.assert_frame_equal(other.to_frame(), plain.to_frame())
        assert {tally.what: tally for tally in other.report} == {
            tally.what: tally for tally in plain.report
        }


def test_events_may_be_more_than_memory_holds(
    export: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, index = export
    monkeypatch.setattr("asfusion.io._parts.PART", 20)
    monkeypatch.setattr("asfusion.io._fhir.gathered.PART", 20)
    monkeypatch.setattr(fhir_lines, "_BLOCK", 10_000)
    plain = af.io.read_fhir(folder, index=index, labs=LABS)
    records = af.io.read_fhir(folder, index=index, labs=LABS, to=tmp_path / "new" / "events")
    assert records.events == tmp_path / "new" / "events"
    assert len(list(records.events.iterdir())) > 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["events"]
    pd.testing.assert_frame_equal(records.to_frame(), plain.to_frame(), rtol=0, atol=1e-9)
    assert (records.report, records.met) == (plain.report, plain.met)
    with pytest.raises(ConfigurationError, match="to: expected a folder that is not there yet"):
        af.io.read_fhir(folder, index=index, labs=LABS, to=tmp_path / "new")
    with pytest.raises(ColumnError, match="zone"):
        af.io.read_fhir(folder, index="2024-01-01", labs=LABS, to=tmp_path / "other" / "events")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [
        *("Condition", "DiagnosticReport", "DocumentReference", "Encounter", "Observation"),
        "Patient",
    ],
)
def test_what_is_written_is_fhir(export: tuple[Path, Any], kind: str) -> None:
    validated(export[0] / f"{kind}.ndjson")


def test_equal_cohorts_give_equal_bytes(cohort: AxSpaCohort, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        cohort.write_fhir(tmp_path / folder)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


# -- values and codes --------------------------------------------------------------------


QUANTITY = {"value": 5.0, "unit": "mg/L", "system": UCUM, "code": "mg/L"}


@pytest.mark.parametrize(
    ("fields", "value", "unit"),
    [
        ({}, "5.0", "mg/L"),
        ({"valueQuantity": QUANTITY | {"comparator": "<"}}, "<5.0", "mg/L"),
        ({"valueQuantity": QUANTITY | {"comparator": ">="}}, ">=5.0", "mg/L"),
        ({"valueQuantity": QUANTITY | {"unit": "milligrams", "code": "mg/dL"}}, "5.0", "mg/dL"),
        (
            {"valueQuantity": {"value": 5, "unit": "mg/L", "code": "9", "system": "x"}},
            "5.0",
            "mg/L",
        ),
        ({"valueQuantity": {"value": 5}}, "5.0", None),
        ({"valueQuantity": {"value": 0.1 + 0.2, "unit": "mg/L"}}, "0.30000000000000004", "mg/L"),
        ({"valueQuantity": None, "valueString": "<3"}, "<3", None),
        ({"valueQuantity": None, "valueInteger": 7}, "7.0", None),
        ({"valueQuantity": None, "valueBoolean": True}, "true", None),
        (
            {"valueQuantity": None, "valueCodeableConcept": {"coding": [{"code": "POS"}]}},
            "POS",
            None,
        ),
        ({"valueQuantity": None, "valueCodeableConcept": {"text": "positive"}}, "positive", None),
    ],
)
def test_values_and_units(fields: dict[str, Any], value: str, unit: str | None) -> None:
    records = read(bundle(PATIENT, observation(**fields)))
    assert values(records) == [value]
    assert records.events["unit"].to_list() == [unit]  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "entered-in-error"}, "entered in error or cancelled"),
        ({"status": "cancelled"}, "entered in error or cancelled"),
        ({"dataAbsentReason": {"coding": [{"code": "unknown"}]}}, "with a reason why there is no"),
        ({"valueQuantity": None}, "without a value"),
        ({"valueQuantity": {"unit": "mg/L"}}, "without a value"),
        ({"valueQuantity": None, "valueRange": {"low": {"value": 1}}}, "of a kind that is not"),
        ({"valueQuantity": QUANTITY | {"comparator": "ad"}}, "a comparator that is not known"),
        ({"code": {"text": "CRP"}}, "without a code of the system"),
        ({"code": {"coding": [{"system": "urn:ours", "code": "1988-5"}]}}, "without a code of"),
        ({"code": [1, 2]}, "without a code of the system"),
        ({"code": None}, "without a code of the system"),
        ({"effectiveDateTime": None}, "without a time"),
        ({"effectiveDateTime": "yesterday"}, "without a time"),
        ({"effectiveDateTime": "2024-03-01T08:00:00"}, "with an hour but no zone"),
        ({"effectiveDateTime": "2024-04-01T12:00:01Z"}, "after the index date"),
        ({"effectiveDateTime": "2024-04-01T12:30:00+00:15"}, "after the index date"),
        ({"effectiveDateTime": "2024-04-01"}, "on the day of the index date, hour unknown"),
        ({"effectiveDateTime": "2024-04"}, "after the index date"),
        ({"effectiveDateTime": "2024"}, "after the index date"),
        ({"subject": None}, "without a patient"),
        ({"subject": {"reference": "Group/p1"}}, "about no patient"),
        ({"subject": {"reference": "Patient/p9"}}, "a reference to a patient who is not there"),
        ({"subject": {"reference": "../../Patient/p1"}}, "a patient who is not there"),
        ({"subject": {"reference": "Patient/../p1"}}, "a patient who is not there"),
        ({"subject": {"reference": "file:///etc/Patient/p1"}}, "a patient who is not there"),
        ({"subject": {"reference": "Patient/p1?x=1"}}, "a patient who is not there"),
        ({"subject": {"reference": "#p1"}}, "within the resource alone"),
        ({"subject": {"reference": "Patient/" + "p1" * 9999}}, "a patient who is not there"),
    ],
)
def test_what_cannot_be_used_is_counted(fields: dict[str, Any], reason: str) -> None:
    records = read(bundle(PATIENT, observation(**fields)))
    assert values(records) == []
    ((said, n),) = left_out(records).items()
    assert reason in said
    assert n == 1
    assert records.to_frame()["crp_count"].isna().all()


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"effectiveDateTime": "2024-03-01T08:00:00.5Z"}, "2024-03-01T08:00:00.5"),
        ({"effectiveDateTime": "2024-03-01T08:00-05:00"}, "2024-03-01T13:00"),
        ({"effectiveDateTime": "2024-03-01"}, "2024-03-01"),
        ({"effectiveDateTime": "2024-02"}, "2024-03-01T11:59:59.999999"),
        ({"effectiveDateTime": "2023"}, "2024-01-01T11:59:59.999999"),
        ({"effectiveDateTime": None, "effectiveInstant": "2024-03-01T08:00:00Z"}, "2024-03-01T08"),
        (
            {"effectiveDateTime": None, "effectivePeriod": {"start": "2024-01", "end": AT}},
            "2024-03-01T07:00",
        ),
        ({"effectiveDateTime": None, "issued": "2024-03-02T00:00:00Z"}, "2024-03-02"),
    ],
)
def test_times(fields: dict[str, Any], time: str) -> None:
    records = read(bundle(PATIENT, observation(**fields)))
    assert isinstance(records.events, pl.DataFrame)
    (at,) = records.events["time"].to_list()
    assert at.replace(tzinfo=None) == datetime.datetime.fromisoformat(time)
    partial = [tally for tally in records.report if "month or a year" in tally.what]
    assert bool(partial) == (fields["effectiveDateTime"] in ("2024-02", "2023"))


def test_the_coding_of_the_system_and_of_the_labs_is_chosen() -> None:
    codings = [
        {"system": "urn:ours", "code": "CRP"},
        {"system": LOINC, "code": "48421-2"},
        {"system": "urn:oid:2.16.840.1.113883.6.1", "code": "1988-5"},
    ]
    source = bundle(PATIENT, observation(code={"coding": codings}))
    assert read(source).events["code"].to_list() == ["1988-5"]  # type: ignore[index, union-attr]
    ours = af.LabEvents({"crp": "CRP"})
    assert values(read(source, labs=ours)) == []
    assert values(read(source, labs=ours, system="urn:ours")) == ["5.0"]
    assert values(read(source, labs=ours, system=None)) == ["5.0"]


def test_components_are_events_of_their_own() -> None:
    part = {"code": {"coding": [{"system": LOINC, "code": "30341-2"}]}}
    parts = [
        part | {"valueQuantity": {"value": 20, "system": UCUM, "code": "mm/h"}},
        part | {"dataAbsentReason": {"coding": [{"code": "error"}]}},
    ]
    both = observation(component=parts)
    alone = observation(id="o2", component=parts, valueQuantity=None, code={"text": "panel"})
    records = read(bundle(PATIENT, both, alone), labs=["crp", "esr"])
    assert sorted(values(records)) == ["20.0", "20.0", "5.0"]
    assert left_out(records) == {"with a reason why there is no value": 2}


def test_what_is_not_understood_is_named_and_free_text_is_not() -> None:
    odd = [
        observation(id="o2", code={"coding": [{"system": "urn:lab", "code": "K12"}]}),
        observation(id="o3", code={"coding": [{"system": "urn:lab", "code": "Jane Doe, CRP"}]}),
        observation(id="o4", code={"text": "Jane Doe"}),
        observation(id="o5", code={"coding": [{"system": LOINC, "code": "718-7"}]}),
        {"resourceType": "Claim"},
        {"resourceType": "Jane Doe"},
    ]
    own = observation(valueQuantity={"value": 1, "unit": "Jane Doe"})
    records = read(bundle(PATIENT, own, *odd))
    assert left_out(records, "resources of other types") == {"Claim": 1, "others": 1}
    assert left_out(records, "codes of another system") == {
        "K12 (urn:lab)": 1,
        "as written (urn:lab)": 1,
        "text alone": 1,
    }
    assert left_out(records, "other labs") == {"of codes that were not asked for": 1}
    for shown in (repr(records), records._repr_html_(), str(records.met)):
        assert "Jane" not in shown
    assert records.met[0].unit == "as written"


# -- who and which version ---------------------------------------------------------------


def entry(resource: Any, url: str) -> dict[str, Any]:
    return {"fullUrl": url, "resource": resource}


def test_references_are_resolved_without_asking() -> None:
    nameless = {"resourceType": "Patient", "gender": "male"}
    refs = ("Patient/p1", "https://a.org/fhir/Patient/p1", "Patient/p1/_history/2", "urn:uuid:u-7")
    source = {
        "resourceType": "Bundle",
        "entry": [
            *(
                entry(observation(id=f"o{i}", subject={"reference": ref}), f"urn:uuid:o{i}")
                for i, ref in enumerate(refs)
            ),
            entry(PATIENT, "https://a.org/fhir/Patient/p1"),
            entry(nameless, "urn:uuid:u-7"),
            entry(
                observation(id="x", subject={"reference": "https://b.org/fhir/Patient/p1"}), "urn:x"
            ),
        ],
    }
    index = pd.DataFrame({"patient": ["p1", "u-7"], "index_date": INDEX["index_date"]})
    records = af.io.read_fhir(source, index=index, labs=CRP)
    assert records.events["patient"].to_list() == ["p1", "p1", "p1", "u-7"]  # type: ignore[index, union-attr]
    assert left_out(records) == {"with a reference to a patient who is not there": 1}


def test_without_patients_ids_of_references_count(tmp_path: Path) -> None:
    source = ndjson(tmp_path, observation(subject={"reference": "https://a.org/Patient/p1"}))
    assert values(read(source)) == ["5.0"]
    other = observation(id="o2", subject={"reference": "https://b.org/Patient/p1"})
    ndjson(tmp_path, other, name="more.ndjson")
    with pytest.raises(InputError, match="expected references to one server, got 2 servers"):
        read(tmp_path)


def test_one_id_of_two_servers_is_refused() -> None:
    servers = [entry(PATIENT, f"https://{name}.org/Patient/p1") for name in "ab"]
    with pytest.raises(InputError, match="expected each id once, got one at two addresses"):
        read({"resourceType": "Bundle", "entry": servers})


def test_patients_by_their_numbers_elsewhere() -> None:
    numbers = [{"system": "urn:other", "value": "9"}, {"system": "urn:mrn", "value": "007"}]
    source = bundle(PATIENT | {"identifier": numbers}, observation())
    index = pd.DataFrame({"patient": ["007"], "index_date": INDEX["index_date"][:1]})
    records = af.io.read_fhir(source, index=index, labs=CRP, identifier="urn:mrn")
    assert records.to_frame()["crp_last"].tolist() == [5.0]
    assert records.to_frame()["sex"].tolist() == ["female"]
    number = index.assign(patient=[7])  # 007 is another than 7
    assert values(af.io.read_fhir(source, index=number, labs=CRP, identifier="urn:mrn")) == []


def test_of_each_resource_the_latest_version_counts() -> None:
    def version(day: int | None, **fields: Any) -> dict[str, Any]:
        meta = {} if day is None else {"lastUpdated": f"2024-03-0{day}T00:00:00Z"}
        return observation(meta=meta, **fields)

    twice = read(bundle(PATIENT, observation(), observation(), PATIENT))
    assert values(twice) == ["5.0"]
    assert left_out(twice) == {"of a resource that was met again, or in a later version": 1}
    newer = QUANTITY | {"value": 8}
    again = bundle(PATIENT, version(3, valueQuantity=newer), version(2), version(None))
    assert values(read(again)) == ["8.0"]
    void = bundle(PATIENT, version(2), version(3, status="entered-in-error"))
    assert values(read(void)) == []
    moved = bundle(
        PATIENT, version(2), version(3, code={"coding": [{"system": LOINC, "code": "1"}]})
    )
    assert values(read(moved)) == []
    nameless = observation(id=None)
    assert values(read(bundle(PATIENT, nameless, nameless))) == ["5.0", "5.0"]


def test_what_was_issued_after_an_index_date_was_not_known_before() -> None:
    late = observation(issued="2024-04-02T00:00:00Z")
    records = read(bundle(PATIENT, late))
    assert values(records) == []
    assert left_out(records) == {"issued after the index date": 1}
    assert values(read(bundle(PATIENT, late), known="effective")) == ["5.0"]
    dates = pd.to_datetime(["2024-02-01T00:00Z", "2024-03-15T00:00Z", "2024-04-15T00:00Z"])
    index = pd.DataFrame({"patient": ["p1"] * 3, "index_date": dates})
    later = af.io.read_fhir(bundle(PATIENT, late), index=index, labs=CRP)
    assert later.to_frame()["crp_count"].fillna(0).tolist() == [0, 0, 1]
    soon = observation(issued="2024-03-01T12:00:00Z")
    records = af.io.read_fhir(bundle(PATIENT, soon), index=index, labs=CRP)
    assert str(records.events["time"][0]) == "2024-03-01 07:00:00+00:00"  # type: ignore[index, union-attr]


def test_one_date_counts_for_all_patients() -> None:
    late = observation(id="o2", effectiveDateTime="2024-05-01T08:00:00Z")
    source = bundle(PATIENT, observation(), late)
    records = af.io.read_fhir(source, index="2024-04-01T00:00:00+02:00", labs=CRP)
    assert records.to_frame()["crp_count"].tolist() == [1.0]
    with pytest.raises(ColumnError, match="expected a zone in both or in neither"):
        af.io.read_fhir(source, index="2024-04-01", labs=CRP)


def test_polars_gives_polars() -> None:
    index = pl.DataFrame(
        {"patient": INDEX["patient"].tolist(), "index_date": INDEX["index_date"].tolist()}
    )
    source = bundle(PATIENT, observation())
    wide = af.io.read_fhir(source, index=index, labs=CRP).to_frame()
    assert isinstance(wide, pl.DataFrame)
    assert wide["crp_last"].to_list() == [5.0, None]
    lazy = af.io.read_fhir(source, index=index.lazy(), labs=CRP).to_frame()
    assert lazy.equals(wide)
