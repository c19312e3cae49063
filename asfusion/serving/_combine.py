"""Decisions of several models combined inside a graph, as `targets._pools` combines them.

Dimensions: N rows, M modalities, K classes or targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion.serving._graph import Graph
from asfusion.targets._pools import FLOOR


def weighted_mean(graph: Graph, decisions: str, present: str, weights: Any) -> str:
    """Return the mean (N, K) of decisions (N, M, K) that are there (N, M), by weight."""
    there = graph.cast(present, "float64")
    shares = graph.add("Mul", there, graph.constant(np.asarray(weights, np.float64)))
    last = graph.constant(np.asarray([1]))
    summed = graph.add("ReduceSum", shares, last, keepdims=1)
    empty = graph.add("LessOrEqual", summed, _number(graph, 0.0))
    shares = graph.add("Where", empty, there, shares)
    total = graph.add("ReduceSum", shares, last, keepdims=1)
    shares = graph.add("Div", shares, graph.add("Max", total, _number(graph, FLOOR)))
    weighed = graph.add("Mul", _where(graph, present, decisions), _third(graph, shares))
    return graph.add("ReduceSum", weighed, last, keepdims=0)


def combined(
    graph: Graph, how: str, decisions: str, present: str, weights: Any, n_outputs: int
) -> str:
    """Return the mean, the weighted mean or the majority (N, K)."""
    if how != "vote":
        return weighted_mean(graph, decisions, present, weights)
    even = np.ones(len(weights))
    first = graph.add("ArgMax", decisions, axis=2, keepdims=1)
    votes = graph.add("Equal", first, graph.constant(np.arange(n_outputs)[None, None]))
    share = weighted_mean(graph, graph.cast(votes, "float64"), present, even)
    tie = 0.5 / (len(weights) + 1)
    mean = weighted_mean(graph, decisions, present, even)
    mean = graph.add("Mul", mean, _number(graph, tie))
    return graph.add("Div", graph.add("Add", share, mean), _number(graph, 1.0 + tie))


def product(graph: Graph, decisions: str, present: str, prior: Any, dependence: float) -> str:
    """Return the product of experts (N, K) over the prior."""
    log_prior = graph.constant(np.log(np.clip(prior, FLOOR, 1.0)))
    evidence = _where(graph, present, graph.add("Sub", _log(graph, decisions), log_prior))
    last = graph.constant(np.asarray([1]))
    summed = graph.add("ReduceSum", evidence, last, keepdims=0)
    count = graph.add("ReduceSum", graph.cast(present, "float64"), last, keepdims=1)
    count = graph.add("Max", count, _number(graph, 1.0))
    scale = graph.add("Pow", count, _number(graph, -dependence))
    return graph.add(
        "Softmax", graph.add("Add", graph.add("Mul", summed, scale), log_prior), axis=1
    )


def sharpened(graph: Graph, outputs: str, power: float) -> str:
    """Return probabilities (N, K) to a power, summing to one again."""
    return graph.add(
        "Softmax", graph.add("Mul", _log(graph, outputs), _number(graph, power)), axis=1
    )


def stacked(
    graph: Graph, decisions: str, present: str, target: Any, prior: Any, n_modalities: int
) -> str:
    """Return what a stacker reads: evidence beyond the prior, zero where absent, and flags."""
    if target.columns() is None:
        evidence, width = graph.add("Sub", decisions, graph.constant(np.asarray(prior))), len(prior)
    else:
        log_prior = np.log(np.clip(prior, FLOOR, 1.0))
        evidence = graph.add("Sub", _log(graph, decisions), graph.constant(log_prior))
        mean = graph.add("ReduceMean", evidence, graph.constant(np.asarray([2])), keepdims=1)
        evidence, width = graph.add("Sub", evidence, mean), len(prior)
        if width == 2:
            second = graph.constant(np.asarray([1]))
            evidence, width = graph.add("Gather", evidence, second, axis=2), 1
    evidence = _where(graph, present, evidence)
    shape = graph.constant(np.asarray([-1, n_modalities * width]))
    flat = graph.add("Reshape", evidence, shape)
    return graph.side_by_side([flat, graph.cast(present, "float64")])


def graded(graph: Graph, steps: str, n_steps: int) -> str:
    """Return probabilities (N, K) of grades, from the log odds (N, K - 1) to go on from each."""
    on, off = graph.add("Sigmoid", steps), graph.add("Sigmoid", graph.add("Neg", steps))
    reached, found = "", []
    for k in range(n_steps):
        stays, goes = graph.columns(off, [k]), graph.columns(on, [k])
        found.append(graph.add("Mul", reached, stays) if reached else stays)
        reached = graph.add("Mul", reached, goes) if reached else goes
    return graph.side_by_side([*found, reached])


def _log(graph: Graph, outputs: str) -> str:
    clipped = graph.add("Clip", outputs, _number(graph, FLOOR), _number(graph, 1.0))
    return graph.add("Log", clipped)


def _where(graph: Graph, present: str, values: str) -> str:
    """Return values (N, M, K), zero where a modality is absent."""
    return graph.add("Where", _third(graph, present), values, _number(graph, 0.0))


def _third(graph: Graph, value: str) -> str:
    return graph.add("Unsqueeze", value, graph.constant(np.asarray([2])))


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.asarray(value, np.float64))
