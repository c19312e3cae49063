"""The schema of an exported model: columns with units and ranges, what missing means, a card."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asfusion._version import __version__
from asfusion.serving._kinds import TEXTS
from asfusion.serving._schema import FORMAT
from asfusion.serving._unwrapped import unwrapped
from asfusion.serving._writer import Writer

_CLIP = 10.0
_PACKAGES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "torch", "xgboost")
_LABELS = {str: "text", bool: "boolean", int: "integer", float: "number"}
_MISSING = {
    "number": "the median of training rows stands in, and a flag where training rows had gaps",
    "date": "the median of training rows stands in, and a flag where training rows had gaps",
    "boolean": "the more frequent value stands in, and a flag where training rows had gaps",
    "category": "no level is set, and a flag where training rows had gaps",
    "ordered": "the median level stands in, and a flag where training rows had gaps",
}
_NOTICE = "A research tool, not a medical device. It was not validated for care."


def schema_of(
    writer: Writer, model: Any, columns: Sequence[str], units: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a file says of itself, but for its digest and what was checked.

    Of a column without a unit in `units` it is not known: it is the one of the training rows.
    """
    (core, wrappers), threshold = unwrapped(model), getattr(model, "threshold_", None)
    target = core.target_
    told: dict[str, Any] = {
        "format": FORMAT,
        "model": type(core).__name__,
        "within": [type(one).__name__ for one in wrappers],
        "family": core._family,
        "task": target.task,
        "n_outputs": len(model.classes_) if wrappers else int(core.n_outputs_),
        "is_matrix": bool(getattr(target, "is_matrix_", True)),
        "prior": [float(share) for share in core.prior_],
        "threshold": None if threshold is None else float(threshold),
        "columns": list(columns),
        "modalities": {n: _columns_of(e) for n, e in core._modality_encoders().items()},
        "numbers": [_cell(p, units) for p in writer.cells.declared("numbers")],
        "texts": [_cell(p, units) for p in writer.cells.declared("texts")],
        "contents": [{**plain, "key": key} for key, plain in writer.readings.items()],
        "coverage": float(model.coverage) if hasattr(model, "predict_set") else None,
        "versions": {"asfusion": __version__, **_versions()},
    }
    classes = np.asarray(model.classes_) if wrappers else target.columns()
    if classes is not None:
        labels = classes.tolist()
        kinds = {_LABELS.get(type(label), "") for label in labels}
        told |= {"classes": labels, "class_kind": kinds.pop()}
        told["class_objects"] = classes.dtype.kind == "O"
    return told


def card_of(told: Mapping[str, Any]) -> str:
    """Return a card in words, for who finds the file alone."""
    checked, quantised = told["checked"], told.get("quantised")
    name = " around ".join([*reversed(told["within"]), told["model"]])
    who = f"{name} ({told['task']}), exported by asfusion {told['versions']['asfusion']}."
    reads = (
        f"It reads {len(told['columns'])} column(s) in {len(told['modalities'])} modality(ies); a "
        "row that lacks them all gets the prior."
    )
    equal = (
        f"Its answers were compared with predict_proba on {checked['rows']} rows with "
        f"{checked['subsets']} subsets of the modalities in turn: the largest difference was "
        f"{checked['largest_difference']:.1e}, the limit is {checked['limit']:.0e}."
    )
    lines = [who, reads, equal, _NOTICE]
    if quantised:
        lines.insert(3, f"Then its networks were put into eight bits: {quantised['words']}")
    return " ".join(lines)


def _cell(plan: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Any]:
    name, kind = plan["name"], plan["kind"]
    cell: dict[str, Any] = {"column": name, "kind": kind, "missing": _MISSING[kind]}
    cell["unit"] = units.get(name)
    if kind in TEXTS:
        cell["levels"] = list(plan["levels"])
    elif kind == "boolean":
        cell["range"] = [0.0, 1.0]
    else:
        reach = _CLIP * float(plan["scale"])
        center = float(plan["center"])
        cell |= {"median": center, "range": [center - reach, center + reach]}
    return cell


def _columns_of(encoder: Any) -> list[str]:
    return [str(name) for name in getattr(encoder, "columns_", ())]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
