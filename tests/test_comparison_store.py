"""`compare(checkpoint=)`: what is finished is not done again, what changed is."""

import functools
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from asfusion.comparison import _jobs as jobs_module
from asfusion.comparison import _store as store_module
from asfusion.comparison._store import describe
from asfusion.comparison.comparer import compare
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.estimators.joint import JointFusionClassifier
from asfusion.exceptions import AsfusionWarning, CheckpointError, ConfigurationError

FAST = {"families": ["early"], "cv": 2, "n_bootstrap": 20, "verbose": 0}


def make(n=60):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "bmi"])
    y = (X["crp"] + X["bmi"] + rng.normal(size=n) > 0).astype(int).to_numpy()
    return SimpleNamespace(X=X, y=y, groups=np.repeat(np.arange(n), 2)[:n])


def encoders(**settings):
    return {"labs": TabularEncoder(["crp", "esr"], **settings), "body": TabularEncoder(["bmi"])}


def run(folder, **changes):
    rows = make()
    X, y, parts = (
        changes.pop(name, default)
        for name, default in [("X", rows.X), ("y", rows.y), ("encoders", encoders())]
    )
    options = {**FAST, "groups": rows.groups, "checkpoint": folder, **changes}
    return compare(X, y, parts, **options)


def assert_equal_boards(one, other):
    assert [s.name for s in one.standings] == [s.name for s in other.standings]
    for name, answers in one.predictions.items():
        assert np.array_equal(answers, other.predictions[name], equal_nan=True)
    for left, right in zip(one.standings, other.standings, strict=True):
        assert (left.score, left.difference) == (right.score, right.difference)
    assert one.over_tables == other.over_tables


@pytest.fixture
def fits(monkeypatch):
    """Return the list of the fits that are done."""
    done = []
    real = jobs_module.Job.do

    def counted(self, data):
        done.append(self.run.entries[0].name)
        return real(self, data)

    monkeypatch.setattr(jobs_module.Job, "do", counted)
    return done


def test_finished_answers_are_not_made_again(tmp_path, fits, capsys):
    first = run(tmp_path / "deep" / "kept")
    assert len(fits) == 10
    assert capsys.readouterr().out == ""
    fits.clear()
    again = run(tmp_path / "deep" / "kept", verbose=1)
    assert fits == []
    assert "10 of 10 fits are there already" in capsys.readouterr().out
    assert_equal_boards(first, again)
    assert [s.seconds for s in first.standings] == [s.seconds for s in again.standings]
    assert_equal_boards(first, run(None))


def test_more_models_are_added_to_those_that_are_there(tmp_path, fits):
    run(tmp_path)
    fits.clear()
    board = run(tmp_path, estimators={"forest": RandomForestClassifier(3)})
    assert sorted(set(fits)) == ["body: forest", "early: forest", "labs: forest"]
    fits.clear()
    nested = make_pipeline(StandardScaler(), RandomForestClassifier(3))
    run(tmp_path, estimators={"forest": nested})
    assert len(fits) == 6
    fits.clear()
    nested.set_params(randomforestclassifier__max_depth=2)
    run(tmp_path, estimators={"forest": nested})
    assert len(fits) == 6
    assert "early: forest" in board.predictions


def _other_cell(rows):
    X = rows.X.copy()
    X.loc[17, "esr"] += 1e-12
    return {"X": X}


def _other_target(rows):
    y = rows.y.copy()
    y[3] = 1 - y[3]
    return {"y": y}


@pytest.mark.parametrize(
    "change",
    [
        _other_cell,
        _other_target,
        lambda rows: {"y": np.array(["no", "yes"])[rows.y]},
        lambda rows: {"groups": np.roll(rows.groups, 1)},
        lambda rows: {"random_state": 1},
        lambda rows: {"seeds": [5]},
        lambda rows: {"cv": 3},
        lambda rows: {"encoders": encoders(max_categories=5)},
        lambda rows: {"X": rows.X.rename(columns={"esr": "e"}), "encoders": {
            "labs": TabularEncoder(["crp", "e"]), "body": TabularEncoder(["bmi"])}},
    ],
)  # fmt: skip
def test_changed_runs_never_read_old_answers(tmp_path, fits, change):
    run(tmp_path)
    fits.clear()
    changes = change(make())
    board = run(tmp_path, **changes)
    assert len(fits) in (10, 15)  # all of them
    fits.clear()
    assert_equal_boards(board, run(tmp_path, **changes))
    assert fits == []


