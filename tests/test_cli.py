"""The command line: tables in, models and pages out, and errors in one line."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import polars
import pytest
from PIL import Image

import asfusion
from asfusion._tables import read_table, write_table
from asfusion._version import __version__
from asfusion.cli import commands
from asfusion.cli.commands import main
from asfusion.evaluation.report import Report, evaluate
from asfusion.exceptions import AsfusionWarning, ConfigurationError
from asfusion.persistence import load
from asfusion.targets._tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")


def patients(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    crp = rng.gamma(2.0, 4.0, n)
    return pd.DataFrame(
        {
            "patient": np.repeat(np.arange(n // 2), 2),
            "crp": np.where(rng.random(n) < 0.1, np.nan, crp.round(1)),
            "sex": rng.choice(["female", "male"], n),
            "note": [f"Stiff for {int(c * 5)} minutes in the morning." for c in crp],
            "flare": np.where(crp + rng.normal(0, 2, n) > 8, "yes", "no"),
            "basdai": (2 + 0.3 * crp).round(2),
        }
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    patients().to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path / "patients.csv"


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether enough was learned is asked where networks are tested."""
    monkeypatch.setattr("asfusion.estimators._joint._EPOCHS", 3)


FIT = ["--target", "flare", "--group", "patient", "--drop", "basdai"]
EARLY = ["--family", "early"]  # what these tests are about it does, too, and sooner


