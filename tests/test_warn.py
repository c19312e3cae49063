"""Warnings name the line of the user, however deep the call."""

import functools
import inspect
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import asfusion as af
from asfusion import _warn
from asfusion._warn import warn_user
from asfusion.exceptions import AsfusionWarning


def caught(call: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return said


def inside(call: Callable[[], Any], file: str = "deep.py") -> Callable[[], Any]:
    """Return a function that calls from a file of the package."""
    code = compile("def run():\n    return call()\n", _warn._PACKAGE + file, "exec")
    names: dict[str, Any] = {"call": call, "__name__": "asfusion.deep"}
    exec(code, names)
    assert isinstance(names["run"], FunctionType)
    return names["run"]


def test_line_of_the_caller_is_named() -> None:
    (w,) = caught(lambda: warn_user("Look."))
    assert (w.filename, w.category, str(w.message)) == (__file__, AsfusionWarning, "Look.")
    (w,) = caught(inside(inside(lambda: inside(functools.partial(warn_user, "Look."))())))
    assert w.filename == __file__


def test_libraries_between_are_passed_over() -> None:
    @contextmanager
    def within() -> Any:
        yield
        warn_user("On leaving.")

    def leave() -> None:
        with within():
            pass

    (w,) = caught(inside(inside(leave)))
    assert w.filename == __file__
    ask = inside(functools.partial(warn_user, "In a pipeline.", FutureWarning))
    pipeline = make_pipeline(FunctionTransformer(lambda X: (ask(), X)[1]))
    (w,) = caught(lambda: pipeline.fit_transform([[0.0]]))
    assert (w.filename, w.category) == (__file__, FutureWarning)


def test_a_thread_of_its_own_names_the_outermost_line() -> None:
    def run() -> None:
        thread = threading.Thread(target=inside(functools.partial(warn_user, "Alone.")))
        thread.start()
        thread.join()

    (w,) = caught(run)
    assert w.filename == threading.__file__


def test_a_line_is_told_once_as_python_does() -> None:
    tell = inside(functools.partial(warn_user, "Again."))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            tell()
        tell()
    assert [w.filename for w in said] == [__file__] * 2
    assert said[0].lineno != said[1].lineno


def test_a_filter_turns_it_into_an_error() -> None:
    with pytest.raises(AsfusionWarning, match="Look"):
        warn_user("Look.")


# -- public calls ----------------------------------------------------------------------


def labs(n: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"crp": rng.normal(size=n), "bmi": rng.normal(size=n), "gene": np.nan})


Y = np.arange(24) % 2
PARTS = {
    "labs": af.TabularEncoder(["crp", "bmi"]),
    "genes": af.TabularEncoder("gene"),
}
EARLY = af.EarlyFusionClassifier(PARTS, LogisticRegression(), verbose=0)


def fit_without_a_modality() -> None:
    EARLY.fit(labs(), Y)


def fit_in_a_search() -> None:
    GridSearchCV(EARLY, {"random_state": [0]}, cv=2).fit(labs(), Y)


def predict_rows_with_nothing() -> None:
    parts = {"labs": PARTS["labs"], "body": af.TabularEncoder("bmi")}
    model = af.EarlyFusionClassifier(parts, LogisticRegression(), verbose=0).fit(labs(), Y)
    model.predict(labs().assign(crp=np.nan, bmi=np.nan))


def hold_out_of_too_few() -> None:
    model = af.JointFusionClassifier({"labs": PARTS["labs"]}, early_stopping=True, max_epochs=1)
    model.fit(labs(), Y, groups=np.zeros(24))


def late_without_a_modality() -> None:
    parts = {"labs": PARTS["labs"], "body": af.TabularEncoder("gene")}
    rows = labs().assign(gene=[1.0] + [np.nan] * 23)
    af.LateFusionClassifier(parts, LogisticRegression(), verbose=0).fit(rows, Y)


def calibrate_few_of_a_category() -> None:
    rows = labs().assign(site=["a"] * 20 + ["b"] * 4)
    model = make_pipeline(FunctionTransformer(lambda X: X[["crp"]]), LogisticRegression())
    model.fit(rows, Y)
    af.ConformalClassifier(model, coverage=0.9, by="site", prefit=True).fit(rows, Y)


