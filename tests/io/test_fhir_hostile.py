"""Exports of FHIR that are damaged, or mean harm: one clear error, or a count; and their notes."""

from __future__ import annotations

import base64
import gzip
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.exceptions import AsfusionError, ConfigurationError, InputError
from asfusion.io._fhir import lines as fhir_lines
from asfusion.io._fhir import notes as fhir_notes
from asfusion.io._fhir.lines import Block
from asfusion.io._fhir.parser import Parser
from asfusion.io._fhir.schema import SCHEMAS
from tests.io.test_fhir import AT, PATIENT, bundle, left_out, ndjson, observation, read, values

GOOD = json.dumps(observation()).encode()
DEEP = 100_000
LETTERS = string.ascii_lowercase
SECRET = "Jane-Doe"  # stands in every damaged line: no message may show it


def damaged(inner: bytes) -> bytes:
    return b'{"resourceType":"Observation","id":"%s",%s}' % (SECRET.encode(), inner)


BAD_LINES = {
    "cut": GOOD[:-20],
    "deep lists": damaged(b'"x":' + b"[" * DEEP + b"]" * DEEP),
    "deep objects": damaged(b'"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "never closed": b"[" * DEEP,
    "a bare NUL": damaged(b'"status":"fi\x00nal"'),
    "nothing but NUL": b"\x00" * 100,
    "not UTF-8": damaged(b'"status":"\xff\xfe"'),
    "NaN": damaged(b'"valueQuantity":{"value":NaN}'),
    "Infinity": damaged(b'"valueQuantity":{"value":-Infinity}'),
    "1e999": damaged(b'"valueQuantity":{"value":1e999}'),
    "a number of 5000 digits": damaged(b'"valueQuantity":{"value":%s}' % (b"9" * 5000)),
    "two resources": GOOD + GOOD,
    "a list": b"[1, 2]",
    "a number": b"5",
    "null": b"null",
    "no type": b'{"id":"x"}',
    "a type that is a number": b'{"resourceType":5}',
    "words": b"Jane-Doe was here",
    "CSV": b"patient,time,value",
}
BAD_SHAPES = {
    "a list where an object is": observation(valueQuantity=[5]),
    "text where an object is": observation(subject=SECRET),
    "an object where a list is": observation(component={"code": {}}),
    "text where a number is": observation(valueQuantity={"value": SECRET}),
    "a bool where a number is": observation(valueQuantity={"value": True}),
    "an object where a number is": observation(valueInteger={"a": 1}),
    "text in a list of objects": observation(component=[SECRET]),
    "a list as meta": observation(meta=[]),
}


@pytest.mark.parametrize("name", [*BAD_LINES, *BAD_SHAPES])
def test_a_damaged_line_is_one_error_or_a_count(tmp_path: Path, name: str) -> None:
    bad = BAD_LINES.get(name) or json.dumps(BAD_SHAPES[name]).encode()
    good = json.dumps(observation(id="o2")).encode()
    ndjson(tmp_path, PATIENT, good, b"", bad, GOOD.replace(b"5.0", b"6.0"))
    with pytest.raises(
        InputError, match=r"^The file, line 4: expected .*, got .*invalid='miss"
    ) as e:
        read(tmp_path)
    assert SECRET not in str(e.value)
    assert str(tmp_path) not in str(e.value)
    records = read(tmp_path, invalid="missing")
    assert sorted(values(records)) == ["5.0", "6.0"]
    assert sum(left_out(records, "lines").values()) == 1
    assert SECRET not in repr(records)


def test_what_is_odd_and_harmless(tmp_path: Path) -> None:
    million = {"coding": [{"code": "x"}] * 99_999 + observation()["code"]["coding"]}
    lines = [
        b"\xef\xbb\xbf" + json.dumps(PATIENT).encode(),
        b"   \r",
        GOOD + b"\r",
        json.dumps(observation(id="o2", code=million)).encode(),
        json.dumps(observation(id="o3", status="\x00\ud800")).encode(),
        json.dumps(observation(id={"a": [1]}, subject={"reference": "Patient/p1"})).encode(),
        GOOD.replace(b"o1", b"o5").replace(b"5.0", b"0.1000000000000000055511151231257827"),
    ]
    assert sorted(values(read(ndjson(tmp_path, *lines)))) == ["0.1", "5.0", "5.0", "5.0", "5.0"]


def test_cyclic_references_are_not_followed() -> None:
    around = [
        observation(id="a", hasMember=[{"reference": "Observation/b"}]),
        observation(id="b", derivedFrom=[{"reference": "Observation/a"}], effectiveDateTime=AT),
        observation(id="c", subject={"reference": "Observation/c"}),
    ]
    patient = PATIENT | {"link": [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]}
    assert values(read(bundle(patient, *around))) == ["5.0", "5.0"]


# -- bombs -------------------------------------------------------------------------------


def test_a_line_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fhir_lines, "_BLOCK", 1000)
    monkeypatch.setattr(fhir_lines, "LONGEST_LINE", 4000)
    long = json.dumps(observation(note="x" * 20_000)).encode()
    ndjson(tmp_path, PATIENT, GOOD, long, GOOD.replace(b"o1", b"o2"), long)
    with pytest.raises(InputError, match="line 3: expected JSON, got more than 64 MB"):
        read(tmp_path)
    records = read(tmp_path, invalid="missing")
    assert values(records) == ["5.0", "5.0"]
    assert left_out(records, "lines") == {"that are no JSON": 2}


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_blocks_of_any_size_hold_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(fhir_lines, "_BLOCK", size)
    lines = [b"", *(b"x" * n for n in (0, 1, 99, 100, 101, 0, 300)), b"end"]
    ndjson(tmp_path, *lines)
    blocks = [
        part for block in fhir_lines.blocks_of(tmp_path) for part in (block.inner or (block,))
    ]
    assert b"".join(block.data for block in blocks) == b"\n".join(lines)
    for block in blocks:
        n = b"\n".join(lines).find(block.data) if block.first == 1 else None
        assert n in (0, None)
        assert lines[block.first - 1] == block.data.split(b"\n")[0]


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_lines, "_SMALL", 1000)
    ndjson(tmp_path, b" " * 5_000_000, name="a.ndjson.gz")
    with pytest.raises(InputError, match="expected at most 300 times its size unpacked"):
        read(tmp_path)


