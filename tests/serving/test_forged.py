"""A file from elsewhere is refused before the runtime sees it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asfusion as af
from asfusion.exceptions import AsfusionError, BundleError, ConfigurationError
from asfusion.serving._schema import KEY, Schema, read_schema
from asfusion.serving._wire import walk

from .rows import QUIET, encoders, table, targets

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")

X = table()
Change = Any


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = af.EarlyFusionClassifier(encoders(), **QUIET).fit(X, targets(X)["binary"])
    return af.export(model, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="module")
def told(file: Path) -> dict[str, Any]:
    return dict(af.serving.OnnxModel(file).schema)


def outside(model: Any) -> None:
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def outside_in_a_node(model: Any) -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(1))
    tensor.external_data.add(key="location", value="../weights")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["more"], value=tensor))


def loop(model: Any) -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["a"], ["b"], body=body))


def elsewhere(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Own", ["a"], ["b"], domain="own"))


def other_set(model: Any) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def function(model: Any) -> None:
    model.functions.add(name="own")


def sparse(model: Any) -> None:
    model.graph.sparse_initializer.add()


def told_twice(model: Any) -> None:
    model.metadata_props.add(key=KEY, value="{}")


def other_weights(model: Any) -> None:
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))


def no_schema(model: Any) -> None:
    del model.metadata_props[:]


@pytest.mark.parametrize(
    ("forge", "error"),
    [
        (outside, "expected all weights within the file, got a path"),
        (outside_in_a_node, "expected all weights within the file, got a path"),
        (loop, "expected a graph without branches and loops"),
        (elsewhere, "expected standard operators, got one of another domain"),
        (other_set, "expected standard operators, got a set of another domain"),
        (function, "expected one plain graph, got functions"),
        (sparse, "expected dense weights, got sparse ones"),
        (told_twice, "expected each entry of the metadata once"),
        (other_weights, "expected the graph that the schema was written for"),
        (no_schema, "expected a schema in its metadata, got none"),
    ],
)
def test_forged_graphs_are_refused(forge: Change, error: str, file: Path, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(file.read_bytes())
    forge(model)
    (tmp_path / "forged.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=error):
        af.serving.OnnxModel(tmp_path / "forged.onnx")


def retold(told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(told), **changes}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"format": 2}, "a schema of format 1, got another"),
        ({"task": "survival"}, "'task' as one of the texts"),
        ({"n_outputs": 10**9}, "'n_outputs' as a whole number from 1 to"),
        ({"classes": ["a"]}, "a label of one kind for each output"),
        ({"classes": [1, "b"]}, "a label of one kind for each output"),
        ({"columns": ["crp", "crp"]}, "texts that it can be|each column and modality once"),
        ({"columns": "crp"}, "'columns' as a list"),
        ({"numbers": [{"column": "/etc/passwd", "kind": "number"}]}, "'column' as one of"),
        ({"numbers": [1]}, "columns as objects"),
        ({"contents": [1]}, "modalities as objects"),
        ({"contents": [{"kind": "image", "columns": ["other"]}]}, "modalities of known columns"),
        ({"is_matrix": 1}, "'is_matrix' as a boolean"),
    ],
)
def test_forged_schemas_are_refused(changes: Any, error: str, told: dict[str, Any]) -> None:
    text = json.dumps(retold(told, **changes))
    with pytest.raises(BundleError, match=error):
        read_schema(text, told["digest"])


def content(**changes: Any) -> dict[str, Any]:
    plain = {"key": "note", "kind": "terms", "columns": ["note"], "terms": ["a"], "idf": [1.0]}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"idf": [1.0, 2.0]}, "'idf' as 1 numbers"),
        ({"idf": [10**400]}, "'idf' as numbers that a float holds"),
        ({"kind": "image", "channels": 2, "size": 9}, "films of 1 or 3 channels"),
        ({"kind": "image", "channels": 1, "size": 10**6}, "'size' as a whole number"),
        ({"kind": "pieces", "max_tokens": 10**9, "max_windows": 1}, "'max_tokens' as a whole"),
        ({"kind": "other"}, "'kind' as one of the texts"),
    ],
)
def test_forged_modalities_are_refused(changes: Any, error: str, told: dict[str, Any]) -> None:
    text = json.dumps(retold(told, contents=[content(**changes)]))
    with pytest.raises(BundleError, match=error):
        read_schema(text, told["digest"])


def test_schema_of_another_face_is_refused(told: Any, file: Path, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(file.read_bytes())
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: json.dumps(retold(told, contents=[]))})
    (tmp_path / "forged.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="the inputs and outputs of its schema, got others"):
        af.serving.OnnxModel(tmp_path / "forged.onnx")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": NaN}', "null", "1"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="expected a schema"):
        read_schema(text, "")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for number, raw in enumerate((b"", b"\x89PNG", b"\x3a\xff", b"\xff" * 40)):
        (tmp_path / f"{number}.onnx").write_bytes(raw)
        with pytest.raises(BundleError, match="OnnxModel: expected"):
            af.serving.OnnxModel(tmp_path / f"{number}.onnx")
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(BundleError, match="expected a file that can be read, got none"):
            af.serving.OnnxModel(path)
    with pytest.raises(ConfigurationError, match="path: expected the path of an exported file"):
        af.serving.OnnxModel(3)  # type: ignore[arg-type]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_schema_is_read_or_refused(data: st.DataObject, told: dict[str, Any]) -> None:
    """Any entry may be anything, also one within a column or a modality."""
    forged = copy.deepcopy(told)
    places: list[Any] = [forged, *forged["numbers"], *forged["texts"], *forged["contents"]]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(anything)
    try:
        text = json.dumps(forged)
    except ValueError:
        return
    try:
        assert isinstance(read_schema(text, told["digest"]), Schema)
    except BundleError as error:
        assert "expected" in str(error)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_bytes_are_walked_or_refused(data: st.DataObject, file: Path) -> None:
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(1, len(raw)))]
    try:
        found = walk(bytes(raw))
        read_schema(found.metadata.get(KEY), found.digest)
    except AsfusionError as error:
        assert "expected" in str(error)
