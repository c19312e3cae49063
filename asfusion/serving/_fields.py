"""The columns that a fitted model reads, as whoever asks it has to fill them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError
from asfusion.serving._kinds import CellKind, cell_of
from asfusion.tabular.preprocess import TablePreprocessor

WORDS: dict[str, str] = {
    "number": "a number or null",
    "dosage": "a number from 0 to 2, true, false or null",
    "boolean": "true, false or null",
    "date": "a date such as 2026-03-31, or null",
    "category": "a text of at most 200,000 characters or null",
    "text": "a text of at most 200,000 characters or null",
    "image": 'a film, {"part": name} or {"base64": text}, or null',
    "visits": 'visits such as [{"day": -90, "crp": 4.0}], or null',
    "empty": "null: no training row had a value, or only files on disk are read",
}


@dataclass(frozen=True)
class Field:
    """One column that a model reads.

    Parameters
    ----------
    name : str
        The column.
    kind : str
        What a cell holds; an empty one holds nothing that the model reads.
    modality : str
        Who reads it; the first of several.
    unit : str, optional
        Of a number, as whoever serves the model says.
    levels : tuple of str
        Levels of a category that the model knows; none of other columns.
    """

    name: str
    kind: CellKind
    modality: str
    unit: str | None = None
    levels: tuple[str, ...] = ()


def encoders_within(model: Any) -> dict[str, Any]:
    """Return the encoders of a fitted model, within what is wrapped around it; none of an index."""
    while not hasattr(model, "_modality_encoders") and hasattr(model, "estimator_"):
        model = model.estimator_
    return model._modality_encoders() if hasattr(model, "_modality_encoders") else {}


def fields_of(model: Any, units: Mapping[str, str] | None = None) -> tuple[Field, ...]:
    """Return the columns that a model reads, in the order of `fit`.

    Parameters
    ----------
    model : fitted estimator or OnnxModel
        Any that `asfusion.load` returns and that predicts.
    units : mapping of str to str, optional
        Units of columns of numbers.

    Raises
    ------
    ConfigurationError
        If units are given of what is no column of numbers.
    """
    known: dict[str, Field] = {}
    for field in _told(model):
        known.setdefault(field.name, field)
    names = [str(name) for name in getattr(model, "feature_names_in_", known)]
    units = dict(units or {})
    numbers = [name for name, field in known.items() if field.kind == "number"]
    if unknown := [name for name in units if name not in numbers]:
        msg = (
            f"units: expected columns of numbers that the model reads, got {quoted(unknown)}. "
            f"They are {quoted(numbers, limit=12)}."
        )
        raise ConfigurationError(msg)
    found = (known.get(name, Field(name, "empty", "")) for name in names)
    return tuple(Field(f.name, f.kind, f.modality, units.get(f.name), f.levels) for f in found)


def levels_of(model: Any) -> list[str]:
    """Return the columns that a model reads as categories, ordered or not."""
    return [field.name for field in _told(model) if field.levels]


def _told(model: Any) -> Iterable[Field]:
    if hasattr(model, "_reads"):  # an exported file, which has no encoders
        yield from (Field(*told) for told in model._reads())
        return
    encoders = encoders_within(model)
    for modality, encoder in encoders.items():
        if encoder.kind == "table":
            yield from _of_table(encoder.plan_, modality)
            continue
        for name in encoder.columns_:
            yield Field(str(name), cell_of(encoder.kind), modality)
    if not encoders:
        yield from _of_table(getattr(model, "plan_", []), "")


def _of_table(state: Any, modality: str) -> Iterable[Field]:
    for plan in TablePreprocessor.from_state(state).plans:
        yield Field(plan.name, cell_of(plan.kind), modality, levels=tuple(plan.levels))