def test_columns_that_nobody_reads_change_nothing(tmp_path, fits):
    run(tmp_path)
    fits.clear()
    run(tmp_path, X=make().X.assign(ward="b"))
    assert fits == []


def test_other_versions_are_another_run(tmp_path, fits, monkeypatch):
    run(tmp_path)
    fits.clear()
    monkeypatch.setattr(store_module, "_packages", lambda: {"scikit-learn": "99"})
    run(tmp_path)
    assert len(fits) == 10


def test_changed_image_file_is_another_run(tmp_path, fits):
    rows = make(24)
    rng = np.random.default_rng(1)
    files = [tmp_path / f"{i}.png" for i in range(24)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(file)
    X = rows.X.assign(xray=[str(file) for file in files])
    parts = {"xray": ImageEncoder("xray", size=32), "labs": TabularEncoder("crp")}
    options = {"X": X, "y": rows.y, "groups": None, "encoders": parts, "families": ["early"]}
    network = one_epoch()
    folder = tmp_path / "kept"
    run(folder, **options, network=network)
    total = len(fits)
    moved = tmp_path / "moved.png"
    files[3].rename(moved)
    X.loc[3, "xray"] = str(moved)
    run(folder, **options, network=network)
    assert len(fits) == total  # the same picture elsewhere
    Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(moved)
    run(folder, **options, network=network)
    assert len(fits) == 2 * total


def one_epoch():
    return JointFusionClassifier(max_epochs=1, verbose=0)


def test_changed_code_of_an_own_estimator_is_another_run(tmp_path, fits):
    def own(weight):
        class Own(LogisticRegression):
            if weight:

                def predict_proba(self, X):
                    return super().predict_proba(0.5 * X)

        return {"own": Own()}

    run(tmp_path, estimators=own(False))
    fits.clear()
    run(tmp_path, estimators=own(False))
    assert fits == []
    run(tmp_path, estimators=own(True))
    assert len(fits) == 6


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "shape", "pickle", "long"])
def test_damaged_files_are_made_again_with_a_warning(tmp_path, fits, damage):
    first = run(tmp_path)
    fits.clear()
    file = sorted(tmp_path.glob("*.npz"))[4]
    raw = file.read_bytes()
    if damage == "shape":
        np.savez(file, answers=np.zeros((1, 2, 2)), seconds=0.0)
    elif damage == "pickle":
        np.savez(file, answers=np.array([{}], dtype=object), seconds=0.0)
    else:
        middle = len(raw) // 2
        flipped = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
        changed = {"cut": raw[:middle], "flip": flipped, "empty": b"", "long": raw * 200}
        file.write_bytes(changed[damage])
    with pytest.warns(AsfusionWarning, match="checkpoint: a file of it is damaged") as told:
        again = run(tmp_path)
    assert len(fits) == 1 and len(told) == 1
    assert str(tmp_path) not in str(told[0].message)
    assert_equal_boards(first, again)
    assert file.read_bytes()[:2] == b"PK"
    run(tmp_path)  # mended, and silent


def test_any_flipped_byte_is_found_or_harmless(tmp_path, fits):
    """A changed number is never taken for an answer."""
    run(tmp_path)
    file = min(tmp_path.glob("*.npz"), key=lambda path: path.stat().st_size)
    raw = file.read_bytes()
    with np.load(file, allow_pickle=False) as arrays:
        answers, seconds = arrays["answers"], float(arrays["seconds"])
    store = store_module.AnswerStore.__new__(store_module.AnswerStore)
    store.folder = tmp_path
    n_found = 0
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1 << (position % 8)
        file.write_bytes(bytes(changed))
        try:
            told = store.read(file.name, answers.shape)
        except AsfusionWarning:
            n_found += 1
            continue
        assert told is not None and np.array_equal(told[0], answers) and told[1] == seconds
    assert n_found > answers.nbytes