def numbers_as_text() -> None:
    rows = pd.DataFrame({"crp": [f"<{i}" for i in range(24)]})
    af.TabularEncoder("crp").fit(rows)


def levels_of_another_spelling() -> None:
    rows = pd.DataFrame({"sex": ["f", "m"] * 12})
    af.TabularEncoder("sex").fit(rows).transform(rows.assign(sex=["F", "M"] * 12))


def judge_labels() -> None:
    af.evaluate(Y.astype(float), y=Y, n_bootstrap=2)


def cross_validate_copies() -> None:
    rows = np.tile(np.random.default_rng(0).normal(size=(12, 5)), (2, 1))
    af.cross_validate(LogisticRegression(), rows, Y, cv=2, n_bootstrap=2, verbose=0)


def events_of_strangers() -> None:
    events = pd.DataFrame(
        {"patient": ["a"], "time": ["2024-01-01"], "code": ["CRP"], "value": [4.0], "unit": "mg/L"}
    )
    events["time"] = pd.to_datetime(events["time"])
    dates = pd.DataFrame({"patient": ["A", "B"], "index_date": pd.Timestamp("2024-04-01")})
    af.LabEvents({"crp": "CRP"}).transform(events, dates)


def long_notes() -> None:
    rows = pd.DataFrame({"note": ["pain at night and stiff in the morning " * 20] * 24})
    encoder = af.TextEncoder("note", max_tokens=8, vocab_size=300)
    encoder.fit(rows).prepare(rows)


def weights_of_others() -> None:
    variants = pd.DataFrame({"id": ["rs1"], "chrom": ["1"], "pos": [1]})
    variants = variants.assign(effect_allele="A", other_allele="G")
    people = af.genomics.Genotypes(np.ones((4, 1)), list("abcd"), variants)
    weights = pd.DataFrame({"id": ["rs1", "rs2", "rs3"], "effect_allele": "A"})
    af.genomics.risk_score(people, weights.assign(other_allele="G", weight=1.0))


PUBLIC = [
    fit_without_a_modality,
    fit_in_a_search,
    predict_rows_with_nothing,
    hold_out_of_too_few,
    late_without_a_modality,
    calibrate_few_of_a_category,
    numbers_as_text,
    levels_of_another_spelling,
    judge_labels,
    cross_validate_copies,
    events_of_strangers,
    long_notes,
    weights_of_others,
]


@pytest.mark.parametrize("call", PUBLIC, ids=lambda call: call.__name__)
def test_public_call_names_the_users_line(call: Callable[[], None]) -> None:
    said = [w for w in caught(call) if w.category is AsfusionWarning]
    assert said and {w.filename for w in said} == {__file__}
    first, lines = call.__code__.co_firstlineno, inspect.getsource(call).count("\n")
    assert all(first < w.lineno < first + lines for w in said)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    rows = pd.DataFrame({"film": [str(tmp_path / f"{i}.png") for i in range(3)]})
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(rows["film"][0])
    for file in rows["film"][1:]:
        Path(file).write_bytes(b"no image")
    encoder = af.ImageEncoder("film", size=32, on_error="missing").fit(rows)
    store = af.imaging.ImageStore(tmp_path / "store", 32)
    for call in (
        lambda: encoder.prepare(rows),
        lambda: store.ingest(rows["film"], on_error="missing"),
    ):
        said = caught(call)
        assert said and {w.filename for w in said} == {__file__}


def test_damaged_answers_of_a_comparison(tmp_path: Path) -> None:
    def compare() -> None:
        parts = {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")}
        options = {"families": ["early"], "cv": 2, "n_bootstrap": 2, "verbose": 0}
        af.compare(labs(), Y, parts, checkpoint=tmp_path, **options)

    assert not caught(compare)
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(b"damaged")
    said = caught(compare)
    assert said and {w.filename for w in said} == {__file__}


@pytest.mark.parametrize("words", ["stacklevel=", "warnings.warn("])
def test_nobody_counts_levels_of_the_stack(words: str) -> None:
    files = Path(af.__file__).parent.rglob("*.py")
    assert [file.name for file in files if words in file.read_text("utf-8")] == []
