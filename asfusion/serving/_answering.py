"""A fitted model as it answers rows of strangers, and says by which model it did."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars

from asfusion._frames import Frame
from asfusion.bundle.folder import MANIFEST
from asfusion.exceptions import AsfusionWarning, BundleError, ConfigurationError
from asfusion.serving._columns import answers
from asfusion.serving._fields import Field, fields_of
from asfusion.serving._rows import Rows, as_table
from asfusion.serving._subsets import MOST, taken_apart

_NESTED = {"probability_": "probabilities", "survival_": "survival"}


class Answering:
    """A model, its columns, and its digest: one that was loaded is never changed.

    Parameters
    ----------
    model : fitted estimator
        What answers.
    digest : str
        Of the file or folder that it was read from.
    units : mapping of str to str
        Units of columns of numbers, to be shown.
    background : DataFrame, optional
        Rows that columns are replaced from where predictions are explained.
    """

    def __init__(
        self, model: Any, digest: str, units: Mapping[str, str], background: Any = None
    ) -> None:
        self.model = model
        self.digest = digest
        self.units = dict(units)
        self.fields: tuple[Field, ...] = fields_of(model, units)
        self.background = None if background is None else _as_sent(background, self.fields)
        self.modalities = tuple(dict.fromkeys(f.modality for f in self.fields if f.modality))

    @classmethod
    def read(cls, path: Path, units: Mapping[str, str], background: Any = None) -> Answering:
        """Return a saved model, ready to answer."""
        before = digest_at(path)
        model = _opened(path)
        if digest_at(path) != before:  # it was saved over while it was read
            return cls.read(path, units, background)
        if not hasattr(model, "predict"):
            msg = f"serve: expected a model that predicts, got {type(model).__name__}."
            raise ConfigurationError(msg)
        return cls(model, before, units, background)

    def ask(self, several: Sequence[Rows]) -> list[list[dict[str, Any]]]:
        """Return an answer to each row of each request, asked at once."""
        said = self._say(as_table(several, self.fields))
        found, start = [], 0
        for rows in several:
            found.append(said[start : start + len(rows)])
            start += len(rows)
            for row, answer in enumerate(found[-1]):
                answer["missing"] = self._missing(rows, row)
        return found

    def ask_table(self, table: polars.DataFrame) -> polars.DataFrame:
        """Return predictions as a table, with the columns that `asfusion predict` writes."""
        with _quiet():
            return polars.DataFrame({"row": range(1, len(table) + 1)} | answers(self.model, table))

    @property
    def explains(self) -> bool:
        """Whether the model can be taken apart: one that wraps another cannot."""
        return hasattr(type(self.model), "_explained_as") or bool(self._subsets())

    def explain(self, rows: Rows) -> dict[str, Any]:
        """Return what each modality, and each column or word, added to each prediction."""
        return self.explained(rows)[1]

    def explained(self, rows: Rows) -> tuple[Any, dict[str, Any]]:
        """Return the explanation (none of an exported file), and what it says as plain values."""
        if subsets := self._subsets():
            with _quiet():
                told = taken_apart(self.model, rows, self.fields, subsets)
            return None, {"digest": self.digest, "rows": told}
        from asfusion.explanation.explainer import explain

        table = as_table([rows], self.fields)
        with _quiet():
            found = explain(
                self.model, table, background=self.background, units=self.units, verbose=0
            )
            parts = [] if self.background is None else found.to_frame().to_dict("records")
        told = [_whole(found, row) for row in range(len(rows))]
        for one in parts:
            if one["part"]:
                inner = told[one["row"]]["parts"].setdefault(one["modality"], {})
                inner[one["part"]] = _number(one["value"])
        return found, {"digest": self.digest, "rows": told}

    def _subsets(self) -> Mapping[str, Sequence[str]]:
        """Return the columns of the modalities of an exported file that can be left out by them."""
        return self.model._subsets(MOST) if hasattr(self.model, "_subsets") else {}

    def _say(self, table: polars.DataFrame) -> list[dict[str, Any]]:
        with _quiet():
            columns = {name: _plain(cells) for name, cells in answers(self.model, table).items()}
            sure = _sure(self.model, table)
        rows = []
        for row in range(len(table)):
            answer: dict[str, Any] = {}
            for name, cells in columns.items():
                stem = next((stem for stem in _NESTED if name.startswith(stem)), None)
                if stem is None:
                    answer[name] = cells[row]
                else:
                    answer.setdefault(_NESTED[stem], {})[name.removeprefix(stem)] = cells[row]
            rows.append(answer | {name: cells[row] for name, cells in sure.items()})
        return rows

    def _missing(self, rows: Rows, row: int) -> list[str]:
        known = {f.modality for f in self.fields if rows.columns[f.name][row] is not None}
        return [name for name in self.modalities if name not in known]


def _opened(path: Path) -> Any:
    """Return a saved model, or an exported one, which needs less to be there."""
    if path.is_file():
        from asfusion.serving.onnx_model import OnnxModel

        return OnnxModel(path)
    from asfusion.persistence import load

    return load(path)


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what changes when a model is saved over, without reading it; nothing of none."""
    try:
        held = (path if path.is_file() else path / MANIFEST).stat()
    except OSError:
        return ()
    return held.st_mtime_ns, held.st_size, held.st_ino


def digest_at(path: Path) -> str:
    """Return the digest that a model has: a saved one's manifest carries it."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        with (path / MANIFEST).open("rb") as file:
            return str(json.loads(file.read(1 << 24))["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        msg = "serve: expected a saved or an exported model, got none or an unreadable one."
        raise BundleError(msg) from None


def _as_sent(X: Any, fields: Sequence[Field]) -> polars.DataFrame:
    """Return rows of any data frame as those that are sent become."""
    frame = Frame.read(X)
    frame.check_columns([field.name for field in fields], "background")
    columns = {}
    for field in fields:
        cells = zip(frame.cells(field.name), frame.known(field.name), strict=True)
        columns[field.name] = [_cell_of(cell, field) if known else None for cell, known in cells]
    return as_table([Rows(columns, [])], fields)


def _cell_of(cell: Any, field: Field) -> Any:
    if field.kind in ("number", "dosage"):
        return float(cell)
    return cell.date() if isinstance(cell, datetime.datetime) else cell


def _sure(model: Any, table: polars.DataFrame) -> dict[str, list[Any]]:
    """Return the conformal set or interval of each row, and whether the model abstains."""
    if getattr(model, "coverage", None) is not None and hasattr(model, "predict_set"):
        inside = model.predict_set(table)
        labels = np.asarray(model.classes_)
        sets = [labels[row].tolist() for row in inside]
        return {"set": sets, "abstains": [len(one) != 1 for one in sets]}
    if hasattr(model, "predict_interval"):
        return {"interval": _plain(model.predict_interval(table))}
    return {}


def _whole(found: Any, row: int) -> dict[str, Any]:
    """Return what was explained of a row, what it is without anything, and what each part added."""
    return {
        "output": str(found.output_names[row]),
        "base": _number(float(found.base_values[row])),
        "prediction": _number(float(found.predictions[row])),
        "modalities": dict(zip(found.names, _plain(found.values[row]), strict=True)),
        "parts": {},
    }


def _plain(cells: Any) -> list[Any]:
    found = cells.tolist() if hasattr(cells, "tolist") else list(cells)
    return [_number(cell) for cell in found]


def _number(cell: Any) -> Any:
    if isinstance(cell, list):
        return [_number(one) for one in cell]
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


class _quiet(warnings.catch_warnings):
    """Warnings of what is missing are part of each answer here."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", AsfusionWarning)