@pytest.mark.parametrize("cut", [8, 30])
def test_a_gzip_file_that_is_cut_or_none(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(GOOD)[:-cut])
    with pytest.raises(InputError, match="expected a whole gzip file"):
        read(tmp_path)
    (tmp_path / "a.ndjson.gz").write_bytes(GOOD)
    with pytest.raises(InputError, match="expected a whole gzip file"):
        read(tmp_path)


def test_a_line_of_too_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("strict_json", "parser"):
        monkeypatch.setattr(f"asfusion.io._fhir.{module}.MOST_VALUES", 1000)
    monkeypatch.setattr("asfusion.io._fhir.parser._LONG", 1000)
    ndjson(tmp_path, observation(x=[0] * 2000))
    with pytest.raises(
        InputError, match="line 1: expected JSON, got more than 8000000 values|1000"
    ):
        read(tmp_path)


# -- bundles -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "expected a bundle or one resource as JSON, got something that is no JSON"),
        (GOOD + b"\n" + GOOD, "is to be named .ndjson"),
        (b"[1]", "got JSON without a resourceType"),
        (b'{"resourceType":[]}', "got JSON without a resourceType"),
        (b'{"resourceType":"Bundle","entry":{"a":1}}', "expected a list of entries, got a dict"),
        (b"[" * DEEP, "nested too deep|no JSON"),
        (
            b'{"resourceType":"Bundle","entry":' + b"[" * DEEP + b"]" * DEEP + b"}",
            "nested too deep",
        ),
        (b'{"resourceType":"Bundle","entry":[5]}', "entry 1: expected a resource"),
        (b'{"resourceType":"Bundle","entry":[{},{"resource":[]}]}', "entry 2: expected a resource"),
        (b'{"resourceType":"Bundle","entry":[{"resource":{"id":1}}]}', "entry 1: expected a reso"),
        (b'{"resourceType":"Bundle","x":NaN}', "a number that is not finite"),
    ],
)
def test_bundles_that_are_none(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=match):
        read(tmp_path)


