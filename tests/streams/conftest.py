"""A cohort in several Parquet files, and pieces so small that it has many of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import asfusion as af

N = 600


def cohort(n: int = N, seed: int = 0) -> pl.DataFrame:
    """Return visits of 150 patients, some of whom lack a table."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, n // 4, n)
    crp, esr, bmi = rng.normal(size=(3, n)).round(2)
    sex = rng.integers(0, 3, n)
    return pl.DataFrame(
        {
            "visit": np.arange(n) + 1000,
            "patient": patient,
            "crp": [None if gone else value for gone, value in zip(esr > 1, crp, strict=True)],
            "esr": esr,
            "sex": [("f", "m", None)[number] for number in sex],
            "bmi": [
                None if who % 5 == 0 else value for who, value in zip(patient, bmi, strict=True)
            ],
            "died": (crp - bmi + rng.normal(size=n) > 0).astype(int),
            "stay": crp + 2 * esr + rng.normal(size=n),
            "grade": np.digitize(crp - bmi, [-1, 1]),
            "weight": rng.integers(0, 3, n).astype(float),
        }
    )


def encoders() -> dict[str, af.Encoder]:
    return {
        "labs": af.TabularEncoder(["crp", "esr", "sex"]),
        "body": af.TabularEncoder(["bmi"]),
    }


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    return cohort()


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory, table: pl.DataFrame) -> str:
    """Return the pattern of four files, one of them empty, of several row groups each."""
    folder: Path = tmp_path_factory.mktemp("visits")
    for number, (start, end) in enumerate([(0, 250), (250, 250), (250, 251), (251, N)]):
        part = table.slice(start, end - start)
        part.write_parquet(folder / f"part-{number}.parquet", row_group_size=100)
    return str(folder / "*.parquet")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read 37 rows at a time, and keep blocks of a few rows on disk."""
    monkeypatch.setattr("asfusion.streams.table._LEAST_ROWS", 1)
    monkeypatch.setattr("asfusion.streams.table._MOST_ROWS", 37)
    monkeypatch.setattr("asfusion.streams.spool.BLOCK_BYTES", 2048)
