"""encoders="auto": what each column is taken for, and what a user is told of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion._checks import check_modality_name
from asfusion._frames import Frame
from asfusion.encoders import infer
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.infer import column_roles, describe_encoders, infer_encoders
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.early import EarlyFusionClassifier
from asfusion.exceptions import AsfusionWarning, InputError

N = 40
PLACES = ["hip", "heel", "neck", "knee", "back", "hand", "foot"]


def _note(i: int) -> str:
    return f"Morning stiffness for {i} minutes, worse in the {PLACES[i % 7]}, better when moving."


COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "crp": ("table", [i / 7 for i in range(N)]),
    "age": ("table", [20 + i for i in range(N)]),
    "b27": ("table", [i % 2 == 0 for i in range(N)]),
    "sex": ("table", ["fm"[i % 2] for i in range(N)]),
    "city": ("table", [PLACES[i % 7] for i in range(N)]),
    "seen": ("table", [f"2024-01-{1 + i % 28:02d}" for i in range(N)]),
    "drug": ("table", [["no", "naproxen in the past only"][i % 2] for i in range(N)]),
    "xray": ("image", [f"films/{i}.PNG" for i in range(N)]),
    "film": ("image", [None] + [f"{i}.dcm" for i in range(1, N)]),
    "note": ("note", [None if i == 3 else _note(i) for i in range(N)]),
    "plan": ("note", [f"{_note(i % 3)} Continue with exercise." for i in range(N)]),
    "short": ("note", [f"worse since visit {i}" for i in range(N)]),
    "name": ("identifier", [f"Person {i}" for i in range(N)]),
    "patient_id": ("identifier", list(range(N))),
    "visit_of": ("table", [i % 4 for i in range(N)]),
    "gone": ("empty", [None] * N),
    "same": ("empty", ["x"] * N),
    "one": ("empty", [1.0] * N),
}


def _roles(columns: dict[str, Any], module: ModuleType = pd) -> dict[str, str]:
    return dict(column_roles(Frame.read(module.DataFrame(columns))))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_told_by_its_cells(df_module: ModuleType, name: str) -> None:
    role, cells = COLUMNS[name]
    assert _roles({name: cells}, df_module) == {name: role}


def test_all_together(df_module: ModuleType) -> None:
    X = df_module.DataFrame({name: cells for name, (_, cells) in COLUMNS.items()})
    encoders = infer_encoders(X)
    assert list(encoders) == ["table", "xray", "film", "note", "plan", "short"]
    assert [type(encoder) for encoder in encoders.values()] == [
        TabularEncoder,
        ImageEncoder,
        ImageEncoder,
        TextEncoder,
        TextEncoder,
        TextEncoder,
    ]
    assert encoders["table"].columns == [k for k, (role, _) in COLUMNS.items() if role == "table"]
    assert encoders["xray"].column == "xray"
    assert encoders["note"].columns == "note"


# ------------------------------------------------------------------ identifiers

DISTINCT = [105, 107, 103, 101, 111, 109]
NAMES_OF_IDENTIFIERS = [
    *("id", "ID", "patient_id", "PatientID", "patientId", "PATIENT_ID", "patientid", "Patient ID"),
    *("mrn", "MRN", "subject_id", "hadm_id", "stay_id", "study.id", "uuid", "visit-id", "id_2"),
    *("patient", "Subject", "patient_number", "case_no", "medical_record_number", "patientIDs"),
    *("hba1c_id", "accession", "StudyInstanceUID"),
]
NAMES_OF_VALUES = [
    *("platelets", "android_fat", "uric_acid", "hba1c", "steroid", "thyroid", "lipid", "valid"),
    *("covid", "patient_global", "patient_pain", "patientGlobal", "visit_number", "width", "key2x"),
    *("paid", "Acid", "RAPID3", "index_finger", "case_mix", "record_length", "rs30187", "steroids"),
]


@pytest.mark.parametrize("name", NAMES_OF_IDENTIFIERS)
def test_a_number_or_code_that_is_named_so_is_an_identifier(
    df_module: ModuleType, name: str
) -> None:
    assert _roles({name: DISTINCT}, df_module) == {name: "identifier"}
    assert _roles({name: [f"P{i % 3}" for i in range(N)]}, df_module) == {name: "identifier"}


@pytest.mark.parametrize("name", NAMES_OF_VALUES)
def test_a_measurement_is_not_an_identifier_by_a_part_of_its_name(
    df_module: ModuleType, name: str
) -> None:
    assert _roles({name: DISTINCT}, df_module) == {name: "table"}


def test_repeated_visits_do_not_hide_an_identifier(df_module: ModuleType) -> None:
    assert _roles({"patient_id": [1, 1, 2, 2, 3, None]}, df_module) == {"patient_id": "identifier"}


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "row", "case", "no", "key 1", "record"])
def test_a_numbering_is_an_identifier_as_long_as_all_differ(
    df_module: ModuleType, name: str
) -> None:
    assert _roles({name: list(range(9))}, df_module) == {name: "identifier"}
    assert _roles({name: [0, 1, 2, 2]}, df_module) == {name: "table"}


@pytest.mark.parametrize("name", ["", "__index_level_0__", "Unnamed: 0.1", "level_0"])
def test_an_index_that_was_written_into_a_file_is_no_measurement(name: str) -> None:
    assert _roles({name: [0, 3, 7, 8]}, pl) == {name: "identifier"}
    assert _roles({name: [0.5, 3.0, 7.0, 8.0]}, pl) == {name: "table"}


NUMBERS_AS_TEXT = [f"{'<' * (i % 5 == 0)}{i / 4}".replace(".", ".,"[i % 2]) for i in range(N)]


NAMED = ["crp", "rs30187", "hla_b27", "patient_id", "record 1", "level_0", "visit", "key"]
NUMBERED: dict[str, list[Any]] = {
    "fractions": [i / 7 for i in range(N)],
    "copies": [i % 3 for i in range(N)],
    "carriers": [i % 2 == 0 for i in range(N)],
    "numbering": list(range(N)),
    "long numbering": [2**60 + i for i in range(N)],
    "the same": [2.0] * N,
    "all but one": [None] + [2.0] * (N - 1),
    "both zeros": [0.0 * (-1) ** i for i in range(N)],
    "nothing": [float("nan")] * N,
    "infinite": [float("inf")] * N,
}


@pytest.mark.parametrize("cells", NUMBERED.values(), ids=NUMBERED)
def test_many_columns_are_told_as_each_is_alone(df_module: ModuleType, cells: list[Any]) -> None:
    table = df_module.DataFrame(dict.fromkeys(NAMED, cells))
    for X in (table, table.convert_dtypes() if df_module is pd else table):
        frame = Frame.read(X)
        assert column_roles(frame) == {name: infer._role(frame, name) for name in NAMED}


def test_a_table_of_numbers_is_not_told_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Frame.read(pd.DataFrame(dict.fromkeys(("crp", "rs1000"), NUMBERED["copies"])))
    monkeypatch.setattr(Frame, "strings", lambda frame, name: pytest.fail("Cells were read."))
    assert column_roles(frame) == {"crp": "table", "rs1000": "gene"}


def test_infinity_in_one_of_many_columns_is_told_by_name(df_module: ModuleType) -> None:
    columns = {"crp": NUMBERED["fractions"], "esr": [np.inf] + [1.0] * (N - 1)}
    with pytest.raises(InputError, match="'esr': expected finite numbers"):
        column_roles(Frame.read(df_module.DataFrame(columns)))


def test_numbers_as_text_are_told_as_such(df_module: ModuleType) -> None:
    X = df_module.DataFrame(
        {
            "crp": NUMBERS_AS_TEXT,
            "esr": [str(i) for i in range(N - 1)] + ["not done"],
            "patient_id": [str(i) for i in range(N)],
            "site": [f"0{i}" for i in range(N)],
            "seen": [f"{1 + i % 28}.{1 + i // 28}.2024" for i in range(N)],
            "grade": [str(i % 5) for i in range(N)],
        }
    )
    expected = ["number_text", "number_text", "identifier", "identifier", "number_text", "table"]
    assert list(column_roles(Frame.read(X)).values()) == expected
    with pytest.warns(AsfusionWarning, match="left out, as numbers .* 'crp' .24 of 40 cells"):
        encoders = infer_encoders(X)
    told = describe_encoders(encoders, X).splitlines()
    assert told[-1] == (
        "  left out: 'crp', 'esr', 'seen' (numbers or dates written as text; convert them, for "
        "example with pandas.to_numeric or pandas.to_datetime)"
    )


def test_one_slip_of_the_pen_is_told_whoever_shows_the_choice() -> None:
    crp = np.random.default_rng(0).normal(size=30).astype(object)
    crp[3] = "pending"
    X = pd.DataFrame({"crp": crp, "esr": np.arange(30.0)})
    told = "'crp' .1 of 30 cells are no plain number.*errors='coerce'"
    with pytest.warns(AsfusionWarning, match=told):
        model = EarlyFusionClassifier(verbose=0).fit(X, np.arange(30) % 2)
    assert model.encoders_["table"].columns_ == ("esr",)
    grades = pd.DataFrame({"grade": [0, 1, 2, "?", None] * 6})
    assert column_roles(Frame.read(grades)) == {"grade": "table"}


@pytest.mark.parametrize("name", ["patient_id", "case", "pid"])
def test_two_levels_or_fractions_tell_nobody_apart(df_module: ModuleType, name: str) -> None:
    assert _roles({name: [0, 1, 1, 0]}, df_module) == {name: "table"}
    assert _roles({name: [True, False, True]}, df_module) == {name: "table"}
    assert _roles({name: [0.5, 1.0, 1.25, 3.0]}, df_module) == {name: "table"}


def test_categories_by_type_are_told_like_text() -> None:
    categories = {
        "sex": pd.Categorical(["f", "m", "f"]),
        "site": pd.Categorical(["a", "b", "c"]),
        "patient_id": pd.Categorical(["a", "b", "c"]),
        "xray": pd.Categorical(["a.png", "b.png", None]),
    }
    assert list(_roles(categories).values()) == ["table", "table", "identifier", "image"]


# ------------------------------------------------------------------ text


def test_dates_as_text_go_to_the_table_only_if_all_are(df_module: ModuleType) -> None:
    days = [f"2024-02-{1 + i:02d}" for i in range(25)]
    assert _roles({"seen": days}, df_module) == {"seen": "table"}
    assert _roles({"seen": [*days, "not known"]}, df_module) == {"seen": "number_text"}


@pytest.mark.parametrize(("n_other", "role"), [(4, "image"), (5, "identifier")])
def test_nearly_all_paths_must_be_images(df_module: ModuleType, n_other: int, role: str) -> None:
    paths = [f"{i}.png" for i in range(N - n_other)] + [f"{i}.pdf" for i in range(n_other)]
    assert _roles({"file": paths}, df_module) == {"file": role}


@pytest.mark.parametrize("installed", [True, False])
def test_folders_of_slices_are_sequences_by_their_names(
    df_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr(
        infer.importlib.util, "find_spec", lambda name: object() if installed else None
    )
    folders = [tmp_path / f"series {i}" for i in range(3)]
    for folder in folders:
        folder.mkdir()
    paths = [str(f) for f in folders]
    nifti = [f"scan{i}.nii.gz" for i in range(3)]
    X = df_module.DataFrame(
        {"mri_stir": paths, "mri_t1": paths[::-1], "ct": nifti, "crp": [1.0, 2.0, 3.0]}
    )
    encoders = infer_encoders(X)
    assert list(encoders) == ["table", "mri", "ct"]
    assert encoders["mri"].columns == ["mri_stir", "mri_t1"] and encoders["ct"].columns == "ct"
    kinds = {type(encoders[name]).__name__ for name in ("mri", "ct")}
    assert kinds == {"SliceEncoder" if installed else "VolumeEncoder"}
    words = "EfficientNet-Lite0" if installed else "a small 3-D network"
    assert words in describe_encoders(encoders, X)
    lost = df_module.DataFrame({"mri": [f"{tmp_path}/{i}\x00" for i in range(3)]})
    assert dict(column_roles(Frame.read(lost))) == {"mri": "identifier"}


def test_one_known_text_is_a_level(df_module: ModuleType) -> None:
    assert _roles({"drug": ["etanercept", None]}, df_module) == {"drug": "table"}
    assert _roles({"drug": ["a", "b"]}, df_module) == {"drug": "identifier"}


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=30), max_size=12))
def test_text_is_told_the_same_in_pandas_and_polars(cells: list[str | None]) -> None:
    objects = pd.DataFrame({"a": pd.Series(cells, dtype=object)})
    texts = pd.DataFrame({"a": pd.Series(cells, dtype="string")})
    polars = pl.DataFrame({"a": cells}, schema={"a": pl.String})
    assert len({column_roles(Frame.read(X))["a"] for X in (objects, texts, polars)}) == 1


@pytest.mark.parametrize(("n_notes", "backbone"), [(999, "tfidf"), (1000, "transformer")])
def test_many_notes_train_a_transformer(df_module: ModuleType, n_notes: int, backbone: str) -> None:
    notes = [_note(i) for i in range(n_notes)] + [None, " "]
    X = df_module.DataFrame({"note": notes})
    encoders = infer_encoders(X)
    assert encoders["note"].backbone == backbone
    assert encoders["note"].get_params() == TextEncoder("note", backbone=backbone).get_params()
    words = {
        "tfidf": "counted words (tf-idf), as 999 notes are too few to train a transformer",
        "transformer": "a small transformer trained from scratch on 1000 notes",
    }
    assert f"'note': {words[backbone]}" in describe_encoders(encoders, X)


# ------------------------------------------------------------------ the whole


def test_a_bare_array_is_one_table() -> None:
    X = np.arange(12.0).reshape(4, 3)
    encoders = infer_encoders(X)
    assert list(encoders) == ["table"]
    assert encoders["table"].get_params() == TabularEncoder().get_params()
    assert describe_encoders(encoders, X).splitlines()[1].split() == [
        *("table", "TabularEncoder", "'x0',", "'x1',", "'x2'")
    ]


def test_nothing_to_learn_from_is_an_error(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"mrn": [7, 8, 9], "gone": [None] * 3})
    with pytest.raises(InputError, match="only identifiers or empty columns: 'mrn', 'g"):
        infer_encoders(X)


def test_the_choice_is_told(df_module: ModuleType) -> None:
    names = ["crp", "sex", "xray", "note", "patient_id", "name", "gone"]
    X = df_module.DataFrame({name: COLUMNS[name][1] for name in names})
    told = describe_encoders(infer_encoders(X), X).splitlines()
    assert told[0] == "encoders='auto' chose for 40 rows:"
    assert told[1].split() == ["table", "TabularEncoder", "'crp',", "'sex'"]
    assert told[2].split()[:2] == ["xray", "ImageEncoder"]
    assert told[2].endswith("'xray': EfficientNet-Lite0 with weights from ImageNet, frozen")
    assert told[3].endswith("as 39 notes are too few to train a transformer")
    assert told[4].startswith("  left out: 'patient_id', 'name' (identifiers")
    assert told[5] == "  left out: 'gone' (no known cell, or the same in every row)"
    assert len(told) == 6


def test_images_without_pretrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    X = pd.DataFrame({"xray": ["a.png", "b.png"]})
    encoders = infer_encoders(X)
    assert encoders["xray"].backbone == "compact"
    assert "a small network trained from scratch" in describe_encoders(encoders, X)


def test_other_encoders_are_told_without_reasons() -> None:
    X = pd.DataFrame({"a": ["b"], "note": ["c d e f"], "crp": [1.0]})
    encoders = {
        "notes": TextEncoder(["a", "note"]),
        "other": TextEncoder("note", backbone="some/model"),
        "crp": TabularEncoder("crp"),
    }
    lines = describe_encoders(encoders, X).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["notes", "other", "crp"]
    assert lines[1].endswith("'a', 'note': a small transformer trained from scratch")
    assert lines[2].endswith("'note': a pretrained transformer, frozen")
    assert lines[3].endswith("'crp'")


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
def test_any_column_name_gives_a_name_of_a_modality(columns: list[str]) -> None:
    X = pd.DataFrame({name: pd.Series(["a.png", "b.png"], dtype=object) for name in columns})
    encoders = infer_encoders(X)
    assert [encoder.column for encoder in encoders.values()] == columns
    for name in encoders:
        assert check_modality_name(name) == name


def test_names_of_modalities_are_readable() -> None:
    columns = ["Pelvis X-ray", "pelvis_x_ray", "table", "2nd  film", "__", "Röntgen m²"]
    X = pd.DataFrame({name: ["a.png", "b.png"] for name in columns} | {"crp": [1.0, 2.0]})
    assert list(infer_encoders(X)) == [
        *("table", "pelvis_x_ray", "pelvis_x_ray_2", "table_2", "m_2nd_film", "modality"),
        "röntgen_m",
    ]


TABLE_ONLY = """
import sys
import asfusion as af
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
X = pd.DataFrame({"crp": rng.normal(size=30), "age": rng.normal(size=30)})
y = (X["crp"] > 0).to_numpy(dtype=int)
af.LateFusionClassifier(verbose=0, random_state=0).fit(X, y).predict_proba(X)
print(sorted({"PIL", "pydicom", "transformers", "tokenizers"} & set(sys.modules)))
"""


def test_a_user_of_tables_loads_no_image_or_text_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TABLE_ONLY],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
