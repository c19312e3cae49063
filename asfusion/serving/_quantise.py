"""Networks of an exported graph in eight bits, by ranges that rows were seen to have."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.serving._feeds import feeds_of
from asfusion.serving.onnx_model import OnnxModel

_OPERATORS = ["Conv", "MatMul", "Gemm"]
_FEWEST, _MOST = 8, 256  # rows by which ranges are learned
_AT_ONCE = 16


def check_rows(given: Frame | None) -> Frame:
    """Return the rows by which ranges are learned, or raise where they are too few."""
    if given is None or len(given) < _FEWEST:
        got = "none" if given is None else str(len(given))
        msg = (
            f"quantize='static': expected at least {_FEWEST} training rows as X, by which the "
            f"ranges of the networks are learned, got {got}. Pass the rows of fit."
        )
        raise InputError(msg)
    return given


def quantised(made: Any, served: OnnxModel, rows: Frame) -> Any:
    """Return the graph with weights and activations of its networks in eight bits.

    Raises
    ------
    ConfigurationError
        If there is nothing in it to quantise, or the runtime cannot.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = _batches(served, rows)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.left, None)

    for number, node in enumerate(made.graph.node):
        node.name = f"n{number}"
    names = [node.name for node in made.graph.node if node.op_type in _OPERATORS]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(made.SerializeToString())
        level = logging.getLogger().level
        try:
            logging.getLogger().setLevel(logging.ERROR)
            quantize(
                before,
                after,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # the runtime raises what it likes
            msg = (
                "quantize='static': expected networks that onnxruntime quantises, got "
                f"{type(error).__name__} among {len(names)} operators. Leave it out."
            )
            raise ConfigurationError(msg) from None
        finally:
            logging.getLogger().setLevel(level)
        import onnx

        changed = onnx.load_model_from_string(after.read_bytes())
    if not any(node.op_type == "QuantizeLinear" for node in changed.graph.node):
        msg = "quantize='static': expected a network in the model, got none. Leave it out."
        raise ConfigurationError(msg)
    return changed


def _batches(served: OnnxModel, rows: Frame) -> Iterator[dict[str, NDArray[Any]]]:
    first = rows.take(np.arange(min(len(rows), _MOST)))
    for start in range(0, len(first), _AT_ONCE):
        part = first.take(np.arange(start, min(start + _AT_ONCE, len(first))))
        yield feeds_of(served._schema, part, None)


def changed_by(before: OnnxModel, after: OnnxModel, X: Any, y: Any) -> dict[str, Any]:
    """Return by how much answers on rows changed, and the AUC where y is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, new = before._asked(X)[0], after._asked(X)[0]
    apart = np.abs(old - new).max(axis=1)
    told: dict[str, Any] = {
        "rows": len(old),
        "largest_change": float(apart.max()),
        "mean_change": float(apart.mean()),
        "auc": None,
        "auc_change": None,
    }
    words = f"answers on {len(old)} rows changed by {apart.mean():.1e}, at most {apart.max():.1e}."
    if y is not None and before.classes_ is not None:
        was, now = (_auc(one, y, before.classes_) for one in (old, new))
        told |= {"auc": now, "auc_change": now - was}
        words = f"{words[:-1]}, and the AUC by {now - was:+.4f}."
    return {**told, "words": words}


def _auc(outputs: NDArray[np.float64], y: Any, classes: NDArray[Any]) -> float:
    from sklearn.metrics import roc_auc_score

    labels = np.asarray(y)
    if len(labels) != len(outputs) or len(np.unique(labels)) < len(classes):
        msg = (
            f"y: expected a label for each of {len(outputs)} rows, and each class among them, got "
            f"{len(labels)} labels."
        )
        raise InputError(msg)
    if len(classes) == 2:
        return float(roc_auc_score(labels == classes[1], outputs[:, 1]))
    return float(roc_auc_score(labels, outputs, multi_class="ovr", labels=classes))