SCRIPT = """
import sys
from asfusion.comparison import _store as store_module
from tests.test_comparison_store import run

real = store_module.AnswerStore.write
def write(self, *answer):
    real(self, *answer)
    print("kept", flush=True)
    sys.stdin.readline()  # until the test says so, or for ever
store_module.AnswerStore.write = write
run(sys.argv[1], seeds=[0, 1])
"""


def test_killed_run_goes_on_where_it_was(tmp_path, fits):
    straight = run(None, seeds=[0, 1])
    total = len(fits)
    folder = tmp_path / "kept"
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    with child:
        for step in range(5):
            if step:
                child.stdin.write("go on\n")
            assert child.stdout.readline() == "kept\n"
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    n_kept = len(list(folder.glob("*.npz")))
    assert n_kept == 5 < total
    (folder / f".{sorted(folder.glob('*.npz'))[0].name}.abcdefgh.tmp").write_bytes(b"half")
    fits.clear()
    resumed = run(folder, seeds=[0, 1])
    assert len(fits) == total - n_kept
    assert_equal_boards(straight, resumed)


def test_full_disk_ends_the_keeping_not_the_comparison(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "/secret/patient")

    monkeypatch.setattr(store_module, "write_file", full)
    with pytest.warns(AsfusionWarning, match="could not be written .No space") as told:
        board = run(tmp_path)
    assert len(told) == 1 and "secret" not in str(told[0].message)
    assert_equal_boards(board, run(None))


def test_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="checkpoint: expected a folder") as caught:
        run(tmp_path / "file")
    assert "file" not in str(caught.value).replace("File exists", "")


def test_run_that_is_like_no_other_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="random_state: expected a number with checkpoi"):
        run(tmp_path, random_state=None)


# -- names of parameters ---------------------------------------------------------------


def scale(x, by=2.0):
    return by * x


def values():
    return {
        "numbers": [1, 2.5, np.float32(2.5), None, True],
        "set": {"b", "a", "c"},
        "array": np.arange(3),
        "objects": np.array(["a", None], dtype=object),
        "function": scale,
        "partial": functools.partial(scale, by=3.0),
        "state": np.random.RandomState(0),
        "generator": np.random.default_rng(0),
        "estimator": make_pipeline(StandardScaler(), RandomForestClassifier(3)),
        "method": encoders()["labs"].fit,
        "ufunc": np.log1p,
        "slice": slice(1, 2),
    }


def test_equal_parameters_have_equal_names_in_every_process():
    code = "from tests.test_comparison_store import *; "
    code += "print([repr(describe(value)) for value in values().values()])"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert told.strip() == repr([repr(describe(value)) for value in values().values()])


def test_different_parameters_have_different_names():
    loop = []
    loop.append(loop)
    different = [
        1, 1.0, "1", True, None, [1], (1,), {1}, {1: 1}, np.array([1]), np.array([1.0]), loop,
        functools.partial(scale, by=1), functools.partial(scale, by=2), scale, lambda x: x,
        lambda x: x + 1, np.log, np.log1p, np.random.RandomState(0), np.random.RandomState(1),
        LogisticRegression(), LogisticRegression(C=2), LogisticRegression, TabularEncoder("a"),
        TabularEncoder("b"), slice(1, 2), slice(1, 3), {"a": 1, "b": 2}, {"b": 2, "a": 1},
    ]  # fmt: skip
    names = [repr(describe(value)) for value in different]
    assert len(set(names)) == len(names)


def test_what_cannot_be_told_equals_nothing():
    opened = (i for i in range(3))
    assert describe(opened) != describe(opened)
