"""What a served model reads and answers, as OpenAPI, made of its own columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asfusion._version import __version__
from asfusion.serving._fields import WORDS, Field
from asfusion.serving._rows import LARGEST, MOST_VISITS

PARQUET = "application/vnd.apache.parquet"
OPEN = ("/health", "/ready")  # without a token
# Of these is a text that is a value: a level needs a sign that is no space, a note a visible one.
_SIGNS = {"category": r"[^\s\u001c-\u001f\u0085]", "text": r"[^\s\u0000-\u001f\u007f-\u00a0\u00ad]"}
_FILM = {
    "type": "object",
    "oneOf": [
        {
            "properties": {
                "part": {"type": "string", "description": "Name of a part sent beside."}
            },
            "required": ["part"],
            "additionalProperties": False,
        },
        {
            "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
            "required": ["base64"],
            "additionalProperties": False,
        },
    ],
}
_VISIT = {
    "type": "object",
    "maxProperties": MOST_VISITS,
    "additionalProperties": {
        "type": ["number", "boolean", "null"],
        "minimum": -LARGEST,
        "maximum": LARGEST,
    },
}
_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"], "minimum": -LARGEST, "maximum": LARGEST},
    "dosage": {"type": ["number", "boolean", "null"], "minimum": 0, "maximum": 2},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "category": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
    "image": {"anyOf": [_FILM, {"type": "null"}]},
    "visits": {"type": ["array", "null"], "items": _VISIT, "maxItems": MOST_VISITS},
    "empty": {"type": "null"},
}
_PROBLEM = {
    "type": "object",
    "properties": {
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"at": {"type": "string"}, "expected": {"type": "string"}},
                "required": ["at", "expected"],
            },
        },
        "request": {"type": "string"},
    },
    "required": ["problems", "request"],
}
_SHARES = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
_NUMBER = {"type": ["number", "null"]}
_NAMES = {"type": "array", "items": {"type": "string"}}
_ANSWER = {
    "type": "object",
    "properties": {
        "predicted": {"description": "The class, or the number, that is predicted."},
        "probabilities": _SHARES,
        "set": {"type": "array", "description": "Classes that cannot be ruled out."},
        "abstains": {"type": "boolean"},
        "interval": {"type": "array", "items": _NUMBER},
        "risk": _NUMBER,
        "median": _NUMBER,
        "survival": _SHARES,
        "missing": {**_NAMES, "description": "Modalities that the row lacks."},
    },
    "required": ["missing"],
}
_MOVED = {"type": "object", "additionalProperties": _NUMBER}
_EXPLANATION = {
    "type": "object",
    "properties": {
        "output": {"type": "string"},
        "base": _NUMBER,
        "prediction": _NUMBER,
        "modalities": _MOVED,
        "parts": {"type": "object", "additionalProperties": _MOVED},
    },
    "required": ["output", "base", "prediction", "modalities", "parts"],
}
_REMARK = {
    "type": "object",
    "properties": {"at": {"type": "string"}, "remark": {"type": "string"}},
    "required": ["at", "remark"],
}
_FAILURES = {
    "400": "Not JSON, or not a Parquet file.",
    "401": "No token, or another one.",
    "413": "More bytes or rows than are read.",
    "415": "Another type of content.",
    "422": "Rows that are not as the schema says; with the places.",
    "501": "Asked of `/explain`: this model cannot be taken apart.",
    "503": "Too many requests wait, or no model is loaded.",
    "504": "No answer in time.",
}


def schema_of(fields: Sequence[Field], digest: str) -> dict[str, Any]:
    """Return the columns, as `/schema` tells them."""
    columns = [
        {
            "name": field.name,
            "kind": field.kind,
            "expected": WORDS[field.kind],
            "modality": field.modality,
            "unit": field.unit,
            "levels": list(field.levels),
        }
        for field in fields
    ]
    return {"digest": digest, "columns": columns}


def openapi_of(
    fields: Sequence[Field], digest: str, *, most: int, most_explained: int, locked: bool
) -> dict[str, Any]:
    """Return the whole description.

    Parameters
    ----------
    fields : sequence of Field
        The columns of the model.
    digest : str
        Of the model.
    most : int
        Most rows of a request.
    most_explained : int
        Most rows that are explained at once.
    locked : bool
        Whether a token is asked for.
    """
    row = {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": False,
        "anyOf": [_known(field) for field in fields if field.kind != "empty"],
        "description": "A patient. What is left out is missing; at least one value is known.",
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "asfusion",
            "version": __version__,
            "description": f"Model {digest}. A research tool, not a medical device.",
        },
        "paths": {
            "/predict": {"post": _predict(most)},
            "/explain": {"post": _explain(most_explained)},
            **{f"/{name}": {"get": _got(name, words)} for name, words in _GETS.items()},
        },
        "components": {"schemas": {"Row": row, "Problems": _PROBLEM}},
    }
    if locked:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


_GETS = {
    "schema": "The columns of the model.",
    "health": "Whether the process lives.",
    "ready": "Whether a model is loaded.",
    "metrics": "Counts and times, for Prometheus.",
}


def _property(field: Field) -> dict[str, Any]:
    found = dict(_TYPES[field.kind])
    told = [WORDS[field.kind]]
    if field.unit:
        told.append(f"in {field.unit}")
        found["x-unit"] = field.unit
    if field.levels:
        found["x-levels"] = list(field.levels)
    return found | {"description": ", ".join(told)}


def _known(field: Field) -> dict[str, Any]:
    """Return what a row is that has a value of this column."""
    types = _TYPES[field.kind].get("type", ["object"])
    known: dict[str, Any] = {"type": [one for one in types if one != "null"]}
    if field.kind in _SIGNS:
        known["pattern"] = _SIGNS[field.kind]
    elif field.kind == "visits":
        known["minItems"] = 1
    return {"required": [field.name], "properties": {field.name: known}}


def _asked(most: int) -> dict[str, Any]:
    """Return what rows may come as."""
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    rows["maxItems"] = most
    inside = {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": False,
    }
    return {"anyOf": [rows, inside]}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _contents(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what may be sent: JSON, or the same in a form with files beside it, or a table."""
    rows = {"type": "string", "contentMediaType": "application/json", "contentSchema": asked}
    form = {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
    }
    return {
        **_json(asked),
        "multipart/form-data": {"schema": form},
        PARQUET: {"schema": {"type": "string", "contentMediaType": PARQUET}},
    }


