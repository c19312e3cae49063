"""What walks trees row by row, compiled by numba; see `asfusion.trees._kernel` for the method.

The compiled code is kept where numba can write, beside this file or in the user's cache, so that
the next process need not compile again. Functions stand by themselves, for numba keeps no closure.

Dimensions: N rows, E edges, Q quadrature nodes, K outputs, U features in use, M coalitions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

_numba: Any = importlib.import_module("numba")
# Products and sums may be fused; NaN must stay NaN, for it says that a cell is missing.
_FAST: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles, and keeps the result where there is a place for it."""

    def compile_function(function: Callable[..., Any]) -> Any:
        try:
            return _numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder can be written: neither the package's nor a home's
            return _numba.njit(**options)(function)

    return compile_function


@_compiled()
def order(left: Any, right: Any, feature: Any, cover: Any, n_edges: int) -> Any:
    node = np.empty(n_edges, np.int64)
    parent = np.empty(n_edges, np.int64)
    depth = np.empty(n_edges, np.int64)
    is_left = np.empty(n_edges, np.bool_)
    above = np.empty(n_edges, np.int64)
    part = np.empty(n_edges, np.float64)
    reach = np.empty(n_edges, np.float64)
    share = np.empty(n_edges, np.float64)
    share_above = np.empty(n_edges, np.float64)
    distinct = np.empty(n_edges, np.int64)
    up_edges = np.empty(n_edges, np.int64)
    # A child waits here with its parent and its parent's edge (-1 below the root).
    waiting = np.empty((n_edges + 1, 3), np.int64)
    waiting[0] = (0, -1, -1)
    n_waiting, e = 1, -1
    while n_waiting:
        n_waiting -= 1
        child, up, up_edge = waiting[n_waiting]
        if e >= 0:
            node[e], parent[e], up_edges[e] = child, up, up_edge
            is_left[e] = child == left[up]
            same = up_edge
            while same >= 0 and feature[parent[same]] != feature[up]:
                same = up_edges[same]
            # Where no training weight came, neither side is known to be likelier.
            part[e] = cover[child] / cover[up] if cover[up] > 0 else 0.5
            below_root = up_edge < 0
            depth[e] = 1 if below_root else depth[up_edge] + 1
            reach[e] = part[e] if below_root else part[e] * reach[up_edge]
            above[e] = depth[same] if same >= 0 else 0
            share_above[e] = share[same] if same >= 0 else 1.0
            share[e] = share_above[e] * part[e]
            distinct[e] = (0 if below_root else distinct[up_edge]) + (same < 0)
        if left[child] >= 0:
            waiting[n_waiting] = (right[child], child, e)
            waiting[n_waiting + 1] = (left[child], child, e)
            n_waiting += 2
        e += 1
    return node, parent, depth, is_left, above, part, reach, share, share_above, distinct


@_compiled(**_FAST)
def _judge(
    x: Any, threshold: float, is_left: bool, missing_left: bool, before: Any, now: Any
) -> None:
    for r in range(len(x)):
        goes_left = (x[r] <= threshold) | (missing_left & np.isnan(x[r]))
        now[r] = before[r] & (goes_left == is_left)


@_compiled(**_FAST)
def _descend(product: Any, below: Any, table: Any, before: Any, now: Any) -> None:
    for q in range(len(product)):
        fall, turn, stay = table[0, 0, q], table[1, 0, q], table[2, 0, q]
        for r in range(len(now)):
            ratio = stay if now[r] != 0 else (turn if before[r] != 0 else fall)
            below[q, r] = product[q, r] * ratio


@_compiled(**_FAST)
def _ascend(totals: Any, above: Any, gained: Any, table: Any, before: Any, now: Any) -> None:
    for k in range(len(totals)):
        for q in range(totals.shape[1]):
            turn, stay = table[1, 1, q], table[2, 1, q]
            for r in range(len(now)):
                total = totals[k, q, r]
                addend = stay if now[r] != 0 else (turn if before[r] != 0 else 0.0)
                gained[k, r] += addend * total
                above[k, q, r] += total