def test_a_bundle_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_lines, "LARGEST_BUNDLE", 100)
    (tmp_path / "a.json").write_bytes(GOOD)
    with pytest.raises(InputError, match="expected a bundle of at most 0 MB"):
        read(tmp_path)


def test_bundles_within_lines_are_opened_once(tmp_path: Path) -> None:
    inner = bundle(PATIENT, observation(), bundle(observation(id="o2")))
    records = read(ndjson(tmp_path, inner, observation(id="o3")))
    assert values(records) == ["5.0", "5.0"]
    assert left_out(records, "resources of other types") == {"Bundle": 1}


def test_small_files_are_read_together_and_named_apart(tmp_path: Path) -> None:
    for number in range(3):
        own = bundle(PATIENT, observation(id=f"o{number}"))
        (tmp_path / f"{number}.json").write_text(json.dumps(own))
    assert values(read(tmp_path)) == ["5.0"] * 3
    (tmp_path / "1.json").write_text(json.dumps(bundle(PATIENT, observation(valueQuantity=[]))))
    with pytest.raises(InputError, match=r"^File 2 of 3 .*, entry 2: expected an? Observation as"):
        read(tmp_path)
    assert values(read(tmp_path, invalid="missing")) == ["5.0"] * 2


def test_types_that_nobody_knows_cost_little() -> None:
    names = (f"{a}{b}{c}" for a in "ABCDEFGH" for b in LETTERS for c in LETTERS)
    source = bundle(*({"resourceType": name} for name in names), PATIENT, observation())
    records = read(source)
    assert values(records) == ["5.0"]
    assert sum(left_out(records, "resources of other types").values()) == 8 * 26 * 26


def test_a_deletion_has_no_resource() -> None:
    source = bundle(PATIENT, observation())
    source["entry"].append({"request": {"method": "DELETE", "url": "Observation/o9"}})
    assert values(read(source)) == ["5.0"]


def test_a_bundle_in_memory_that_is_no_json() -> None:
    around: dict[str, Any] = bundle(PATIENT)
    around["entry"].append({"resource": around})
    for odd in (around, {"resourceType": "Bundle", "entry": [{1, 2}]}, {"resourceType": {3}}):
        with pytest.raises(InputError, match="expected a bundle of plain JSON, got something"):
            read(odd)
    deep: Any = []
    for _ in range(DEEP):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deep"):
        read({"resourceType": "Bundle", "entry": deep})
    while deep:  # else its end would be too deep, too
        deep = deep.pop()


@pytest.mark.parametrize("source", ["nowhere", 5, None, "a\x00b", b"x", ["a"]])
def test_a_source_that_is_none(source: Any) -> None:
    with pytest.raises(InputError, match="source: expected a folder of files named .ndjson"):
        read(source)


def test_files_that_are_others_are_left_alone(tmp_path: Path) -> None:
    ndjson(tmp_path, PATIENT, observation())
    (tmp_path / "log.txt").write_bytes(b"\xff")
    (tmp_path / "log.ndjson").write_bytes(b'{"eventId": "kickoff"}')
    (tmp_path / "manifest.json").write_bytes(b'{"transactionTime": "2024", "output": []}')
    (tmp_path / "deep.ndjson").mkdir()
    assert values(read(tmp_path)) == ["5.0"]
    assert values(read(tmp_path / "any.ndjson")) == ["5.0"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"invalid": "skip"}, "invalid: expected one of 'raise', 'missing'"),
        ({"known": "later"}, "known: expected one of 'issued', 'effective'"),
        ({"conditions": ["x"]}, "conditions: expected True, False, or names"),
        ({"drugs": {"nsaid": []}}, "drugs: expected True, False, or names"),
        ({"drugs": {"nsaid": [5]}}, "drugs: expected True, False, or names"),
        ({"labs": 5}, "codes: expected labs with their codes"),
    ],
)
def test_parameters_that_are_none(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        read(bundle(PATIENT), **options)


# -- notes -------------------------------------------------------------------------------


def document(text: bytes = b"Back pain.", kind: str | None = "text/plain", **fields: Any) -> Any:
    attached = {"contentType": kind, "data": base64.b64encode(text).decode()}
    whole = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "date": AT,
        "type": {"coding": [{"code": "11488-4"}], "text": "Consult note"},
        "content": [{"attachment": {k: v for k, v in attached.items() if v is not None}}],
    }
    return whole | fields