def _predict(most: int) -> dict[str, Any]:
    answer = _answered({"type": "array", "items": _ANSWER})
    answer["content"][PARQUET] = {"schema": {"type": "string", "contentMediaType": PARQUET}}
    return _operation("Predict rows.", _contents(_asked(most)), answer)


def _explain(most: int) -> dict[str, Any]:
    sent = _contents(_asked(most))
    del sent[PARQUET]
    answer = _answered({"type": "array", "items": _EXPLANATION})
    return _operation("Say what moved predictions.", sent, answer)


def _answered(rows: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "digest": {"type": "string"},
            "rows": rows,
            "remarks": {"type": "array", "items": _REMARK},
        },
        "required": ["digest", "rows"],
    }
    return {
        "description": "An answer to each row, and the model's digest.",
        "content": _json(schema),
    }


def _operation(words: str, contents: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": words,
        "requestBody": {"required": True, "content": contents},
        "responses": {"200": answer, **{code: _failure(code) for code in _FAILURES}},
    }


def _failure(code: str) -> dict[str, Any]:
    problems = _json({"$ref": "#/components/schemas/Problems"})
    return {"description": _FAILURES[code], "content": problems}


def _got(name: str, words: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}} if name == "metrics" else _json({})
    good = {"description": "As the summary says.", "content": content}
    if f"/{name}" in OPEN:
        return {"summary": words, "security": [], "responses": {"200": good}}
    return {"summary": words, "responses": {"200": good, "401": _failure("401")}}
