"""Walk trees and add up Shapley values, compiled by numba at the first call.

Along the way to a leaf each feature either agrees with the row or not. If the feature is known
its factor is o, 1 or 0; if it is unknown, the share z of the training weight that went the
same way. A feature known with probability t has the factor z(1 - t) + ot. The Shapley value of
one feature is the integral over t from 0 to 1 of (o - z) times the factors of the others: a
polynomial, which Gauss-Legendre nodes integrate exactly.

What does not depend on the row (the factors of an edge for o = 1 and o = 0) is tabulated once
per tree. Rows are walked in blocks, side by side.

Dimensions: N rows, E edges, Q quadrature nodes, K outputs, U features in use, M coalitions.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.trees._arrays import Tree

Floats = NDArray[np.float64]

# Wide enough to spread the cost of an edge, small enough that a path stays in cache.
_BLOCK = 64
_SMALL_BLOCK = 8


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of one tree, each named after the node below it, parents before children.

    The fields are arrays of length E. `depth` counts from 1; `above` is the depth of the
    nearest edge further up with the same feature, or 0; `part` is the part of its node's
    weight that took the edge, `reach` that of the whole tree; `share` is the product of the
    parts of this feature's edges down to this one, and `share_above` the same without it.
    `used` lists the features of the tree and `local` counts in it.
    """

    node: NDArray[np.int64]
    depth: NDArray[np.int64]
    threshold: Floats
    is_left: NDArray[np.bool_]
    missing_left: NDArray[np.bool_]
    above: NDArray[np.int64]
    part: Floats
    reach: Floats
    share: Floats
    share_above: Floats
    leaf: NDArray[np.bool_]
    local: NDArray[np.int64]
    used: NDArray[np.int64]
    n_nodes: int


