"""What a served model reads and answers, as OpenAPI, made of its own columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asfusion._version import __version__
from asfusion.serving._fields import WORDS, Field

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
_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "dosage": {"type": ["number", "boolean", "null"], "minimum": 0, "maximum": 2},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "category": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"], "maxLength": 200_000},
    "image": {"anyOf": [_FILM, {"type": "null"}]},
    "visits": {"type": ["array", "null"], "items": {"type": "object"}},
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


def openapi_of(fields: Sequence[Field], digest: str, *, most: int, locked: bool) -> dict[str, Any]:
    """Return the whole description.

    Parameters
    ----------
    fields : sequence of Field
        The columns of the model.
    digest : str
        Of the model.
    most : int
        Most rows of a request.
    locked : bool
        Whether a token is asked for.
    """
    row = {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": False,
        "minProperties": 1,
        "description": "A patient. What is left out is missing; at least one value is known.",
    }
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    rows["maxItems"] = most
    asked: dict[str, Any] = {"anyOf": [rows, _with_rows(rows)]}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "asfusion",
            "version": __version__,
            "description": f"Model {digest}. A research tool, not a medical device.",
        },
        "paths": {
            "/predict": {"post": _operation("Predict rows.", _contents(asked))},
            "/explain": {"post": _operation("Say what moved predictions.", _json(asked))},
            **{f"/{name}": {"get": _got(words)} for name, words in _GETS.items()},
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


def _with_rows(rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": False,
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _contents(asked: dict[str, Any]) -> dict[str, Any]:
    rows = {"type": "string", "description": "JSON of the rows, as in application/json."}
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


PARQUET = "application/vnd.apache.parquet"


def _operation(words: str, contents: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": "An answer to each row, and the model's digest.", "content": _json({})}
    problems = _json({"$ref": "#/components/schemas/Problems"})
    failures = {
        code: {"description": told, "content": problems} for code, told in _FAILURES.items()
    }
    return {
        "summary": words,
        "requestBody": {"required": True, "content": contents},
        "responses": {"200": answer, **failures},
    }


def _got(words: str) -> dict[str, Any]:
    told = {"200": "As the summary says.", "401": _FAILURES["401"], "503": _FAILURES["503"]}
    return {
        "summary": words,
        "responses": {code: {"description": text} for code, text in told.items()},
    }