@_compiled(**_FAST)
def _finish(
    product: Any, value: Any, above: Any, gained: Any, table: Any, before: Any, now: Any
) -> None:
    for k in range(len(value)):
        for q in range(len(product)):
            fall, turn, stay = table[0, 0, q], table[1, 0, q], table[2, 0, q]
            turn_addend, stay_addend = table[1, 1, q], table[2, 1, q]
            for r in range(len(now)):
                ratio = stay if now[r] != 0 else (turn if before[r] != 0 else fall)
                addend = stay_addend if now[r] != 0 else (turn_addend if before[r] != 0 else 0.0)
                total = product[q, r] * (ratio * value[k])
                gained[k, r] += addend * total
                above[k, q, r] += total


@_compiled(**_FAST)
def _walk_block(
    x: Any, depth: Any, threshold: Any, is_left: Any, missing_left: Any, above: Any,
    leaf: Any, local: Any, table: Any, values: Any, path: Any, gained: Any,
) -> None:  # fmt: skip
    product, totals, agrees, opened = path
    n_edges, top = len(depth), 0
    now = np.empty(x.shape[1], np.int64)
    # One round more than edges, to close those that are still open.
    for e in range(n_edges + 1):
        d = depth[e] if e < n_edges else 1
        while top >= d:
            o = opened[top]
            up, u = agrees[above[o]], local[o]
            _ascend(totals[top], totals[top - 1], gained[u], table[o], up, agrees[top])
            top -= 1
        if e < n_edges:
            before, u = agrees[above[e]], local[e]
            here = now if leaf[e] else agrees[d]
            _judge(x[u], threshold[e], is_left[e], missing_left[e], before, here)
            if leaf[e]:
                _finish(product[d - 1], values[e], totals[d - 1], gained[u], table[e], before, here)
            else:
                _descend(product[d - 1], product[d], table[e], before, here)
                totals[d] = 0.0
                opened[d], top = e, d


@_compiled(**_FAST)
def walk(
    X: Any, depth: Any, threshold: Any, is_left: Any, missing_left: Any, above: Any,
    leaf: Any, local: Any, used: Any, table: Any, values: Any, out: Any, block: int,
) -> None:  # fmt: skip
    n_out, n_nodes, height = values.shape[1], table.shape[3], depth.max() + 1
    path = (
        np.ones((height, n_nodes, block)),
        np.zeros((height, n_out, n_nodes, block)),
        np.ones((height, block), np.int64),
        np.zeros(height, np.int64),
    )
    gained = np.zeros((len(used), n_out, block))
    x = np.zeros((len(used), block))
    for first in range(0, len(X), block):
        n_rows = min(len(X) - first, block)
        for u in range(len(used)):
            for r in range(n_rows):
                x[u, r] = X[first + r, used[u]]
        gained[:] = 0.0
        _walk_block(
            x, depth, threshold, is_left, missing_left, above,
            leaf, local, table, values, path, gained,
        )  # fmt: skip
        for u in range(len(used)):
            for r in range(n_rows):
                out[first + r, used[u]] += gained[u, :, r]


@_compiled()
def expect(
    X: Any, depth: Any, threshold: Any, is_left: Any, missing_left: Any, leaf: Any,
    feature: Any, part: Any, values: Any, known: Any, expected: Any,
) -> None:  # fmt: skip
    weight = np.ones((depth.max() + 1, known.shape[1]))
    for n in range(len(X)):
        for e in range(len(depth)):
            d = depth[e]
            x = X[n, feature[e]]
            goes_left = missing_left[e] if np.isnan(x) else x <= threshold[e]
            factor = 1.0 if goes_left == is_left[e] else 0.0
            for m in range(known.shape[1]):
                ratio = factor if known[feature[e], m] else part[e]
                weight[d, m] = weight[d - 1, m] * ratio
                if leaf[e]:
                    expected[n, m] += weight[d, m] * values[e]
