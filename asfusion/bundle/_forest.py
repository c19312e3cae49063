"""Whether arrays of children are trees: what compiled code follows without looking."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion.bundle._unlike import Unlike

# Trees deeper than this are no model: what is computed along a path grows with its square.
MOST_DEPTH = 2000


def depths_of(left: Any, right: Any, leaf: Any, sizes: Any, loose: Any = None) -> Any | None:
    """Return the depth of each tree, or None if the arrays are not trees.

    Parameters
    ----------
    left, right : ndarray of int
        Children of each node, counted from the root of its tree; the trees lie one after
        another. In a tree every child comes after its parent.
    leaf : ndarray of bool
        Nodes without children.
    sizes : ndarray of int
        Nodes of each tree; each has one at least.
    loose : ndarray of bool, optional
        Nodes that no other may name.

    Raises
    ------
    Unlike
        If a tree is deeper than any model.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    roots = np.cumsum(sizes) - sizes
    inner = np.flatnonzero(~leaf)
    start = np.repeat(roots, sizes)[inner]
    nodes, size = inner - start, np.repeat(sizes, sizes)[inner]
    left, right = left[inner].astype(np.int64), right[inner].astype(np.int64)
    if not _within(left, nodes, size) or not _within(right, nodes, size):
        return None
    # Each node but the roots and the loose ones is the child of exactly one other.
    expected = np.ones(len(leaf), dtype=np.int64)
    expected[roots] = 0
    if loose is not None:
        expected[loose] = 0
    named = np.bincount(np.concatenate([left + start, right + start]), minlength=len(leaf))
    if not np.array_equal(named, expected):
        return None
    children = np.full((2, len(leaf)), -1, dtype=np.int64)
    children[:, inner] = left + start, right + start
    return _depths(children, leaf, roots, np.repeat(np.arange(len(sizes)), sizes))


def _within(child: Any, node: Any, size: Any) -> bool:
    return bool(((child > node) & (child < size)).all())


def _depths(children: Any, leaf: Any, roots: Any, tree: Any) -> Any:
    """Walk down all trees at once, a level at a time."""
    depths = np.zeros(len(roots), dtype=np.int64)
    level = roots
    for depth in range(MOST_DEPTH + 1):
        depths[tree[level]] = depth
        level = children[:, level[~leaf[level]]].ravel()
        if not len(level):
            return depths
    raise Unlike(f"trees of more than {MOST_DEPTH} levels")
