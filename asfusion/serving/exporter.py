"""A fitted model as one ONNX file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_number, quoted
from asfusion._door import public
from asfusion._files import write_file
from asfusion._frames import Frame
from asfusion.estimators._threshold import DEFAULT, call_classes
from asfusion.exceptions import AsfusionError, ConfigurationError, MissingDependencyError
from asfusion.serving._card import card_of, schema_of
from asfusion.serving._probing import Probe, as_table, largest_difference, probe_rows
from asfusion.serving._quantise import changed_by, check_rows, quantised
from asfusion.serving._schema import KEY
from asfusion.serving._unwrapped import unwrapped
from asfusion.serving.onnx_model import OnnxModel

LIMIT = 1e-6
_COARSEST = 1e-3
_FAMILIES = ("early", "joint", "late", "auto")
_TASKS = ("binary", "multiclass", "grades", "regression")
_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "skl2onnx", "onnxmltools")


@public
def export(
    model: Any,
    path: str | os.PathLike[str],
    X: Any = None,
    *,
    y: Any = None,
    units: Mapping[str, str] | None = None,
    quantize: Literal["static"] | None = None,
    tolerance: float = LIMIT,
) -> Path:
    """Write a fitted fusion model as one ONNX file, and check that it answers alike.

    Reading of cells (filling, scaling, categories), presence of modalities, networks, models,
    their combination, priors and the threshold are inside the graph. What is read before it, the
    words of notes and the geometry of films, stands as JSON in the file's metadata, with columns,
    ranges, versions and a card. `asfusion.serving.OnnxModel` asks such a file.

    Parameters
    ----------
    model : estimator
        A fitted early, joint, late or automatic fusion of classes, grades or numbers; or a
        `RecalibratedClassifier` or `ConformalClassifier` around one.
    path : str or PathLike
        The file to write; one that is there is replaced at once, or not at all.
    X : DataFrame, optional
        Rows by which the file is checked, beside some that are made up, and by which ranges are
        learned with `quantize`. No cell of them is kept.
    y : array, optional
        Labels of these rows, to tell what `quantize` changes of the AUC.
    units : mapping of str to str, optional
        The unit of columns, for who reads the file; nothing is converted.
    quantize : {"static"}, optional
        Whether networks compute in integers of eight bits, by ranges that `X` shows: training
        rows. The file is smaller, and its answers are others: by how much, on `X`, stands in its
        schema under ``"quantised"``.
    tolerance : float
        How far an answer of the file may lie from that of the model, at most 1e-3; how far one
        does stands in its schema under ``"checked"``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigurationError
        If a part of the model cannot be written (it is named), or the file does not answer as
        `predict_proba` does, to `tolerance` for every subset of the modalities.
    MissingDependencyError
        If a package of the extra ``onnx`` is not installed.
    InputError
        If rows to quantise by are missing, or `y` does not go with them.

    Notes
    -----
    Networks compute in float32 (in float64 where that is too far from the model), linear models
    and what stands between in float64. Exported are
    tables in their own units, notes and whole films; films at regions, volumes, visits, genotypes
    and ranks within rows are not. Trees read float32, as they do in scikit-learn and XGBoost.
    Sets of a `ConformalClassifier` are those of its own coverage, and more generous by 1e-6 of
    probability, so that the last digits take no class out.

    A file holds what its model learned: medians, levels of categories, words of notes that
    training patients share, weights. Treat it as you treat the model.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["crp", "esr"])
    >>> model = af.EarlyFusionRegressor(
    ...     {"labs": af.TabularEncoder(["crp", "esr"])}, random_state=0
    ... ).fit(X, X["crp"] + X["esr"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = af.export(model, f"{folder}/model.onnx", units={"crp": "mg/L"})
    ...     served = af.serving.OnnxModel(file)
    >>> served.schema["numbers"][0]["unit"]
    'mg/L'
    """
    _check_installed()
    _check_model(model)
    check_number(tolerance, "tolerance", minimum=LIMIT, maximum=_COARSEST)
    columns = _columns_of(model)
    declared = _check_units(units, columns)
    given = None if X is None else Frame.read(X)
    if quantize is not None:
        check_choice(quantize, "quantize", ("static",))
        check_rows(given)
    raw = _written(model, columns, declared, given, tolerance)
    if quantize is not None:
        raw = _in_eight_bits(raw, check_rows(given), y)
    write_file(Path(path), raw)
    return Path(path)


def _written(
    model: Any,
    columns: list[str],
    units: Mapping[str, str],
    given: Frame | None,
    tolerance: float,
) -> bytes:
    """Return the bytes of a checked file: networks in float64 where float32 is not enough."""
    from asfusion.serving._writer import Writer

    raw, apart, writer = _tried(Writer(), model, columns, units, given, tolerance)
    if raw is None and writer.has_networks:
        try:
            raw, again, _ = _tried(Writer("float64"), model, columns, units, given, tolerance)
        except AsfusionError:  # not every operator has one for float64
            again = apart
        apart = min(apart, again)
    if raw is None:
        msg = (
            f"export: expected answers of the file within {tolerance:g} of predict_proba, got a "
            f"difference of {apart:.1e}. Nothing was written. Where early fusion scales what a "
            "frozen network hardly varies in, the model itself is no surer: use joint fusion "
            f"there{_accepted(apart)}. Else please report it with the model's settings."
        )
        raise ConfigurationError(msg)
    return raw


def _tried(
    writer: Any,
    model: Any,
    columns: list[str],
    units: Mapping[str, str],
    given: Frame | None,
    tolerance: float,
) -> tuple[bytes | None, float, Any]:
    """Return the bytes of a file, if it answers alike; how far it is apart; and its writer."""
    from asfusion.serving._families import outputs_of

    core = unwrapped(model).core
    said = outputs_of(writer, core, type(core).__name__)
    _finish(writer, model, said)
    told = schema_of(writer, model, columns, units)
    made = writer.graph.model({})
    told["digest"] = hashlib.sha256(made.graph.SerializeToString()).hexdigest()
    told["networks"] = writer.precision if writer.has_networks else None
    served = OnnxModel._of(_with(made, told))
    plans = [*writer.cells.plans.values()]
    probe = probe_rows(served._schema, plans, told["modalities"], given)
    told["checked"] = _compared(model, served, probe) | {"limit": tolerance}
    apart = told["checked"]["largest_difference"]
    if apart > tolerance:
        return None, apart, writer
    told["card"] = card_of(told)
    return _with(made, told), apart, writer


def _accepted(apart: float) -> str:
    """Return how to have the file all the same, where it is near."""
    near = 10.0 ** np.ceil(np.log10(apart))
    return f", or accept it with tolerance={near:g}" if near <= _COARSEST else ""


def _in_eight_bits(raw: bytes, rows: Frame, y: Any) -> bytes:
    """Return a file whose networks are quantised, and says what that changed."""
    import onnx

    before = OnnxModel._of(raw)
    made = quantised(onnx.load_model_from_string(raw), before, rows)
    told = dict(before.schema)
    told["digest"] = hashlib.sha256(made.graph.SerializeToString()).hexdigest()
    after = OnnxModel._of(_with(made, told))
    told["quantised"] = changed_by(before, after, rows.to_native(), y)
    told["card"] = card_of(told)
    return _with(made, told)


def _finish(writer: Any, model: Any, said: Any) -> None:
    """Declare inputs and outputs: predictions, the class that is called, and who has anything."""
    from asfusion.serving._families import with_prior
    from asfusion.serving._wrappers import around, covering

    graph = writer.graph
    for source, dtype in (("numbers", "float64"), ("texts", "text")):
        if plans := writer.cells.declared(source):
            graph.input(source, dtype, [len(plans)])
    core, wrappers = unwrapped(model)
    outputs = around(graph, with_prior(graph, said, core.prior_), wrappers)
    n_outputs = len(model.classes_) if wrappers else int(core.n_outputs_)
    graph.output(outputs, "outputs", "float64", [n_outputs])
    threshold = getattr(model, "threshold_", DEFAULT)
    graph.output(
        _called(graph, outputs, threshold, core.target_.has_steps, n_outputs), "called", "int64", []
    )
    graph.output(said.present, "known", "bool", [])
    if hasattr(model, "predict_set"):
        graph.output(covering(graph, outputs, model), "set", "bool", [n_outputs])


def _called(graph: Any, outputs: str, threshold: float, has_steps: bool, n_outputs: int) -> str:
    """Return the place (N,) of the class that each row is called."""
    if threshold != DEFAULT:  # only two classes have another
        second = graph.add("Gather", outputs, graph.constant(np.asarray(1)), axis=1)
        cut = graph.constant(np.asarray(threshold, np.float64))
        return str(graph.cast(graph.add("GreaterOrEqual", second, cut), "int64"))
    if has_steps:  # the middle one
        below = graph.add("CumSum", outputs, graph.constant(np.asarray(1)))
        below = graph.columns(below, range(n_outputs - 1))
        half = graph.constant(np.asarray(0.5 - 1e-12))
        passed = graph.cast(graph.add("Less", below, half), "int64")
        return str(graph.add("ReduceSum", passed, graph.constant(np.asarray([1])), keepdims=0))
    return str(graph.add("ArgMax", outputs, axis=1, keepdims=0))


def _with(made: Any, told: Mapping[str, Any]) -> bytes:
    """Return a file with its schema."""
    from onnx import helper

    del made.metadata_props[:]
    helper.set_model_props(made, {KEY: json.dumps(told, allow_nan=False, ensure_ascii=False)})
    return bytes(made.SerializeToString())


def _compared(model: Any, served: OnnxModel, probe: Probe) -> dict[str, Any]:
    """Return how far answers are apart, or raise where it is too far."""
    is_array = not hasattr(unwrapped(model).core, "feature_names_in_")
    table = as_table(probe.cells, is_array=is_array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model._outputs(table) if _is_core(model) else model.predict_proba(table)
        got, called = served._asked(table)
        alone, _ = served._asked(table[:1])
    is_share = served.classes_ is not None
    apart = largest_difference(expected, got, is_share=is_share)
    apart = max(apart, largest_difference(got[:1], alone, is_share=is_share))
    if is_share and not np.array_equal(served.classes_[called], call_classes(model, got)):
        apart = float("inf")
    if hasattr(model, "predict_set") and not _covers_alike(model, served, table):
        apart = float("inf")
    return {
        "rows": len(got), "subsets": probe.n_subsets, "limit": LIMIT, "largest_difference": apart
    }  # fmt: skip


def _covers_alike(model: Any, served: OnnxModel, table: Any) -> bool:
    """Return whether sets are those of the model, which are within those a little more generous."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own, found = model.predict_set(table), served.predict_set(table)
    return bool((found >= own).all())


def _is_core(model: Any) -> bool:
    return getattr(model, "_family", None) in _FAMILIES


# -- what is asked for -------------------------------------------------------------------


def _check_installed() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"export: expected the packages of the extra 'onnx', got none of {quoted(missing)}. "
            "Install them: pip install 'asfusion[onnx]'."
        )
        raise MissingDependencyError(msg)


def _check_model(model: Any) -> None:
    core, wrappers = unwrapped(model)
    if not _is_core(core):
        msg = (
            "export: expected an early, joint, late or automatic fusion, got "
            f"{type(model).__name__}. Export the fitted model within it."
        )
        raise ConfigurationError(msg)
    check_is_fitted(model)
    target = core.target_
    if target.task not in _TASKS or (wrappers and target.has_steps):
        what = "classes" if wrappers else "classes, grades or numbers"
        msg = (
            f"export: expected a target of {what}, got {type(target).__name__}. "
            "Save the model with save() instead."
        )
        raise ConfigurationError(msg)


def _check_units(units: Mapping[str, str] | None, columns: list[str]) -> dict[str, str]:
    given = dict(units or {})
    unknown = [name for name in given if name not in columns]
    if unknown or not all(isinstance(unit, str) for unit in given.values()):
        msg = f"units: expected a text for some of {quoted(columns)}, got others."
        raise ConfigurationError(msg)
    return given


def _columns_of(model: Any) -> list[str]:
    """Return the columns that a model reads, in order."""
    core = unwrapped(model).core
    names = getattr(core, "feature_names_in_", None)
    if names is None:
        return [f"x{n}" for n in range(core.n_features_in_)]
    return [str(name) for name in (getattr(core, "columns_in_", None) or names)]
