"""Early, joint, late and automatic fusion as nodes of a graph.

Dimensions: N rows, M modalities, K outputs, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asfusion.exceptions import ConfigurationError
from asfusion.serving._combine import combined, graded, product, sharpened, stacked, weighted_mean
from asfusion.serving._graph import Graph
from asfusion.serving._parts import answers, selected
from asfusion.serving._writer import Rows, Writer


class Said(NamedTuple):
    """Outputs (N, K) in float64, and which rows (N,) have a modality; others are void."""

    outputs: str
    present: str


def outputs_of(writer: Writer, model: Any, who: str) -> Said:
    """Return what a fitted model says of rows.

    Raises
    ------
    ConfigurationError
        If a part of it cannot be written.
    """
    write: Mapping[str, Callable[[Writer, Any, str], Said]] = {
        "early": _early,
        "joint": _joint,
        "late": _late,
        "auto": _auto,
    }
    if id(model) not in writer.said:
        writer.said[id(model)] = write[model._family](writer, model, who)
    found: Said = writer.said[id(model)]
    return found


def with_prior(graph: Graph, said: Said, prior: Any) -> str:
    """Return outputs (N, K) with the prior where a row has nothing."""
    there = graph.upright(said.present)
    return graph.add("Where", there, said.outputs, graph.constant(np.asarray(prior, np.float64)))


# -- early -----------------------------------------------------------------------------


def _early(writer: Writer, model: Any, who: str) -> Said:
    graph = writer.graph
    blocks = {name: _block(writer, name, e) for name, e in model.encoders_.items()}
    parts = []
    for name, (values, present) in blocks.items():
        center = np.asarray(model.centers_[name], np.float64)
        is_sparse = model.encoders_[name].is_sparse
        stand_in = np.zeros_like(center) if is_sparse and name in model.flagged_ else center
        value = graph.add("Where", graph.upright(present), values, graph.constant(stand_in))
        if model._scales:
            shift = np.zeros_like(center) if is_sparse else center
            value = graph.add("Sub", value, graph.constant(shift))
            value = graph.add("Div", value, graph.constant(np.asarray(model.scales_[name])))
        parts.append(value)
    flags = [graph.cast(graph.upright(blocks[n].present), "float64") for n in model.flagged_]
    features = graph.side_by_side([*parts, *flags])
    said = _asked(graph, model, model.estimator_, features, len(model.feature_names_), who)
    return Said(said, graph.any_of([block.present for block in blocks.values()]))


class _Block(NamedTuple):
    values: str  # (N, D), float64
    present: str


def _block(writer: Writer, name: str, encoder: Any) -> _Block:
    """Return the features of a modality as `transform` gives them, void where it is absent."""
    rows = writer.rows(name, encoder)
    if len(rows.tensors) == 1 and not {"x", "vectors"}.isdisjoint(rows.tensors):
        (value,) = rows.tensors.values()
        return _Block(writer.graph.cast(value, "float64"), rows.present)
    key = ("pooled", id(encoder))
    if key not in writer.said:
        from asfusion.serving._networks import Pooled, plain, to_onnx

        backbone = plain(encoder._network().backbone, writer.precision)
        writer.has_networks = True
        module = Pooled(backbone, list(rows.tensors)).eval()
        made = to_onnx(
            module, _examples(rows, writer.precision), _open_sizes(rows), f"modality {name!r}:"
        )
        fed = dict(zip(_input_names(made), rows.tensors.values(), strict=True))
        writer.said[key] = writer.graph.merge(made, fed)[0]
    return _Block(writer.said[key], rows.present)


def _asked(graph: Graph, model: Any, part: Any, features: str, width: int, who: str) -> str:
    """Return the answers (N, K) of an estimator within a model."""
    said = answers(graph, part, features, width, who)
    target = model.target_
    if target.columns() is None:
        return said
    known = getattr(part, "known_classes_", None)
    return selected(graph, said, part.classes_ if known is None else known, target.n_outputs_)


# -- joint -----------------------------------------------------------------------------


def _joint(writer: Writer, model: Any, who: str) -> Said:
    from asfusion.serving._networks import Whole, plain, to_onnx

    if model.test_time_views > 1:
        msg = (
            f"export: {who} expected test_time_views=1, got {model.test_time_views}. Set it to 1: "
            "a file reads each row as it is."
        )
        raise ConfigurationError(msg)
    graph, writer.has_networks = writer.graph, True
    rows = {name: writer.rows(name, encoder) for name, encoder in model.encoders_.items()}
    keys = [(name, key) for name, own in rows.items() for key in own.tensors]
    target, scaling = model.target_, model.scaling_
    are_steps = target.has_steps  # whose product torch cannot write
    module = Whole(
        plain(model.network_, writer.precision),
        keys,
        lambda said: said if are_steps else target.activate(said, scaling),
    ).eval()
    present = [own.present for own in rows.values()]
    made = to_onnx(
        module,
        [
            *(e for own in rows.values() for e in _examples(own, writer.precision)),
            *_flags(len(rows)),
        ],
        [*(s for own in rows.values() for s in _open_sizes(own)), *({} for _ in rows)],
        who,
    )
    values = [_as_read(writer, key, rows[name].tensors[key]) for name, key in keys]
    fed = dict(zip(_input_names(made), [*values, *present], strict=True))
    (said,) = graph.merge(made, fed)
    outputs = graded(graph, said, target.n_network_outputs) if are_steps else said
    return Said(outputs, graph.any_of(present))


def _as_read(writer: Writer, key: str, value: str) -> str:
    return writer.graph.cast(value, writer.precision) if key in ("x", "vectors") else value


def _examples(rows: Rows, precision: str) -> list[Any]:
    """Return an example of each tensor: what is left open has sizes that nothing else has."""
    import torch

    from asfusion.serving._networks import example

    own = getattr(torch, precision)
    types = {"x": own, "vectors": own, "ids": torch.int64, "mask": torch.bool}
    made = []
    for key, shape in rows.shapes.items():
        sizes = [size if isinstance(size, int) else 5 + 2 * n for n, size in enumerate(shape)]
        made.append(example(sizes, types.get(key, torch.uint8)))
    return made


def _flags(n_modalities: int) -> list[Any]:
    import torch

    from asfusion.serving._networks import example

    return [example((), torch.bool) for _ in range(n_modalities)]


def _open_sizes(rows: Rows) -> list[dict[int, str]]:
    """Return, for each tensor, which of its sizes behind the rows are left open, and their name."""
    return [
        {n: size for n, size in enumerate(shape, 1) if isinstance(size, str)}
        for shape in rows.shapes.values()
    ]


def _input_names(made: Any) -> list[str]:
    return [value.name for value in made.graph.input]


# -- late and automatic ------------------------------------------------------------------


def _late(writer: Writer, model: Any, who: str) -> Said:
    graph = writer.graph
    said = {
        name: outputs_of(writer, part, f"{who} modality {name!r}:")
        for name, part in model.models_.items()
    }
    decisions = _stacked_up(graph, [one.outputs for one in said.values()])
    present = graph.side_by_side([graph.upright(one.present) for one in said.values()])
    weights = np.asarray(list(model.weights_.values()))
    anything = graph.any_of([one.present for one in said.values()])
    if model.combination_ == "stacking":
        features = stacked(graph, decisions, present, model.target_, model.prior_, len(said))
        width = _stacked_width(model, len(said))
        outputs = _asked(graph, model, model.stacker_, features, width, f"{who} stacking")
    elif model.combination_ == "product" and not model.target_.weighs("product"):
        outputs = product(graph, decisions, present, model.prior_, model.dependence_)
    else:
        outputs = combined(graph, model.combination_, decisions, present, weights, model.n_outputs_)
    return Said(outputs, anything)


def _stacked_width(model: Any, n_modalities: int) -> int:
    n_outputs = model.n_outputs_
    is_binary = model.target_.columns() is not None and n_outputs == 2
    return n_modalities * (1 if is_binary else n_outputs) + n_modalities


def _auto(writer: Writer, model: Any, who: str) -> Said:
    graph = writer.graph
    said = []
    for name, part in model.models_.items():
        said.append(outputs_of(writer, part, f"{who} member {name!r}:"))
    decisions = _stacked_up(graph, [one.outputs for one in said])
    present = graph.side_by_side([graph.upright(one.present) for one in said])
    weights = np.asarray(list(model.weights_.values()))
    mean = weighted_mean(graph, decisions, present, weights)
    if model.target_.has_sharpness:
        mean = sharpened(graph, mean, model.sharpness_)
    return Said(mean, graph.any_of([one.present for one in said]))


def _stacked_up(graph: Graph, outputs: Sequence[str]) -> str:
    """Return decisions (N, M, K)."""
    between = graph.constant(np.asarray([1]))
    return graph.side_by_side([graph.add("Unsqueeze", one, between) for one in outputs])