def texts(*resources: Any) -> list[str]:
    table = read(bundle(PATIENT, *resources), notes=True).notes
    assert table is not None
    return table["text"].to_list()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Rückenschmerz".encode(), "text/plain"),
        ("Rückenschmerz".encode(), None),
        ("\ufeffRückenschmerz".encode(), 'TEXT/PLAIN; Charset="UTF-8"'),
        ("Rückenschmerz".encode("latin1"), "text/plain;charset=iso-8859-1"),
        ("Rückenschmerz".encode("utf-16"), "text/plain;charset=utf-16"),
    ],
)
def test_charsets_of_notes(text: bytes, kind: str | None) -> None:
    assert texts(document(text, kind)) == ["Rückenschmerz"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": b"%PDF", "kind": "application/pdf"}, "of a type that is not plain text"),
        ({"text": b"\xff\xfe\xfa"}, "that cannot be decoded"),
        ({"text": b"x", "kind": "text/plain;charset=zlib"}, "that cannot be decoded"),
        ({"text": b" \n"}, "without a text"),
        ({"content": []}, "without a text"),
        ({"content": None}, "without a text"),
        ({"content": [{"attachment": {"data": "!!!"}}]}, "that cannot be decoded"),
        ({"content": [{"attachment": {"url": "http://x.org/1"}}]}, "which is never fetched"),
        ({"content": [{"attachment": {"url": "file:///etc/passwd"}}]}, "which is never fetched"),
        ({"status": "entered-in-error"}, "entered in error"),
        ({"docStatus": "entered-in-error"}, "entered in error"),
        ({"date": "2024-05-01T00:00:00Z"}, "after the index date"),
        ({"date": None}, "without a time"),
    ],
)
def test_notes_that_are_not_read_are_counted(fields: dict[str, Any], reason: str) -> None:
    records = read(bundle(PATIENT, document(**fields)), notes=True)
    assert records.notes is not None
    assert records.notes.is_empty()
    ((said, n),) = left_out(records, "DocumentReference").items()
    assert reason in said
    assert n == 1


def test_notes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_notes, "LONGEST", 10)
    assert texts(document(b"x" * 10)) == ["x" * 10]
    assert texts(document(b"x" * 11)) == []
    assert texts(document(b"x" * 1000)) == []


def report(**fields: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "MRI"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": AT,
        "issued": "2024-03-02T00:00:00Z",
    }
    return whole | fields


def test_reports_are_notes_from_when_they_were_issued() -> None:
    form = document(b"Marrow oedema.")["content"][0]["attachment"]
    whole = report(conclusion="Sacroiliitis.", presentedForm=[form])
    assert sorted(texts(whole)) == ["Marrow oedema.", "Sacroiliitis."]
    assert texts(whole | {"issued": "2024-05-01T00:00:00Z"}) == []
    assert texts(whole | {"status": "entered-in-error"}) == []


def test_observations_within_reports_are_the_reports() -> None:
    inner = {k: observation()[k] for k in ("resourceType", "id", "code", "valueQuantity", "status")}
    other = {"resourceType": "Organization", "name": "x"}
    whole = report(contained=[inner, other, 5])
    assert values(read(bundle(PATIENT, whole))) == ["5.0"]
    assert values(read(bundle(PATIENT, whole, whole))) == ["5.0"]
    assert values(read(bundle(PATIENT, whole | {"status": "entered-in-error"}))) == []
    assert values(read(bundle(PATIENT, report(contained={"a": 1})))) == []


# -- conditions, drugs and visits --------------------------------------------------------


