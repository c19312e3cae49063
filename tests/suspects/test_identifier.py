"""Identifiers whatever their name and type, and measurements that are none."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from asfusion._frames import Frame
from asfusion.encoders.infer import column_roles
from asfusion.encoders.judged import patient_numbers
from asfusion.suspects.identifier import find_identifiers

N = 60


def found(X: Any, groups: Any = None) -> dict[str, str]:
    frame = Frame.read(X)
    numbers = patient_numbers(groups, len(frame))
    return {s.column: s.evidence for s in find_identifiers(frame, column_roles(frame), numbers)}


def codes(rng: np.random.Generator, n: int, kind: str) -> Any:
    drawn = {
        "numbering": np.arange(n),
        "shuffled": rng.permutation(n) + 17,
        "short": rng.permutation(100_000)[:n],
        "long": rng.permutation(900_000)[:n] + 10_000_000,
    }
    return drawn[kind]


@pytest.mark.parametrize("kind", ["numbering", "shuffled", "short", "long"])
@pytest.mark.parametrize("visits", [1, 3])
def test_an_identifier_in_four_dtypes_is_found(
    df_module: ModuleType, kind: str, visits: int
) -> None:
    rng = np.random.default_rng(len(kind))
    code = np.repeat(codes(rng, N, kind), visits)
    columns = {"a": code, "b": code.astype(float), "c": [f"K{c}" for c in code]}
    X = df_module.DataFrame(columns | {"d": [str(c) for c in code]})
    if df_module is pd:
        X["e"] = pd.Categorical(X["d"])
    told = found(X, code)
    assert set(told) == set(X.columns)
    assert set(told.values()) == {
        f"it has one value for each of {N} patients, and no two share one"
    }
    if visits == 1:
        assert set(found(X)) == set(X.columns)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("visits", [1, 3])
def test_measurements_identify_nobody(df_module: ModuleType, seed: int, visits: int) -> None:
    rng = np.random.default_rng(seed)
    measured = {
        "years": rng.integers(18, 90, N),
        "plt": rng.integers(150, 450, N),
        "grams": rng.normal(3300, 500, N).round(),
        "raw": rng.lognormal(8, 1, N).round(),
        "crp": rng.gamma(2, 4, N).round(1),
        "site": rng.choice(["a", "b", "c"], N),
        "film": [f"films/{i}.png" for i in range(N)],
        "born": [f"19{60 + i % 40}-0{1 + i % 9}-{1 + i % 28:02d}" for i in range(N)],
    }
    X = df_module.DataFrame({name: np.repeat(cells, visits) for name, cells in measured.items()})
    assert found(X, np.repeat(np.arange(N), visits)) == {}
    assert found(X) == {}


def test_what_changes_within_a_patient_is_none(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"row": np.arange(2 * N), "visit": [0, 1] * N})
    assert found(X, np.repeat(np.arange(N), 2)) == {
        "row": "it is named like what tells patients apart"
    }


def test_missing_cells_hide_no_identifier() -> None:
    code = np.repeat(np.arange(N), 2).astype(float)
    code[::5] = np.nan
    assert set(found(pd.DataFrame({"a": code}), np.repeat(np.arange(N), 2))) == {"a"}


def test_patients_that_stayed_in_the_table_are_found_as_they_are_written() -> None:
    names = np.repeat([str(7 * i) for i in range(N - 1)] + ["12b"], 2)
    assert set(found(pd.DataFrame({"group": names, "crp": np.arange(2 * N) / 7}), names)) == {
        "group"
    }


def test_measurements_as_text_are_told_to_be_converted() -> None:
    X = pd.DataFrame({"crp": [f"{i / 7:.3f}" for i in range(N)]})
    assert found(X) == found(X, np.arange(N)) == {}
    X["esr"] = [str(i) for i in range(N - 1)] + ["pending"]
    X["crp"] = [f"{i / 7:.3f}" for i in range(N - 1)] + ["pending"]
    assert found(X) == found(X, np.arange(N)) == {}