def test_fit_predict_info(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *EARLY, str(file), *FIT, "--out", "models/m.asf"]) == 0
    assert "Fitted on all 40 rows" in capsys.readouterr().out
    assert main(["predict", "models/m.asf", str(file), "--keep", "patient", "--out", "p.csv"]) == 0
    made = pd.read_csv("p.csv")
    assert made.columns.tolist() == [
        *("patient", "row", "predicted", "probability_no", "probability_yes")
    ]
    assert made["row"].tolist() == list(range(1, 41))
    model = load("models/m.asf")
    expected = model.predict_proba(polars.read_csv(file).select(model.feature_names_in_))
    np.testing.assert_allclose(made[["probability_no", "probability_yes"]], expected, atol=1e-12)
    capsys.readouterr()
    assert main(["info", "models/m.asf"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("EarlyFusionClassifier")
    assert "'crp', 'sex'" in told
    assert "'no', 'yes'" in told


HARMFUL = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\ufeff=1",
    "\uff1d1",
]
HARMLESS = ["-1.5", "+3", "1e-3", "+", "--", "a=1", "", "'=1", "no uveitis"]


@pytest.mark.parametrize("cell", HARMFUL)
def test_a_text_is_no_formula_of_a_spreadsheet(tmp_path: Path, cell: str) -> None:
    table = polars.DataFrame({cell: [cell, None], "n": [-1.5, 2.0]})
    write_table(table, tmp_path / "t.csv")
    made = polars.read_csv(tmp_path / "t.csv")
    assert made.columns == [f"'{cell}", "n"] and made["n"].to_list() == [-1.5, 2.0]
    assert made[f"'{cell}"].to_list() == [f"'{cell}", None]
    write_table(table, tmp_path / "raw.csv", raw=True)
    assert polars.read_csv(tmp_path / "raw.csv").to_series(0).to_list() == [cell, None]
    kinds = table.select(polars.first().cast(polars.Categorical))
    write_table(kinds, tmp_path / "t.csv")
    assert polars.read_csv(tmp_path / "t.csv").item(0, 0) == f"'{cell}"
    write_table(table, tmp_path / "t.parquet")
    assert polars.read_parquet(tmp_path / "t.parquet").equals(table)


def test_numbers_and_words_stay_as_they_are(tmp_path: Path) -> None:
    table = polars.DataFrame({name or "empty": [name, "x"] for name in HARMLESS})
    write_table(table, tmp_path / "t.csv")
    made = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    assert made.to_dict("list") == table.to_dict(as_series=False)
    write_table(polars.DataFrame({"=1": [1], "'=1": [2]}), tmp_path / "t.csv")
    assert polars.read_csv(tmp_path / "t.csv").columns == ["'=1", "''=1"]


def test_predictions_hold_no_formula_unless_asked(file: Path) -> None:
    rows = patients().assign(site="=1+1", patient=-patients()["patient"])
    rows.to_csv(file, index=False)
    assert main(["fit", *EARLY, str(file), *FIT, "site"]) == 0
    predict = ["predict", "model.asf", str(file), "--keep", "patient", "site"]
    assert main(predict) == 0
    made = pd.read_csv("predictions.csv")
    assert set(made["site"]) == {"'=1+1"} and made["patient"].tolist() == rows["patient"].tolist()
    assert main([*predict, "--raw-cells"]) == 0
    assert set(pd.read_csv("predictions.csv")["site"]) == {"=1+1"}


@pytest.mark.parametrize("family", ["early", "late"])
def test_codes_stay_codes_where_the_new_rows_have_only_numbers(file: Path, family: str) -> None:
    table = patients().assign(ward=["01", "2", "A", "B"] * 10)
    table.to_csv(file, index=False)
    fit = ["fit", str(file), *FIT, "--family", family, "--estimator", "logistic"]
    assert main([*fit, "--out", "m.asf"]) == 0
    new = table[table["ward"].isin(["01", "2"])].drop(columns="flare")
    new.to_csv("new.csv", index=False)
    assert main(["predict", "m.asf", "new.csv", "--out", "p.csv"]) == 0
    made = pd.read_csv("p.csv")["probability_yes"]
    expected = load("m.asf").predict_proba(new.drop(columns=["patient", "basdai"]))[:, 1]
    np.testing.assert_allclose(made, expected, atol=1e-12)
    new.drop(columns="ward").assign(ward="").to_csv("empty.csv", index=False)
    assert main(["predict", "m.asf", "empty.csv", "--out", "p.csv"]) == 0


def test_what_a_wrapped_model_reads_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = patients()[["crp", "sex", "flare"]]
    inner = asfusion.EarlyFusionClassifier(verbose=0, random_state=0)
    asfusion.RecalibratedClassifier(inner, cv=2).fit(table[["crp", "sex"]], table["flare"]).save(
        "m.asf"
    )
    assert main(["info", "m.asf"]) == 0
    assert "'crp', 'sex'" in capsys.readouterr().out
    assert main(["predict", "m.asf", str(file), "--out", "p.csv"]) == 0


# -- what is predicted ---------------------------------------------------------------------


def every_target() -> pd.DataFrame:
    """Return rows of `patients` with a target of each kind, none of them called after another."""
    rng = np.random.default_rng(1)
    rows = patients(60)[["patient", "crp", "sex"]]
    signal = rows["crp"].fillna(8.0).to_numpy() / 8.0
    own, end = rng.exponential(3.0 / signal), rng.exponential(3.0, 60)
    place = np.clip(signal, 0, 2).astype(int)
    return rows.assign(
        progressed=own < end,
        years=np.minimum(own, end).round(3) + 0.001,
        severity=np.array(["none", "mild", "grave"])[place],
        mny=place,
        uveitis=(rng.normal(signal, 0.5) > 1).astype(int),
        psoriasis=rng.choice([1.0, 0.0, np.nan], 60),
        flares=rng.poisson(signal),
        basfi=np.clip(rng.normal(3 * signal, 1.0), 0, 10).round(1),
    )


KINDS = {
    "Survival": (["--event", "progressed", "--time", "years"], ["risk", "median"]),
    "grades": (
        ["--target", "severity", "--ordered", "none,mild,grave"],
        ["predicted", "probability_none", "probability_mild", "probability_grave"],
    ),
    "grades of numbers": (
        ["--target", "mny", "--task", "grades", "--ordered", "2, 1, 0"],
        ["predicted", "probability_2", "probability_1", "probability_0"],
    ),
    "Multilabel": (
        ["--targets", "uveitis,psoriasis"],
        ["probability_uveitis", "probability_psoriasis"],
    ),
    "labels one by one": (
        ["--target", "psoriasis", "--target", "uveitis", "--task", "labels"],
        ["probability_psoriasis", "probability_uveitis"],
    ),
    "counts": (["--target", "flares", "--task", "counts"], ["predicted"]),
    "bounded": (["--target", "basfi", "--bounds", "0,10"], ["predicted"]),
    "numbers": (["--targets", "basfi,crp", "--task", "regression"], ["predicted_1", "predicted_2"]),
}


def asked_for(words: list[str]) -> set[str]:
    """Return the columns that options name as targets."""
    return {name for word in words for name in word.split(",") if name in every_target()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_is_fitted_and_predicted(
    kind: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, columns = KINDS[kind]
    table = every_target().fillna({"crp": 8.0})
    others = set(table) - asked_for(words) - {"patient", "crp", "sex"}
    table.to_csv(file, index=False)
    assert (
        main(["fit", *EARLY, "patients.csv", *words, "--group", "patient", "--drop", *others]) == 0
    )
    model = load("model.asf")
    assert set(model.feature_names_in_) == {"crp", "sex"} - asked_for(words)
    assert kind in type(model).__name__ or type(model.target_).__name__.lower() in kind
    assert main(["info", "model.asf"]) == 0
    assert str(model.target_) in capsys.readouterr().out
    assert main(["predict", "model.asf", "patients.csv"]) == 0
    made = pd.read_csv("predictions.csv")
    assert made.columns.tolist() == ["row", *columns]
    method = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    expected = method(polars.read_csv(file).select(model.feature_names_in_)).reshape(60, -1)
    own = [name for name in columns if name not in ("predicted", "median")] or ["predicted"]
    np.testing.assert_allclose(made[own], expected, atol=1e-12)


def test_survival_is_told_at_times(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["patients.csv", "--event", "progressed", "--time", "years", "--group", "patient"]
    table = every_target()[["patient", "crp", "sex", "progressed", "years"]]
    table.assign(progressed_late=table["crp"] > 9).to_csv(file, index=False)
    held_out = ["--test-share", "0.4", "--report", "r.html"]
    with pytest.warns(AsfusionWarning, match="'progressed_late' .it is named after the target"):
        assert main(["fit", *words, *held_out, "--estimator", "logistic"]) == 0
    assert "Harrell" in capsys.readouterr().out and "<html" in Path("r.html").read_text()
    assert main(["predict", "model.asf", "patients.csv", "--times", "0.5,1"]) == 0
    made, model = pd.read_csv("predictions.csv"), load("model.asf")
    assert made.columns.tolist() == ["row", "risk", "median", "survival_0.5", "survival_1"]
    X = table[["crp", "sex"]]
    curves = model.predict_survival_function(X.assign(progressed_late=False), [0.5, 1.0])
    np.testing.assert_allclose(made[["survival_0.5", "survival_1"]], curves, atol=1e-12)
    median = model.predict_median(X.assign(progressed_late=False))
    np.testing.assert_allclose(made["median"], np.where(np.isinf(median), np.nan, median))
    assert main(["predict", "model.asf", "patients.csv", "--times", "99"]) == 1
    assert "Nothing is known beyond it" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["Survival", "Multilabel"])
def test_several_columns_are_looked_at_and_compared(
    kind: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, _ = KINDS[kind]
    names = sorted(asked_for(words))
    table = every_target()[["patient", "crp", "sex", *names]]
    table = table.assign(note=patients(60)["note"], copied=table[names[0]])
    lost = table.astype(object)
    lost.loc[3, names] = None
    lost.to_csv(file, index=False)
    rows = ["patients.csv", *words, "--group", "patient"]
    assert main(["look", *rows, "--no-duplicates"]) == 0
    told = capsys.readouterr().out
    assert f"target {', '.join(sorted(names, key=' '.join(words).find))}" in told
    assert re.search(r"^copied +determines ", told, re.M)
    # Of a time to an event there is one line, not one for each of its columns.
    assert ("the time to the event" in told) == (kind == "Survival")
    assert not re.search(rf"^{names[0]} ", told, re.M)
    table.to_csv(file, index=False)
    options = ["--drop", "copied", "--families", "early", "--folds", "2"]
    assert main(["compare", *rows, *options, "--estimators", "logistic"]) == 0
    assert "early: logistic" in capsys.readouterr().out


def test_grades_of_an_enum_have_their_order(file: Path) -> None:
    order = ["none", "mild", "grave"]
    table = polars.from_dicts(every_target()[["crp", "severity"]].to_dict("records"))
    table.with_columns(polars.col("severity").cast(polars.Enum(order))).write_parquet("p.parquet")
    assert main(["fit", *EARLY, "p.parquet", "--target", "severity"]) == 0
    assert load("model.asf").classes_.tolist() == order


def test_names_are_no_patterns(file: Path) -> None:
    """To polars "^c.*$" stands for every column that begins with c, and "*" for all."""
    table = every_target()[["patient", "crp", "sex", "uveitis"]]
    table = table.rename(columns={"uveitis": "^c.*$", "sex": "*", "patient": "^.*$"})
    table.to_csv(file, index=False)
    words = ["patients.csv", "--target", "^c.*$", "--group", "^.*$"]
    assert main(["fit", *EARLY, *words]) == 0
    assert load("model.asf").feature_names_in_.tolist() == ["crp", "*"]
    assert main(["predict", "model.asf", "patients.csv", "--keep", "^.*$"]) == 0
    assert pd.read_csv("predictions.csv").columns[:2].tolist() == ["^.*$", "row"]


def test_a_comma_may_belong_to_a_name(file: Path) -> None:
    table = every_target()[["crp", "sex", "flares"]].rename(columns={"flares": "flares, year"})
    table.to_csv(file, index=False)
    assert (
        main(["fit", *EARLY, "patients.csv", "--target", "flares, year", "--task", "counts"]) == 0
    )
    assert "flares, year" not in load("model.asf").feature_names_in_


USAGE = {
    "no target": (["fit", "p.csv"], "one of the arguments --target/--targets --event is required"),
    "two targets": (["fit", "p.csv", "--target", "a", "--event", "b"], "not allowed with"),
    "one bound": (["fit", "p.csv", "--target", "a", "--bounds", "10"], "lowest and the highest"),
    "no bounds": (["fit", "p.csv", "--target", "a", "--bounds", "a,b"], "numbers with commas"),
    "a grade twice": (["fit", "p.csv", "--target", "a", "--ordered", "b,b"], "different words"),
    "no grade": (["fit", "p.csv", "--target", "a", "--ordered", "b,,c"], "different words"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = USAGE[name]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert told in capsys.readouterr().err


# -- tables --------------------------------------------------------------------------------


def test_table_without_the_target_can_be_predicted(file: Path) -> None:
    assert main(["fit", *EARLY, str(file), *FIT]) == 0
    patients().drop(columns=["flare", "basdai", "patient"]).to_parquet("new.parquet")
    assert main(["predict", "model.asf", "new.parquet", "--out", "p.parquet"]) == 0
    assert len(polars.read_parquet("p.parquet")) == 40


@pytest.mark.parametrize(
    "choice",
    [
        ["--family", "early", "--estimator", "forest"],
        ["--family", "early", "--estimator", "logistic"],
        ["--family", "late", "--combine", "product", "--estimator", "xgboost"],
        ["--family", "late", "--estimator", "adaboost"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", ["flare", "basdai"])
def test_families_and_estimators(
    file: Path, choice: list[str], target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "basdai" if target == "flare" else "flare"
    words = ["fit", str(file), "--target", target, "--group", "patient", "--drop", other, "note"]
    if target == "basdai" and "product" in choice:
        choice = [word if word != "product" else "mean" for word in choice]
    assert main([*words, *choice, "--test-share", "0.3", "--report", "pages/r.html"]) == 0
    told = capsys.readouterr().out
    assert "judged on the other" in told
    assert "<html" in Path("pages/r.html").read_text()
    kind = type(load("model.asf")).__name__
    assert kind.endswith("Classifier" if target == "flare" else "Regressor")
    assert kind.lower().startswith(choice[1])


def test_families_that_are_not_asked_for(file: Path) -> None:
    for words, family in (
        ([], "AutoFusionClassifier"),
        (["--estimator", "forest"], "EarlyFusionClassifier"),
        (["--family", "late", "--estimator", "forest"], "LateFusionClassifier"),
    ):
        asked = commands._parser().parse_args(["fit", str(file), *FIT, *words])
        assert type(commands._make_model(asked, commands.read_rows(asked))).__name__ == family


def test_families_are_compared_without_being_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def plan(data: object, families: object, *rest: object) -> None:
        asked["families"] = families
        raise ConfigurationError("seen")

    monkeypatch.setattr("asfusion.comparison.comparer._plan", plan)
    assert main(["compare", str(file), *FIT]) == 1
    assert asked["families"] == ["early", "joint", "late"]


def test_no_patient_is_on_both_sides(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asfusion.cli.commands import _hold_out

    groups = patients()["patient"].to_numpy()
    train, test = _hold_out(patients()["flare"].to_numpy(), groups, 0.3, 0)
    assert not set(groups[train]) & set(groups[test])
    assert len(train) + len(test) == 40


def test_compare(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--families", "early", "late", "--folds", "2", "--estimators", "logistic"]
    assert main(["compare", str(file), *FIT, *words, "--out", "board.html"]) == 0
    assert "late: mean, logistic" in capsys.readouterr().out
    assert "<html" in Path("board.html").read_text()


def test_modalities_can_vote(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = ["--family", "late", "--combine", "vote", "--estimator", "logistic"]
    assert main(["fit", str(file), *FIT, *late]) == 0
    model = load("model.asf")
    votes = model.predict_proba(polars.read_csv(file).select(model.feature_names_in_))
    assert model.combine == "vote"
    nearest = np.abs(votes[:, :1] - np.array([0.0, 0.5, 1.0])).min(axis=1)
    assert nearest.max() < 0.1  # no vote of two, one, or both; the mean breaks ties
    words = ["--families", "late", "--combines", "vote", "--folds", "2"]
    assert main(["compare", str(file), *FIT, *words]) == 0
    assert "late: vote" in capsys.readouterr().out
    rows = ["fit", str(file), "--target", "basdai", "--drop", "flare", *late]
    assert main(rows) == 1
    assert "vote" in capsys.readouterr().err


def test_image_paths_are_relative_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    (folder / "films").mkdir(parents=True)
    rows = patients(20)
    for i in range(20):
        grey = np.full((40, 40), 10 * i, dtype=np.uint8)
        Image.fromarray(grey).save(folder / "films" / f"{i}.png")
    rows["film"] = [f"films/{i}.png" for i in range(20)]
    rows.loc[3, "film"] = None
    rows.to_csv(folder / "patients.csv", index=False)
    monkeypatch.chdir(tmp_path)
    words = ["fit", *EARLY, "study/patients.csv", *FIT, "note"]
    assert main(words) == 0
    assert main(["predict", "model.asf", "study/patients.csv"]) == 0


def test_paths_may_start_elsewhere(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "archive").mkdir()
    table = patients(20)[["crp", "flare"]].assign(film=[f"{i}.png" for i in range(20)])
    for i in range(20):
        grey = np.full((40, 40), 10 * i, dtype=np.uint8)
        Image.fromarray(grey).save(file.parent / "archive" / f"{i}.png")
    table.to_csv(file, index=False)
    words = ["patients.csv", "--root", "archive"]
    assert main(["fit", *EARLY, *words, "--target", "flare"]) == 0
    assert main(["predict", "model.asf", *words]) == 0
    assert main(["fit", "patients.csv", "--target", "flare", "--root", "nowhere"]) == 1
    assert "--root: expected a folder, got none at nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_fix_of_a_film_is_an_option_of_the_command_line(
    harm: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = patients(20)[["crp", "flare"]].assign(film=[f"{i}.png" for i in range(20)])
    for i in range(20):
        Image.fromarray(np.full((40, 40), 10 * i, dtype=np.uint8)).save(f"{i}.png")
    table.to_csv(file, index=False)
    assert main(["fit", *EARLY, "patients.csv", "--target", "flare"]) == 0
    Path("7.png").unlink() if harm == "missing" else Path("7.png").write_bytes(b"no image")
    capsys.readouterr()
    for words in (
        ["fit", "patients.csv", "--target", "flare"],
        ["predict", "model.asf", str(file)],
    ):
        assert main(words) == 1
        error = capsys.readouterr().err
        assert "'film', row 7" in error and "\n" not in error.strip()
        assert "on_error" not in error and "root=" not in error
        assert error.endswith("count what cannot be read as missing with --on-error.\n")


def test_series_and_volumes_are_relative_to_the_table_too(tmp_path: Path) -> None:
    (tmp_path / "mri" / "p1").mkdir(parents=True)
    table = polars.DataFrame(
        {"mri": ["mri/p1"], "ct": ["ct/p1.nii.gz"], "site": ["mri"], "ratio": ["1/2"]}
    )
    table.write_csv(tmp_path / "patients.csv")
    [row] = read_table(tmp_path / "patients.csv").to_dicts()
    assert row["mri"] == str(tmp_path / "mri/p1") and row["ct"] == str(tmp_path / "ct/p1.nii.gz")
    assert (row["site"], row["ratio"]) == ("mri", "1/2")


@pytest.mark.parametrize(
    "note", ["No trauma. " * 60 + "Better at rest/with NSAIDs.", "a/b\0c", "yes/no", "../x"]
)
def test_notes_are_no_folders(file: Path, note: str) -> None:
    table = patients().assign(note=note)
    table.to_csv(file, index=False)
    assert read_table(file)["note"].to_list() == [note] * len(table)


def test_demo_leaves_something_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polars.from_pandas", None)  # needs pyarrow, which `make demo` lacks
    monkeypatch.setattr("asfusion.selection._base._ENOUGH", {"late mean": 0, "early linear": 0})
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--rows", "40", "--out", "out"]) == 0
    made = {
        "images",
        "radiographs.png",
        "patients.csv",
        "model.asf",
        "report.html",
        "comparison.html",
    }
    assert {file.name for file in Path("out").iterdir()} == made | {"predictions.csv"}
    assert "data:image/svg+xml" in Path("out/report.html").read_text()
    assert not Path(pd.read_csv("out/patients.csv")["pelvis_xray"].dropna().iloc[0]).is_absolute()


def test_demo_replaces_only_a_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "expected a new or empty folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.docx").read_text() == "mine"


def test_info_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert capsys.readouterr().out.startswith("asfusion ")


ERRORS = {
    "no such file": (["fit", "none.csv", *FIT], "expected a file, got none"),
    "another kind": (["fit", "x.xlsx", *FIT], "expected a file named"),
    "wrong target": (["fit", "patients.csv", "--target", "flair"], "Did you mean 'flare'"),
    "wrong group": (
        ["fit", "patients.csv", "--target", "flare", "--group", "pat"],
        "Expected a column 'pat'",
    ),
    "unlabelled": (["fit", "gaps.csv", *FIT], "expected rows with 'flare', got none"),
    "no such column": (
        ["fit", "patients.csv", *FIT, "--columns", "crpp"],
        "--columns: expected the column 'crpp'",
    ),
    "nothing to keep": (
        ["fit", "patients.csv", *FIT, *EARLY, "--checkpoint", "kept"],
        "--checkpoint: expected the family 'auto', 'joint' beside it, got 'early'",
    ),
    "quantised by nothing": (
        ["export", "m.asf", "--quantize", "static"],
        "--data: expected a table",
    ),
    "no rows": (["fit", "empty.csv", *FIT], "expected at least one row"),
    "not a table": (["fit", "broken.parquet", *FIT], "expected Parquet"),
    "not a model": (["predict", "patients.csv", "patients.csv"], "load: "),
    "share": (["fit", "patients.csv", *FIT, "--test-share", "1.5"], "between 0 and 1"),
    "page of nothing": (["fit", "patients.csv", *FIT, "--report", "r.html"], "--test-share"),
    "joint estimator": (
        ["fit", "patients.csv", *FIT, "--family", "joint", "--estimator", "forest"],
        "expected the family 'early' or 'late'",
    ),
    "infinite": (["fit", "infinite.csv", *FIT], "expected finite numbers"),
    "head of early fusion": (
        ["fit", "patients.csv", *FIT, *EARLY, "--fusion", "gated"],
        "--fusion: expected the family 'joint' beside it, got 'early'",
    ),
    "combination of joint fusion": (
        ["fit", "patients.csv", *FIT, "--family", "joint", "--combine", "vote"],
        "--combine: expected the family 'late' beside it, got 'joint'",
    ),
    "target as patient": (
        ["fit", "patients.csv", "--target", "flare", "--group", "flare"],
        "--group: expected another column than the target",
    ),
    "label as patient": (
        ["fit", "patients.csv", "--targets", "flare,sex", "--group", "sex"],
        "--group: expected another column than the target, got 'sex' for both",
    ),
    "target twice": (["fit", "patients.csv", "--targets", "crp,crp"], "each column once"),
    "event alone": (["fit", "patients.csv", "--event", "flare"], "--event: expected --time"),
    "time alone": (
        ["look", "patients.csv", "--target", "flare", "--time", "crp"],
        "--time: expected --event",
    ),
    "no event": (
        ["fit", "patients.csv", "--event", "sex", "--time", "basdai"],
        "expected event to be true or false",
    ),
    "times of one column": (
        ["fit", "patients.csv", *FIT, "--task", "survival"],
        "got Series. Name both columns: --event and --time.",
    ),
    "grades without an order": (
        ["fit", "patients.csv", *FIT, "--task", "grades"],
        "text without one. Name them, the lowest first: --ordered none,mild,severe.",
    ),
    "other grades": (
        ["fit", "patients.csv", *FIT, "--ordered", "yes,maybe"],
        "got others in 24 row(s)",
    ),
    "grades of another type": (
        ["fit", "patients.csv", "--target", "patient", "--ordered", "none,mild"],
        "--ordered: expected grades as they stand in 'patient', which holds Int64",
    ),
    "grades that are classes": (
        ["fit", "patients.csv", *FIT, "--task", "classification", "--ordered", "no,yes"],
        "--ordered: expected --task grades beside it, or no other word, got 'classification'",
    ),
    "grades with bounds": (
        ["fit", "patients.csv", *FIT, "--bounds", "0,1", "--ordered", "no,yes"],
        "--bounds: expected --task bounded beside it, or no other word, got 'grades'",
    ),
    "boosting by weights of times": (
        [
            "compare",
            "patients.csv",
            "--event",
            "event",
            "--time",
            "basdai",
            "--estimators",
            "adaboost",
        ],
        "Model: expected one of 'boosted', 'forest', 'xgboost' for Survival, got 'adaboost'",
    ),
    "semicolons": (["fit", "semicolons.csv", *FIT], "got columns between ';'"),
    "semicolons alone": (["fit", "plain.csv", *FIT], "got columns between ';'"),
    "latin": (["fit", "latin.csv", *FIT], "got bytes of another encoding"),
    "nothing": (["fit", "nothing.csv", *FIT], "got an empty file"),
    "ragged": (["fit", "ragged.csv", *FIT], "got a file that fails with"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_is_one_line_without_a_traceback(
    name: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = patients().assign(event=1) if name.startswith("boosting") else patients()
    rows.to_csv("patients.csv", index=False)
    rows.assign(flare="").to_csv("gaps.csv", index=False)
    rows[:0].to_csv("empty.csv", index=False)
    rows.assign(crp=[np.inf, *rows["crp"][1:]]).to_csv("infinite.csv", index=False)
    Path("broken.parquet").write_bytes(b"PAR1 not really")
    rows.assign(note="stiff, sore").to_csv("semicolons.csv", index=False, sep=";", decimal=",")
    rows.to_csv("plain.csv", index=False, sep=";")
    rows.assign(note="Übel").to_csv("latin.csv", index=False, encoding="latin-1")
    Path("nothing.csv").write_bytes(b"")
    Path("ragged.csv").write_text("a,b\n1,2,3\n")
    words, told = ERRORS[name]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith(f"asfusion {words[0]}: ")
    assert "Traceback" not in error


def test_rows_without_a_label_are_left_out_with_a_word(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = patients()
    rows.assign(flare=["", "", *rows["flare"][2:]]).to_csv("gaps.csv", index=False)
    words = ["--columns", "crp", "sex", "--out"]
    assert main(["fit", *EARLY, "gaps.csv", *FIT, *words, "gaps.asf"]) == 0
    told = capsys.readouterr()
    assert "fit: 2 of 40 rows have no 'flare' and are left out." in told.err
    assert "Fitted on all 38 rows" in told.out
    rows[2:].to_csv("rest.csv", index=False)
    assert main(["fit", *EARLY, "rest.csv", *FIT, *words, "rest.asf"]) == 0
    said = [load(name).predict_proba(rows[["crp", "sex"]]) for name in ("gaps.asf", "rest.asf")]
    np.testing.assert_array_equal(*said)


def test_a_saved_model_is_judged_explained_and_exported(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *EARLY, str(file), *FIT, "--columns", "crp", "note"]) == 0
    judged = ["evaluate", "model.asf", str(file), "--target", "flare", "--group", "patient"]
    assert main([*judged, "--subgroups", "sex", "--out", "r.html", "--json", "r.json"]) == 0
    assert "40 rows of 20 patients" in capsys.readouterr().out
    report = Report.from_json(Path("r.json").read_text())
    X = polars.read_csv(file)
    model = load("model.asf")
    expected = evaluate(model, X.select(model.feature_names_in_), X["flare"], groups=X["patient"])
    assert report.scores == expected.scores
    assert report.subgroups is not None and "sex" in Path("r.html").read_text()
    assert main(["explain", "model.asf", str(file), "--rows", "1,41"]) == 1
    assert "--rows: expected numbers up to 40, got 41" in capsys.readouterr().err
    asked = ["explain", "model.asf", str(file), "--rows", "2,40", "--unit", "crp=mg/L"]
    assert main([*asked, "--background", str(file), "--out", "e.html"]) == 0
    assert "rows 2, 40 of the table, in this order" in capsys.readouterr().out
    assert "Row 1" in Path("e.html").read_text()
    assert main(["export", "model.asf", "--data", str(file), "--out", "m.onnx"]) == 0
    onnx = asfusion.serving.OnnxModel("m.onnx")
    X = X.select(model.feature_names_in_)
    np.testing.assert_allclose(onnx.predict_proba(X), model.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_films_that_cannot_be_read_are_missing_where_asked(
    command: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = patients().drop(columns=["note", "basdai"]).assign(film="film.png")
    rows.loc[0, "film"] = "none.png"
    Image.fromarray(np.zeros((24, 24), dtype=np.uint8)).save("film.png")
    rows.to_csv("films.csv", index=False)
    given = [command, "films.csv", "--target", "flare", "--group", "patient"]
    given += EARLY if command == "fit" else ["--families", "early", "--folds", "2"]
    assert main(given) == 1
    assert "--on-error" in capsys.readouterr().err
    assert main([*given, "--on-error", "missing", "--out", "x.html"]) == 0
    if command == "fit":
        for words, status in (([], 0), (["--on-error", "raise"], 1)):
            assert main(["predict", "x.html", "films.csv", *words]) == status


def test_a_stopped_run_goes_on_from_its_checkpoint(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["compare", str(file), *FIT, "--families", "early", "--folds", "2"]
    words += ["--checkpoint", "kept"]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("asfusion.comparison.comparer.make_board", stop)
        assert main(words) == 130
    assert "stopped. The same command goes on from what is in kept." in capsys.readouterr().err
    assert main(words) == 0
    assert "10 of 10 fits are there already" in capsys.readouterr().out


def test_errors_of_prediction(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *EARLY, str(file), *FIT, "note"]) == 0
    assert main(["predict", "model.asf", str(file), "--times", "1"]) == 1
    assert "times to an event, got EarlyFusionClassifier" in capsys.readouterr().err
    assert main(["predict", "model.asf", str(file), "--keep", "patiant"]) == 1
    assert "Did you mean 'patient'" in capsys.readouterr().err
    patients().rename(columns={"crp": "CRP"}).to_csv("renamed.csv", index=False)
    assert main(["predict", "model.asf", "renamed.csv"]) == 1
    assert "expected the column 'crp'" in capsys.readouterr().err
    patients().assign(row=1).to_csv("row.csv", index=False)
    assert main(["predict", "model.asf", "row.csv", "--keep", "row"]) == 1
    assert "expected columns other than 'row'" in capsys.readouterr().err
    assert main(["predict", "model.asf", str(file), "--out", "p.txt"]) == 1
    assert "expected a file named '.csv' or '.parquet'" in capsys.readouterr().err


def test_error_quotes_no_cell(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.csv").write_bytes(b"crp,flare\n1,yes\n\xff\xfesecret,no,more,cells\n")
    assert main(["fit", "bad.csv", "--target", "flare"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_reader_that_goes_away_is_no_error(file: Path) -> None:
    """As in ``asfusion info | head -1``: nothing is printed about a pipe."""
    run = subprocess.run(
        f"{sys.executable} -m asfusion info | head -c 1",
        shell=True, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert run.stdout == "a"
    assert run.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another signal for it.")
def test_interrupt_is_one_line(file: Path) -> None:
    """Ctrl-C in the middle of the work, which begins when the encoders are told."""
    words = ["compare", "patients.csv", *FIT, "--folds", "5", "--repeats", "50"]
    run = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "asfusion.cli.commands", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    with run:
        assert run.stdout is not None and "encoders" in run.stdout.readline()
        error = None
        while error is None:  # one that meets a callback of another library is lost there
            run.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, error = run.communicate(timeout=30)
    assert run.returncode == 130
    assert error.endswith("asfusion compare: stopped.\n")


def test_choices_are_those_of_the_library() -> None:
    from asfusion.comparison.comparer import _FAMILIES, Task
    from asfusion.estimators.late import _COMBINE

    assert set(commands._COMBINES) == set(_COMBINE)
    assert {"early", "joint", "late"} <= set(_FAMILIES) <= set(commands._FAMILIES)
    assert get_args(Task) == TASKS
    assert {"survival", "grades", "labels", "counts", "bounded"} < set(TASKS)


HEAD = """
import torch
from torch import nn

from asfusion.fusion._base import Fusion


class Sum(Fusion):
    def make_layers(self, dims):
        self.layers = nn.ModuleDict({name: nn.Linear(d, self.d_out) for name, d in dims.items()})

    def fuse(self, tokens):
        parts = [self.layers[name](modality.pool()) for name, modality in tokens.items()]
        return torch.stack(parts).sum(dim=0)
"""


def test_new_head_is_a_choice_of_the_command_line(file: Path, tmp_path: Path) -> None:
    """A file and a line in the stub: nothing else of the package is edited."""
    package = tmp_path / "site" / "asfusion"
    shutil.copytree(ROOT / "asfusion", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "fusion" / "sum.py").write_text(HEAD)
    with (package / "fusion" / "__init__.pyi").open("a") as stub:
        stub.write("from .sum import Sum as Sum\n")
    patients()[["crp", "sex", "flare"]].to_csv(file, index=False)
    fit = ["fit", "patients.csv", "--target", "flare", "--family", "joint", "--fusion", "sum"]
    both = f"main({fit}) or main(['predict', 'model.asf', 'patients.csv'])"
    code = (
        "from asfusion.cli.commands import main; from asfusion.estimators import _joint; "
        f"_joint._EPOCHS = 3; raise SystemExit({both})"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True, env=os.environ | {"PYTHONPATH": str(package.parent)},
    )  # fmt: skip
    assert len(pd.read_csv("predictions.csv")) == 40


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"asfusion {__version__}"
    with pytest.raises(SystemExit) as end:
        main(["fit"])
    assert end.value.code == 2


# -- serve ---------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    kept: dict[str, object] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **words: kept.update(words, app=app))
    for name in ("ASFUSION_SERVE", "OMP_NUM_THREADS", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    return kept


def test_what_serves_is_an_application_of_the_settings(
    started: dict[str, object], tmp_path: Path
) -> None:
    from starlette.testclient import TestClient

    from asfusion.serving._process import app

    X = patients()[["crp", "sex"]]
    model = asfusion.EarlyFusionClassifier(verbose=0).fit(X, patients()["flare"])
    path = model.save(tmp_path / "model.asf")
    X.to_csv(tmp_path / "rows.csv", index=False)
    told = ["serve", str(path), "--unit", "crp=mg/L", "--background", str(tmp_path / "rows.csv")]
    assert main([*told, "--max-rows", "2", "--port", "8123"]) == 0
    assert started["host"] == "127.0.0.1"
    assert started["port"] == 8123
    assert started["access_log"] is False
    with TestClient(app(), base_url="http://127.0.0.1") as client:
        told = client.post("/explain", json=[{"crp": 3.0, "sex": "male"}]).json()
        assert set(told["rows"][0]["parts"]["table"]) >= {"crp", "sex"}
        assert client.post("/predict", json=[{"crp": 3.0}] * 3).status_code == 413


def test_strangers_are_not_served_without_a_token(
    started: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 1
    assert "--token-file: expected a file with a token" in capsys.readouterr().err
    (tmp_path / "token").write_text("short")
    assert main(["serve", str(tmp_path), "--token-file", str(tmp_path / "token")]) == 1
    assert "expected at least 16 characters, got 5" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--workers", "0"]) == 1
    assert "--workers: expected at least 1" in capsys.readouterr().err
    assert not started
    with pytest.raises(SystemExit):
        main(["serve", str(tmp_path), "--unit", "crp"])


# In a process of its own, since tests open no connection.
_CLIENT = """
import http.client, sys, time
port, until = int(sys.argv[1]), time.monotonic() + 120
while time.monotonic() < until:
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=60).request("GET", "/ready")
        break
    except OSError:
        time.sleep(0.1)
client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
client.request("POST", "/predict", b'[{"crp": 2}]', {"Content-Type": "application/json"})
print(client.getresponse().status)
"""


def test_a_service_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    X = patients()[["crp", "sex"]]
    model = asfusion.EarlyFusionClassifier(verbose=0).fit(X, patients()["flare"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "asfusion.cli.commands", "serve", "--port", str(port)]
    path = model.save(tmp_path / "model.asf")
    with subprocess.Popen([*words, str(path)], stderr=subprocess.PIPE, text=True) as server:
        try:
            told = [sys.executable, "-c", _CLIENT, str(port)]
            client = subprocess.run(told, capture_output=True, text=True, check=False)
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=60)
        finally:
            server.kill()
    assert client.stdout.strip() == "200"
    assert '"event": "stopped"' in log
    assert server.returncode in (0, -signal.SIGTERM)
