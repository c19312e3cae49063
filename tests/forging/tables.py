"""Odd tables: what a notebook may pass for X, y, groups and weights, with words to look for.

``X, y, groups, sample_weight, words = odd_table(seed)``. Each of `words` stands in a cell, a label
or the index and must be in no text that comes out. Names of columns are no secret.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse
import torch

N_ROWS = 24
_NAMES = ("crp", "esr", "bmi", "sex", "note", "seen")

Rng = np.random.Generator
Odd = tuple[Any, Any, Any, Any, tuple[str, ...]]


def odd_table(seed: int) -> Odd:
    """Return X, y, groups, sample_weight and the words that no message may show."""
    rng = np.random.default_rng(seed)
    word = f"canary{int(rng.integers(10**9)):09d}q"
    X: Any = plain_table(rng, word)
    y, groups, weight = _plain_target(rng), None, None
    # One thing is odd, sometimes two; some tables are in order but for their words.
    for what in rng.choice(("X", "cells", "y", "groups", "weight"), size=rng.integers(0, 3)):
        if what == "X":
            X = _pick(rng, CONTAINERS)(rng, _frame(X), word)
        elif what == "cells":
            X = _pick(rng, CELLS)(rng, _frame(X), word)
        elif what == "y":
            y = _pick(rng, TARGETS)(rng, word)
        elif what == "groups":
            groups = _pick(rng, GROUPS)(rng, word)
        else:
            weight = _pick(rng, WEIGHTS)(rng, word)
    return X, y, groups, weight, (word,)


def plain_table(rng: Rng, word: str) -> pd.DataFrame:
    """Return a table in order, with the word in cells and in the index."""
    index = [f"{word} {row}" for row in range(N_ROWS)]
    note = [f"{word} pain {row % 5} at night, no fever" for row in range(N_ROWS)]
    days = pd.Timestamp("2024-02-01") + pd.to_timedelta(np.arange(N_ROWS), unit="D")
    return pd.DataFrame(
        {
            "crp": rng.normal(size=N_ROWS),
            "esr": rng.normal(size=N_ROWS),
            "bmi": rng.normal(size=N_ROWS),
            "sex": pd.Series(rng.choice(["f", word], N_ROWS), dtype=object).to_numpy(),
            "note": np.asarray(note, dtype=object),
            "seen": days,
        },
        index=index,
    )[list(rng.permutation(_NAMES[: rng.integers(2, 7)]))]


def _plain_target(rng: Rng) -> Any:
    if rng.random() < 0.5:
        return np.arange(N_ROWS) % 2
    return rng.normal(size=N_ROWS)


def _pick(rng: Rng, kinds: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    return kinds[int(rng.integers(len(kinds)))]


def _frame(X: Any) -> pd.DataFrame:
    """Return a table to spoil once more, where X is none any longer."""
    if isinstance(X, pd.DataFrame) and X.shape[0] and X.shape[1] and X.columns.nlevels == 1:
        return X.copy()
    return pd.DataFrame({"crp": np.arange(float(N_ROWS)), "esr": 1.0})


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    numbers = frame.select_dtypes("number").to_numpy(dtype=float)
    return numbers if numbers.size else np.arange(2.0 * N_ROWS).reshape(N_ROWS, 2)


def _objects(frame: pd.DataFrame) -> np.ndarray:
    return frame.to_numpy(dtype=object)


def _with_cell(frame: pd.DataFrame, rng: Rng, *cells: Any) -> pd.DataFrame:
    """Return the table with odd cells in a column of objects."""
    frame = frame.loc[:, ~frame.columns.duplicated()]
    name = str(rng.choice(frame.columns))
    column = np.empty(len(frame), dtype=object)
    column[:] = frame[name].to_list()
    for cell in cells:
        column[int(rng.integers(len(frame)))] = cell
    odd = pd.Series(column, dtype=object, index=frame.index)
    return frame.assign(**{name: odd})


def _all_cells(frame: pd.DataFrame, rng: Rng, cell: Callable[[int], Any]) -> pd.DataFrame:
    frame = frame.loc[:, ~frame.columns.duplicated()]
    name = str(rng.choice(frame.columns))
    column = np.empty(len(frame), dtype=object)
    column[:] = [cell(row) for row in range(len(frame))]
    return frame.assign(**{name: pd.Series(column, dtype=object, index=frame.index)})


CONTAINERS: tuple[Callable[[Rng, pd.DataFrame, str], Any], ...] = (
    lambda rng, f, w: f.iloc[:0],
    lambda rng, f, w: f.iloc[:, :0],
    lambda rng, f, w: f.iloc[:1],
    lambda rng, f, w: f.iloc[:, [0, 0]],
    lambda rng, f, w: f.set_axis(range(f.shape[1]), axis=1),
    lambda rng, f, w: f.set_axis([w, *range(1, f.shape[1])], axis=1) if f.shape[1] > 1 else f,
    lambda rng, f, w: f.set_axis(pd.MultiIndex.from_product([["a"], f.columns]), axis=1),
    lambda rng, f, w: f.iloc[:, 0],
    lambda rng, f, w: f.to_dict("list"),
    lambda rng, f, w: f.to_dict("records"),
    lambda rng, f, w: f.to_numpy(dtype=object).tolist(),
    lambda rng, f, w: _objects(f),
    lambda rng, f, w: _objects(f)[0],
    lambda rng, f, w: _objects(f)[:, :, None],
    lambda rng, f, w: np.asarray(f.astype(str), dtype=str),
    lambda rng, f, w: np.asarray(f.astype(str), dtype=bytes),
    lambda rng, f, w: _numbers(f),
    lambda rng, f, w: _numbers(f)[0],
    lambda rng, f, w: _numbers(f)[:, :, None],
    lambda rng, f, w: _numbers(f)[:, :0],
    lambda rng, f, w: np.array(w, dtype=object),
    lambda rng, f, w: _numbers(f) * 1j,
    lambda rng, f, w: _numbers(f).astype("datetime64[s]"),
    lambda rng, f, w: _numbers(f).astype("timedelta64[s]"),
    lambda rng, f, w: np.where(_numbers(f) > 0, np.inf, 0.0),
    lambda rng, f, w: np.full_like(_numbers(f), np.nan),
    lambda rng, f, w: np.ma.masked_greater(_numbers(f), 0.5),
    lambda rng, f, w: np.ma.masked_array(_numbers(f), mask=True),
    lambda rng, f, w: _numbers(f).astype(np.float16),
    lambda rng, f, w: _numbers(f) > 0,
    lambda rng, f, w: np.asmatrix(_numbers(f)),
    lambda rng, f, w: f.reset_index(drop=True).to_records(index=False),
    lambda rng, f, w: scipy.sparse.csr_matrix(_numbers(f)),
    lambda rng, f, w: scipy.sparse.coo_array(_numbers(f)),
    lambda rng, f, w: torch.tensor(_numbers(f)),
    lambda rng, f, w: torch.tensor(_numbers(f), requires_grad=True),
    lambda rng, f, w: pl.from_pandas(f.reset_index(drop=True)).lazy(),
    lambda rng, f, w: pl.from_pandas(f.reset_index(drop=True)),
    lambda rng, f, w: pl.from_pandas(f.reset_index(drop=True)).to_arrow(),
    lambda rng, f, w: pl.from_pandas(f.reset_index(drop=True)).to_series(0),
    lambda rng, f, w: iter(_numbers(f)),
    lambda rng, f, w: (row for row in _objects(f)),
    lambda rng, f, w: set(map(str, _objects(f).ravel())),
    lambda rng, f, w: [[w], [w, w], []],
    lambda rng, f, w: [{w: 1}, {w: 2}],
    lambda rng, f, w: w,
    lambda rng, f, w: w.encode(),
    lambda rng, f, w: None,
    lambda rng, f, w: 7,
    lambda rng, f, w: object(),
    lambda rng, f, w: f.groupby(f.columns[0]),
    lambda rng, f, w: f.index,
)
"""What may stand for X; each gets a generator of numbers, a table, and the word."""

CELLS: tuple[Callable[[Rng, pd.DataFrame, str], Any], ...] = (
    lambda rng, f, w: _with_cell(f, rng, w),
    lambda rng, f, w: _with_cell(f, rng, w, 3.5, None, True),
    lambda rng, f, w: _with_cell(f, rng, [w, 1]),
    lambda rng, f, w: _with_cell(f, rng, (w,)),
    lambda rng, f, w: _with_cell(f, rng, {w: w}),
    lambda rng, f, w: _with_cell(f, rng, {w}),
    lambda rng, f, w: _with_cell(f, rng, b"\x89PNG" + w.encode()),
    lambda rng, f, w: _with_cell(f, rng, np.array([[1.0, 2.0]])),
    lambda rng, f, w: _with_cell(f, rng, pd.DataFrame({w: [1]})),
    lambda rng, f, w: _with_cell(f, rng, 1 + 2j),
    lambda rng, f, w: _with_cell(f, rng, 10**400),
    lambda rng, f, w: _with_cell(f, rng, np.inf),
    lambda rng, f, w: _with_cell(f, rng, decimal.Decimal("sNaN"), decimal.Decimal(3)),
    lambda rng, f, w: _with_cell(f, rng, fractions.Fraction(1, 3)),
    lambda rng, f, w: _with_cell(f, rng, datetime.date(1, 1, 1), datetime.datetime(9999, 12, 31)),
    lambda rng, f, w: _with_cell(f, rng, datetime.time(3), datetime.timedelta(3)),
    lambda rng, f, w: _with_cell(f, rng, pd.NaT, pd.NA, np.datetime64("NaT")),
    lambda rng, f, w: _with_cell(f, rng, pd.Interval(0, 1), pd.Period("2024-01")),
    lambda rng, f, w: _with_cell(f, rng, f"/data/{w}/film.png"),
    lambda rng, f, w: _with_cell(f, rng, "\x00" + w, "\ud800" + w, w * 2000),
    lambda rng, f, w: _all_cells(f, rng, lambda row: f"/data/{w}/{row}.png"),
    lambda rng, f, w: _all_cells(f, rng, lambda row: f"/data/{w}/{row}.nii.gz"),
    lambda rng, f, w: _all_cells(f, rng, lambda row: f"/data/{w}/{row}.dcm"),
    lambda rng, f, w: _all_cells(f, rng, lambda row: [w, row]),
    lambda rng, f, w: _all_cells(f, rng, lambda row: {"day": row, "crp": w}),
    lambda rng, f, w: _all_cells(f, rng, lambda row: [{"day": row, "crp": w}]),
    lambda rng, f, w: _all_cells(f, rng, lambda row: pd.DataFrame({"day": [w], "crp": [row]})),
    lambda rng, f, w: _all_cells(f, rng, lambda row: 10**30 + row),
    lambda rng, f, w: _all_cells(f, rng, lambda row: None),
    lambda rng, f, w: _all_cells(f, rng, lambda row: w.encode()),
    lambda rng, f, w: _all_cells(f, rng, lambda row: f"2024-02-{row + 20} {w}"),
    lambda rng, f, w: _all_cells(f, rng, lambda row: f"2024-02-{row + 20}"),
    lambda rng, f, w: f.assign(crp=np.where(np.arange(len(f)) % 3, np.inf, 1.0)),
    lambda rng, f, w: f.assign(crp=np.arange(len(f)) + 0j),
    lambda rng, f, w: f.assign(crp=pd.Categorical([w] * (len(f) - 1) + ["other"])),
    lambda rng, f, w: f.assign(crp=pd.arrays.IntervalArray.from_breaks(range(len(f) + 1))),
    lambda rng, f, w: f.assign(crp=pd.period_range("2024-01", periods=len(f), freq="M")),
    lambda rng, f, w: f.assign(crp=pd.timedelta_range(0, periods=len(f), freq="h")),
    lambda rng, f, w: f.assign(crp=pd.date_range("2024", periods=len(f), tz="Asia/Tokyo")),
    lambda rng, f, w: f.assign(crp=pd.array([1, None] * (len(f) // 2), dtype="Int64")),
    lambda rng, f, w: f.assign(crp=pd.arrays.SparseArray(np.arange(float(len(f))))),
    lambda rng, f, w: f.assign(crp=np.full(len(f), 2**63 - 1)),
    lambda rng, f, w: f.assign(
        crp=np.full(len(f), 1.7e308) * np.where(np.arange(len(f)) % 2, 1, -1)
    ),
    lambda rng, f, w: f.assign(**{"a b__c": 1.0, "__": 2.0, "": np.arange(float(len(f)))}),
)
"""What may stand in the cells of a table."""

TARGETS: tuple[Callable[[Rng, str], Any], ...] = (
    lambda rng, w: None,
    lambda rng, w: w,
    lambda rng, w: np.zeros(N_ROWS),
    lambda rng, w: np.arange(N_ROWS - 1) % 2,
    lambda rng, w: np.arange(N_ROWS),
    lambda rng, w: [w, "other"] * (N_ROWS // 2),
    lambda rng, w: [f"{w} {row}" for row in range(N_ROWS)],
    lambda rng, w: np.array([w, 3, None] * (N_ROWS // 3), dtype=object),
    lambda rng, w: np.array([w, 3.5] * (N_ROWS // 2), dtype=object),
    lambda rng, w: np.array([f"{row}.5" for row in range(N_ROWS)], dtype=object),
    lambda rng, w: [[w]] * N_ROWS,
    lambda rng, w: [[w], [w, w]] * (N_ROWS // 2),
    lambda rng, w: [{w: 1}] * N_ROWS,
    lambda rng, w: np.ones((N_ROWS, 2)),
    lambda rng, w: np.ones((N_ROWS, 2, 2)),
    lambda rng, w: np.ones((N_ROWS, 0)),
    lambda rng, w: (np.arange(N_ROWS) % 2)[:, None],
    lambda rng, w: np.where(np.arange(N_ROWS) % 5, 1.0, np.nan),
    lambda rng, w: np.where(np.arange(N_ROWS) % 5, 1.0, np.inf),
    lambda rng, w: np.arange(N_ROWS) * 1j,
    lambda rng, w: np.arange(N_ROWS).astype("datetime64[D]"),
    lambda rng, w: np.arange(N_ROWS).astype("timedelta64[D]"),
    lambda rng, w: pd.period_range("2024-01", periods=N_ROWS, freq="M"),
    lambda rng, w: pd.Categorical([w, "other"] * (N_ROWS // 2)),
    lambda rng, w: pd.Series([w, None] * (N_ROWS // 2), index=[w] * N_ROWS, name="crp"),
    lambda rng, w: pd.Series(
        np.arange(N_ROWS) % 2, index=[f"{w} {r}" for r in range(N_ROWS)][::-1]
    ),
    lambda rng, w: pd.DataFrame({w: np.arange(N_ROWS) % 2}),
    lambda rng, w: pl.Series([w, "other"] * (N_ROWS // 2)),
    lambda rng, w: np.ma.masked_array(np.arange(N_ROWS) % 2, mask=np.arange(N_ROWS) == 3),
    lambda rng, w: torch.arange(N_ROWS) % 2,
    lambda rng, w: torch.ones(N_ROWS, requires_grad=True),
    lambda rng, w: scipy.sparse.csr_matrix(np.arange(N_ROWS)[:, None]),
    lambda rng, w: (row % 2 for row in range(N_ROWS)),
    lambda rng, w: {row % 2 for row in range(N_ROWS)},
    lambda rng, w: dict.fromkeys(range(N_ROWS), w),
    lambda rng, w: np.array([10**400, 1] * (N_ROWS // 2), dtype=object),
    lambda rng, w: np.array([(w, 1)] * N_ROWS, dtype=[("a", "U20"), ("b", int)]),
    lambda rng, w: np.asarray([w, "other"] * (N_ROWS // 2), dtype=bytes),
    lambda rng, w: [True, False] * (N_ROWS // 2),
    lambda rng, w: [True, w] * (N_ROWS // 2),
    lambda rng, w: 3,
)
"""What may stand for y."""

GROUPS: tuple[Callable[[Rng, str], Any], ...] = (
    lambda rng, w: [w] * N_ROWS,
    lambda rng, w: [f"{w} {row % 6}" for row in range(N_ROWS)],
    lambda rng, w: [w, None] * (N_ROWS // 2),
    lambda rng, w: [w, 3] * (N_ROWS // 2),
    lambda rng, w: [[w], [w, w]] * (N_ROWS // 2),
    lambda rng, w: np.arange(3),
    lambda rng, w: np.zeros((N_ROWS, 2)),
    lambda rng, w: w,
    lambda rng, w: {w: 1},
    lambda rng, w: np.full(N_ROWS, np.nan),
    lambda rng, w: np.ma.masked_array(np.arange(N_ROWS), mask=np.arange(N_ROWS) == 3),
    lambda rng, w: pd.Series([f"{w} {r}" for r in range(N_ROWS)], index=range(N_ROWS)[::-1]),
    lambda rng, w: pd.DataFrame({w: np.arange(N_ROWS)}),
    lambda rng, w: pd.Categorical([w] * N_ROWS),
    lambda rng, w: (row for row in range(N_ROWS)),
    lambda rng, w: np.arange(N_ROWS).astype("datetime64[D]"),
)
"""What may stand for groups."""

WEIGHTS: tuple[Callable[[Rng, str], Any], ...] = (
    lambda rng, w: np.zeros(N_ROWS),
    lambda rng, w: -np.ones(N_ROWS),
    lambda rng, w: np.where(np.arange(N_ROWS) % 5, 1.0, np.nan),
    lambda rng, w: np.ones(3),
    lambda rng, w: np.ones((N_ROWS, 2)),
    lambda rng, w: [w] * N_ROWS,
    lambda rng, w: ["1.0"] * N_ROWS,
    lambda rng, w: [[1.0], [1.0, 2.0]] * (N_ROWS // 2),
    lambda rng, w: {w: 1.0},
    lambda rng, w: w,
    lambda rng, w: 2.5,
    lambda rng, w: np.ones(N_ROWS) * 1j,
    lambda rng, w: np.ones(N_ROWS).astype("timedelta64[s]"),
    lambda rng, w: np.ma.masked_array(np.ones(N_ROWS), mask=np.arange(N_ROWS) == 3),
    lambda rng, w: np.eye(1, N_ROWS)[0],
    lambda rng, w: np.full(N_ROWS, 1e308),
    lambda rng, w: np.full(N_ROWS, 1e-320),
    lambda rng, w: pd.Series(np.ones(N_ROWS), index=[w] * N_ROWS),
    lambda rng, w: torch.ones(N_ROWS),
    lambda rng, w: (1.0 for _ in range(N_ROWS)),
)
"""What may stand for weights."""
