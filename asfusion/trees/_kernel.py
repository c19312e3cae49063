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
    found = _compiled().order(tree.left, tree.right, tree.feature, tree.cover, n_edges)
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
def _compiled() -> Any:
    # numba takes half a second to import: only who explains trees pays for it.
    return importlib.import_module("asfusion.trees._compiled")


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
    _compiled().walk(
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
    _compiled().expect(
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