def test_conditions_drugs_and_visits() -> None:
    who = {"subject": {"reference": "Patient/p1"}}
    uveitis = {"coding": [{"code": "4"}, {"code": "H20.0"}]}
    nsaid = {"coding": [{"code": "M01"}]}
    refuted = {"coding": [{"code": "refuted"}]}
    condition = {"resourceType": "Condition", "code": uveitis, "recordedDate": "2020", **who}
    resources = [
        condition | {"id": "c1"},
        condition | {"id": "c2", "verificationStatus": refuted},
        condition | {"id": "c3", "recordedDate": "2024-06-01", "onsetDateTime": "2019"},
        {"resourceType": "MedicationRequest", "authoredOn": AT,
         "medicationCodeableConcept": nsaid, **who},
        {"resourceType": "MedicationStatement", "effectivePeriod": {"start": "2023-01-01"},
         "medicationReference": {"reference": "Medication/1"}, **who},
        {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"},
         "period": {"start": AT}, **who},
    ]  # fmt: skip
    source = bundle(PATIENT, *resources)
    asked = {"uveitis": "H20.0", "psoriasis": ["L40.9"]}
    records = read(source, conditions=asked, drugs={"nsaid": ["M01"]}, visits=True)
    wide = records.to_frame()
    assert wide["uveitis"].tolist() == [True, False]
    assert wide["psoriasis"].tolist() == [False, False]
    assert wide["nsaid"].tolist() == [True, False]
    assert wide["n_visits"].tolist() == [1, 0]
    assert records.conditions is not None
    assert len(records.conditions) == 1
    assert set(left_out(records, "Condition")) == {
        "entered in error or cancelled",
        "after the index date",
    }
    assert left_out(records, "MedicationStatement") == {"of a drug without a code": 1}
    every = read(source, conditions=True, drugs=True)
    assert every.conditions is not None
    assert every.conditions["code"].to_list() == ["4", "H20.0"]


# -- properties --------------------------------------------------------------------------

PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from(["code", "coding", "value", "system", "reference", "unit", "status", "x"])


def parts_of_json(leaves: Any) -> Any:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=6,
    )


FIELDS = sorted({name for schema in SCHEMAS.values() for name in schema})


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*SCHEMAS, "Bundle", "Claim"]),
            st.dictionaries(st.sampled_from(FIELDS), parts_of_json(PLAIN | FLOATS), max_size=4),
        ),
        max_size=4,
    )
)
def test_whatever_the_fields_hold_it_is_read_or_told(resources: list[Any]) -> None:
    source = bundle(
        PATIENT, observation(), *({**own, "resourceType": kind} for kind, own in resources)
    )
    options = {
        **dict.fromkeys(("notes", "visits", "conditions", "drugs", "studies"), True),
        "invalid": "missing",
    }
    records = read(source, **options)
    assert records.to_frame().shape[0] == 2
    for tally in records.report:
        assert tally.n_read >= tally.n_kept


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([GOOD, GOOD[:-9], b"{}"]), max_size=5))
def test_whatever_the_lines_hold_they_are_read_or_told(lines: list[bytes]) -> None:
    block = Block(b"\n".join(lines), "the file", 1)
    lenient = Parser(["Observation"], strict=False)
    n = sum(len(table) for _, table in lenient.tables(block))
    good = sum(line.strip() == GOOD for part in lines for line in part.split(b"\n"))
    assert n == good
    if lenient.bad:
        with pytest.raises(AsfusionError, match="line"):
            list(Parser(["Observation"], strict=True).tables(block))


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(FIELDS), parts_of_json(PLAIN), max_size=4))
def test_one_by_one_and_all_at_once_agree(fields: dict[str, Any]) -> None:
    line = json.dumps({**observation(), **fields, "resourceType": "Observation"}).encode()
    block = Block(line, "the file", 1)
    parser = Parser(["Observation"], strict=False)
    slow = dict(parser._one_by_one(block, None))
    fast = dict(Parser(["Observation"], strict=False).tables(block))
    assert slow.keys() == fast.keys()
    for kind, table in slow.items():
        assert table.equals(fast[kind])