def make_edges(tree: Tree) -> Edges:
    """List the edges of `tree` in the order in which they are walked."""
    n_edges = int(2 * np.count_nonzero(tree.left >= 0))
    found = _compiled_order()(tree.left, tree.right, tree.feature, tree.cover, n_edges)
    node, parent, depth, is_left, above, part, reach, share, share_above, distinct = found
    used, local = np.unique(tree.feature[parent], return_inverse=True)
    return Edges(
        node,
        depth,
        tree.threshold[parent],
        is_left,
        tree.missing_left[parent],
        above,
        part,
        reach,
        share,
        share_above,
        tree.left[node] < 0,
        local.astype(np.int64).reshape(-1),
        used,
        # n nodes are exact up to degree 2n - 1; D features on a path make degree D - 1.
        max(1, (int(distinct.max(initial=0)) + 1) // 2),
    )


def expectation(tree: Tree, edges: Edges) -> Floats:
    """Return the mean of the tree's values over its leaves, weighted as in training."""
    if not len(edges.node):
        return np.asarray(tree.values[0])
    return np.asarray(edges.reach[edges.leaf] @ tree.values[edges.node[edges.leaf]])


@lru_cache(maxsize=1)
def _compiled_order() -> Any:
    return importlib.import_module("numba").njit(_order)


def _order(left: Any, right: Any, feature: Any, cover: Any, n_edges: int) -> Any:
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


@lru_cache(maxsize=32)
def _quadrature(n_nodes: int) -> tuple[Floats, Floats]:
    points, weights = np.polynomial.legendre.leggauss(n_nodes)
    return (points + 1) / 2, weights / 2


def make_table(edges: Edges, *, held: int = -1, known: bool = False) -> Floats:
    """Tabulate what each edge does to the product and what it adds to its feature.

    An edge is in one of three states in a row: its feature disagreed further up (0), it
    disagrees here for the first time (1), or it agrees all along (2).

    Parameters
    ----------
    edges : Edges
        The tree.
    held : int, default=-1
        Local number of a feature that is no player but always known, or always unknown.
    known : bool, default=False
        Whether the held feature is known.

    Returns
    -------
    ndarray of shape (E, 3, 2, Q)
        For each edge and state the ratio and the addend.
    """
    t, weights = _quadrature(edges.n_nodes)
    z, z_above = edges.share[:, None], edges.share_above[:, None]
    factor, factor_above = z * (1 - t) + t, z_above * (1 - t) + t
    gain_above = (1 - z_above) / factor_above
    table = np.zeros((len(z), 3, 2, edges.n_nodes))
    table[:, 0, 0] = edges.part[:, None]
    table[:, 1, 0] = z * (1 - t) / factor_above
    table[:, 1, 1] = weights * (-1 / (1 - t) - gain_above)
    table[:, 2, 0] = factor / factor_above
    table[:, 2, 1] = weights * ((1 - z) / factor - gain_above)
    if held >= 0:
        rows = edges.local == held
        table[rows] = 0.0
        if known:
            table[rows, 2, 0] = 1.0
        else:
            table[rows, :, 0] = edges.part[rows, None, None]
    return table


def add_tree(X: Floats, edges: Edges, table: Floats, values: Floats, out: Floats) -> None:
    """Add the Shapley values of one tree, (N, F, K), to `out`; `values` are per node."""
    if not len(edges.node) or not len(X):
        return
    block = _BLOCK if len(X) > _SMALL_BLOCK else _SMALL_BLOCK
    _compiled_walk()(
        X,
        edges.depth,
        edges.threshold,
        edges.is_left,
        edges.missing_left,
        edges.above,
        edges.leaf,
        edges.local,
        edges.used,
        table,
        np.ascontiguousarray(values[edges.node]),
        out,
        block,
    )


@lru_cache(maxsize=1)
def _compiled_walk() -> Any:
    numba = importlib.import_module("numba")
    # Products and sums may be fused; NaN must stay NaN, for it says that a cell is missing.
    jit = numba.njit(fastmath={"contract", "nsz"}, error_model="numpy")
    return _compile_walk(jit, _compile_walk_block(jit))


def _compile_walk(jit: Any, walk_block: Any) -> Any:
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
            walk_block(
                x, depth, threshold, is_left, missing_left, above,
                leaf, local, table, values, path, gained,
            )  # fmt: skip
            for u in range(len(used)):
                for r in range(n_rows):
                    out[first + r, used[u]] += gained[u, :, r]

    return jit(walk)


def _compile_walk_block(jit: Any) -> Any:
    judge, descend, ascend, finish = jit(_judge), jit(_descend), jit(_ascend), jit(_finish)

    def walk_block(
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
                ascend(totals[top], totals[top - 1], gained[u], table[o], up, agrees[top])
                top -= 1
            if e < n_edges:
                before, u = agrees[above[e]], local[e]
                here = now if leaf[e] else agrees[d]
                judge(x[u], threshold[e], is_left[e], missing_left[e], before, here)
                if leaf[e]:
                    finish(
                        product[d - 1], values[e], totals[d - 1], gained[u], table[e], before, here
                    )
                else:
                    descend(product[d - 1], product[d], table[e], before, here)
                    totals[d] = 0.0
                    opened[d], top = e, d

    return jit(walk_block)


def _judge(
    x: Any, threshold: float, is_left: bool, missing_left: bool, before: Any, now: Any
) -> None:
    for r in range(len(x)):
        goes_left = (x[r] <= threshold) | (missing_left & np.isnan(x[r]))
        now[r] = before[r] & (goes_left == is_left)


def _descend(product: Any, below: Any, table: Any, before: Any, now: Any) -> None:
    for q in range(len(product)):
        fall, turn, stay = table[0, 0, q], table[1, 0, q], table[2, 0, q]
        for r in range(len(now)):
            ratio = stay if now[r] != 0 else (turn if before[r] != 0 else fall)
            below[q, r] = product[q, r] * ratio


def _ascend(totals: Any, above: Any, gained: Any, table: Any, before: Any, now: Any) -> None:
    for k in range(len(totals)):
        for q in range(totals.shape[1]):
            turn, stay = table[1, 1, q], table[2, 1, q]
            for r in range(len(now)):
                total = totals[k, q, r]
                addend = stay if now[r] != 0 else (turn if before[r] != 0 else 0.0)
                gained[k, r] += addend * total
                above[k, q, r] += total


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


def coalition_values(
    X: Floats, edges: Edges, values: Floats, coalitions: NDArray[np.bool_]
) -> Floats:
    """Return what one tree expects of each row when only a coalition's features are known.

    Parameters
    ----------
    X : ndarray of shape (N, F)
        Rows.
    edges : Edges
        The tree.
    values : ndarray of shape (n_nodes,)
        One value per node.
    coalitions : ndarray of shape (M, F)
        True where a feature is known.

    Returns
    -------
    ndarray of shape (N, M)
        Expected values.
    """
    if not len(edges.node):
        return np.full((len(X), len(coalitions)), values[0])
    expected = np.zeros((len(X), len(coalitions)))
    _compiled_expect()(
        X,
        edges.depth,
        edges.threshold,
        edges.is_left,
        edges.missing_left,
        edges.leaf,
        edges.used[edges.local],
        edges.part,
        values[edges.node],
        np.ascontiguousarray(coalitions.T),
        expected,
    )
    return expected


@lru_cache(maxsize=1)
def _compiled_expect() -> Any:
    return importlib.import_module("numba").njit(_expect)


def _expect(
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
