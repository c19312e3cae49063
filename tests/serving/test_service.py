"""A saved model behind HTTP: what is answered, what is refused, and what is never shown."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import asfusion as af
from asfusion.exceptions import BundleError, ConfigurationError
from asfusion.serving import Limits, make_app

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
from starlette.testclient import TestClient

SECRET = "Zyzzyva-4711"
TOKEN = "a-token-of-some-length"


def rows(n_rows: int = 80, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "crp": rng.normal(10, 3, n_rows),
            "b27": rng.random(n_rows) < 0.4,
            "seen": pd.date_range("2024-01-01", periods=n_rows),
            "sex": rng.choice(["f", "m"], n_rows),
            "note": rng.choice(["stiff in the morning", "pain after sport", "no pain"], n_rows),
        }
    )
    y = (X["crp"] + 3 * X["b27"] + rng.normal(0, 1, n_rows) > 11).to_numpy()
    return X, np.where(y, "yes", "no")


def cell(value: Any) -> Any:
    return value.date().isoformat() if isinstance(value, pd.Timestamp) else value


def as_json(X: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: cell(v) for name, v in row.items()} for row in X.to_dict("records")]


def fitted(seed: int = 0) -> Any:
    X, y = rows(seed=seed)
    encoders = {
        "labs": af.TabularEncoder(["crp", "b27", "seen", "sex"]),
        "note": af.TextEncoder("note", backbone="tfidf"),
    }
    return af.EarlyFusionClassifier(encoders, random_state=0, verbose=0).fit(X, y)


@pytest.fixture(scope="module")
def model() -> Any:
    return fitted()


@pytest.fixture(scope="module")
def path(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("served") / "model.asf")


@pytest.fixture(scope="module")
def client(path: Path) -> Iterator[TestClient]:
    limits = Limits(megabytes=0.2, rows=20, batch_rows=100)
    app = make_app(path, units={"crp": "mg/L"}, limits=limits, background=rows()[0])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_answers_are_the_model_s_own(client: TestClient, model: Any) -> None:
    X, _ = rows(12, seed=5)
    answer = client.post("/predict", json={"rows": as_json(X)})
    told = answer.json()
    said = [[row["probabilities"][c] for c in model.classes_] for row in told["rows"]]
    np.testing.assert_allclose(said, model.predict_proba(X), rtol=1e-12)
    assert [row["predicted"] for row in told["rows"]] == model.predict(X).tolist()
    assert (
        told["digest"] == answer.headers["x-model-digest"] == client.get("/ready").json()["digest"]
    )
    assert answer.headers["cache-control"] == "no-store"


def test_what_is_missing_is_told(client: TestClient, model: Any) -> None:
    told = client.post("/predict", json=[{"crp": 9}, {"note": "no pain", "crp": None}]).json()
    assert [row["missing"] for row in told["rows"]] == [["note"], ["labs"]]
    X = pd.DataFrame({"crp": [9.0], "b27": [None], "seen": [None], "sex": [None], "note": [None]})
    alone = model.predict_proba(X)[0, 1]
    assert told["rows"][0]["probabilities"]["yes"] == pytest.approx(alone, rel=1e-12)


def test_a_level_that_nobody_knows_is_told(client: TestClient) -> None:
    told = client.post("/predict", json=[{"sex": SECRET, "crp": 3}]).json()
    assert told["remarks"][0]["at"] == "rows[0].sex"
    assert SECRET not in json.dumps(told)


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b'[{"crp": NaN}]', 400, "body"),
        (b'[{"crp": Infinity}]', 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b'"\xff"', 400, "body"),
        (b"{}", 422, "body"),
        (b"[]", 422, "body"),
        (b"null", 422, "body"),
        (b"[[]]", 422, "rows[0]"),
        (b"[{}]", 422, "rows[0]"),
        (b'[{"crp": null}]', 422, "rows[0]"),
        (b'[{"crp": 1e999}]', 422, "rows[0].crp"),
        (b'[{"crp": "Zyzzyva-4711"}]', 422, "rows[0].crp"),
        (b'[{"crp": true}]', 422, "rows[0].crp"),
        (b'[{"crp": %s}]' % (b"9" * 4000), 422, "rows[0].crp"),
        (b'[{"crp": 1, "b27": 1}]', 422, "rows[0].b27"),
        (b'[{"crp": 1, "seen": "Zyzzyva-4711"}]', 422, "rows[0].seen"),
        (b'[{"crp": 1, "seen": "2024-02-31"}]', 422, "rows[0].seen"),
        (b'[{"crp": 1, "note": "\\ud800"}]', 422, "rows[0].note"),
        (b'[{"crp": 1, "note": ["Zyzzyva-4711"]}]', 422, "rows[0].note"),
        (b'[{"crp": 1}, {"Zyzzyva-4711": 2}]', 422, "rows[1]"),
        (b'[{"crp": 1}, {"sex": " ", "note": "\\u200b\\f\\t"}]', 422, "rows[1]"),
        (json.dumps([{"crp": 1}] * 21).encode(), 413, "body"),
        (b" " * 300_000, 413, "body"),
    ],
)
def test_what_is_wrong_is_told_by_place_alone(
    client: TestClient, body: bytes, status: int, at: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["problems"][0]["at"] == at
    assert SECRET not in answer.text
    assert SECRET not in capfd.readouterr().err


def test_another_content_type_is_refused(client: TestClient) -> None:
    answer = client.post("/predict", content=b"[]", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["crp", "b27", "seen", "sex", "note"])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=JSON | st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=3))
def test_nothing_that_is_sent_ends_in_a_failure_or_comes_back(
    client: TestClient, body: Any
) -> None:
    answer = client.post(
        "/predict", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400, 413, 422)
    assert SECRET not in answer.text
    if answer.status_code == 200:  # blank texts and empty rows are no patients
        assert all(len(row["missing"]) < 2 for row in answer.json()["rows"])


def test_tables_in_and_out(client: TestClient, model: Any) -> None:
    X, _ = rows(30, seed=6)
    body = io.BytesIO()
    pl.from_dict(X.assign(seen=X["seen"].dt.date).to_dict("list")).write_parquet(body)
    headers = {"content-type": "application/vnd.apache.parquet"}
    answer = client.post("/predict", content=body.getvalue(), headers=headers)
    found = pl.read_parquet(io.BytesIO(answer.content))
    said = found["probability_yes"].to_numpy()
    np.testing.assert_allclose(said, model.predict_proba(X)[:, 1], rtol=1e-12)
    whole = body.getvalue()
    for broken in (b"", b"PAR1", whole[:-40], whole[:60] + b"\xff" * 40 + whole[100:]):
        assert client.post("/predict", content=broken, headers=headers).status_code in (400, 422)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"crp": [SECRET] * 3}, "crp"),
        ({"crp": [1.0, float("inf"), 2.0]}, "crp"),
        ({"b27": ["yes"] * 3}, "b27"),
        ({"note": [1, 2, 3]}, "note"),
        ({"note": None}, "note"),
    ],
)
def test_columns_of_another_type_are_refused(client: TestClient, change: Any, at: str) -> None:
    table = {"crp": [1.0] * 3, "b27": [True] * 3, "sex": ["f"] * 3, "note": ["pain"] * 3}
    table |= {"seen": [pd.Timestamp("2024-01-01").date()] * 3, **change}
    body = io.BytesIO()
    pl.DataFrame({k: v for k, v in table.items() if v is not None}).write_parquet(body)
    headers = {"content-type": "application/vnd.apache.parquet"}
    answer = client.post("/predict", content=body.getvalue(), headers=headers)
    assert (answer.status_code, answer.json()["problems"][0]["at"]) == (422, at)
    assert SECRET not in answer.text


def test_predictions_are_explained(client: TestClient, model: Any) -> None:
    X, _ = rows(2, seed=7)
    told = client.post("/explain", json=as_json(X)).json()["rows"]
    for row, answer in zip(told, model.predict_proba(X)[:, 1], strict=True):
        assert row["base"] + sum(row["modalities"].values()) == pytest.approx(answer)
        assert sum(row["parts"]["labs"].values()) == pytest.approx(row["modalities"]["labs"])
    assert client.post("/explain", json=as_json(rows(9)[0])).status_code == 413


def test_the_model_s_columns_are_told(client: TestClient) -> None:
    columns = {one["name"]: one for one in client.get("/schema").json()["columns"]}
    kinds = {name: one["kind"] for name, one in columns.items()}
    assert kinds == {
        "crp": "number", "b27": "boolean", "seen": "date", "sex": "category", "note": "text"
    }  # fmt: skip
    assert columns["crp"]["unit"] == "mg/L"
    assert columns["sex"]["levels"] == ["f", "m"]
    row = client.get("/openapi.json").json()["components"]["schemas"]["Row"]
    assert row["properties"]["crp"]["x-unit"] == "mg/L"
    assert set(row["properties"]) == set(kinds)


def test_counts_are_told(client: TestClient) -> None:
    client.post("/predict", json=[{"crp": 1}])
    text = client.get("/metrics").text
    assert 'asfusion_requests_total{route="/predict",status="200"}' in text
    assert "asfusion_request_seconds_bucket" in text


def test_units_of_what_is_no_number_are_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected columns of numbers"):
        make_app(path, units={"sex": "mg/L"})


def test_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a saved or an exported model"):
        make_app(tmp_path)


def test_strangers_are_not_answered(path: Path) -> None:
    with TestClient(make_app(path, token=TOKEN)) as client:
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
            for route in ("/schema", "/metrics", "/openapi.json"):
                assert client.get(route, headers=headers).status_code == 401
            assert client.post("/predict", json=[{"crp": 1}], headers=headers).status_code == 401
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/predict", json=[{"crp": 1}], headers=headers).status_code == 200


def test_other_names_of_this_machine_are_not_answered(path: Path) -> None:
    app = make_app(path, hosts=("127.0.0.1",))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/ready").status_code == 200
        assert client.get("/ready", headers={"host": "evil.example"}).status_code == 400


def test_a_newer_model_is_taken_over_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asfusion.serving.service._LOOK_S", 0.05)
    older, newer = fitted(), fitted(seed=3)
    path = older.save(tmp_path / "model.asf")
    X, _ = rows(1, seed=9)
    answers = {float(m.predict_proba(X)[0, 1]) for m in (older, newer)}
    with TestClient(make_app(path)) as client:
        before = client.get("/ready").json()["digest"]
        newer.save(path)
        told = _until(client, lambda digest: digest != before, X, answers)
        manifest = path / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0', 1))
        time.sleep(0.3)
        assert client.get("/ready").json()["digest"] == told
        assert client.post("/predict", json=as_json(X)).status_code == 200


def _until(client: TestClient, done: Any, X: pd.DataFrame, answers: set[float]) -> str:
    """Ask until the model is another one; each answer is of one of both."""
    for _ in range(6000):
        told = client.post("/predict", json=as_json(X)).json()
        assert any(told["rows"][0]["probabilities"]["yes"] == pytest.approx(a) for a in answers)
        if done(told["digest"]):
            return str(told["digest"])
        time.sleep(0.02)
    raise AssertionError


def test_a_crowd_is_answered_and_too_large_a_one_is_told(path: Path, model: Any) -> None:
    X, _ = rows(40, seed=11)
    expected = model.predict_proba(X)[:, 1]
    found: dict[int, Any] = {}
    with TestClient(make_app(path)) as client:

        def ask(row: int) -> None:
            found[row] = client.post("/predict", json=as_json(X.iloc[[row]]))

        threads = [threading.Thread(target=ask, args=[row]) for row in range(len(X))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = [found[row].json()["rows"][0]["probabilities"]["yes"] for row in range(len(X))]
    np.testing.assert_allclose(said, expected, rtol=1e-9)


def test_what_waits_and_what_takes_long_is_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asfusion.serving._answering import Answering

    go = threading.Event()
    ask = Answering.ask
    monkeypatch.setattr(Answering, "ask", lambda self, several: go.wait(10) and ask(self, several))
    with TestClient(make_app(path, limits=Limits(waiting=1, seconds=0.4))) as client:
        answers: list[int] = []

        def one() -> None:
            answers.append(client.post("/predict", json=[{"crp": 1}]).status_code)

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        go.set()
        assert sorted(set(answers)) == [503, 504]
        # On a slow machine an answer may take longer than the bound, but not each time.
        again = (client.post("/predict", json=[{"crp": 1}]).status_code for _ in range(100))
        assert 200 in again


def test_a_failure_shows_no_cell(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from asfusion.serving._answering import Answering

    def fail(self: Any, several: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Answering, "ask", fail)
    with TestClient(make_app(path)) as client:
        answer = client.post("/predict", json=[{"note": SECRET}])
    assert answer.status_code == 500
    log = capfd.readouterr().err
    assert SECRET not in answer.text + log
    assert answer.json()["request"] in log
    assert "test_service.py" in log  # where, and not what


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("films")
    X, y = rows(24)
    rng = np.random.default_rng(0)
    for row in range(len(X)):
        pixels = rng.integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
    X = X[["crp"]].assign(film=[str(folder / f"{row}.png") for row in range(len(X))])
    encoders = {
        "labs": af.TabularEncoder("crp"),
        "film": af.ImageEncoder("film", size=32),
    }
    model = af.JointFusionClassifier(encoders, max_epochs=1, random_state=0, verbose=0).fit(X, y)
    return model, folder


def test_films_come_beside_the_rows_and_never_by_path(films: Any, tmp_path: Path) -> None:
    model, folder = films
    film = folder / "3.png"
    expected = model.predict_proba(pd.DataFrame({"crp": [9.0], "film": [str(film)]}))[0, 1]
    part = json.dumps([{"crp": 9.0, "film": {"part": "a"}}])
    inside = {"base64": base64.b64encode(film.read_bytes()).decode()}
    with TestClient(make_app(model.save(tmp_path / "model.asf"))) as client:
        ways = [
            client.post("/predict", data={"rows": part}, files={"a": film.read_bytes()}),
            client.post("/predict", json=[{"crp": 9.0, "film": inside}]),
        ]
        for answer in ways:
            said = answer.json()["rows"][0]["probabilities"]["yes"]
            assert said == pytest.approx(expected, abs=1e-6)
        for cell in (str(film), {"part": "b"}, {"base64": "@"}, {"path": str(film)}):
            answer = client.post("/predict", json=[{"crp": 9.0, "film": cell}])
            assert (answer.status_code, answer.json()["problems"][0]["at"]) == (422, "rows[0].film")
        broken = client.post("/predict", data={"rows": part}, files={"a": film.read_bytes()[:60]})
        assert broken.status_code == 422
        assert str(folder) not in broken.text
        assert "Send another file, or none" in broken.text


def test_a_model_that_is_unsure_abstains(tmp_path: Path) -> None:
    X, y = rows(300)
    inner = af.EarlyFusionClassifier({"labs": af.TabularEncoder("crp")}, verbose=0)
    model = af.ConformalClassifier(inner, coverage=0.98, random_state=0).fit(X[["crp"]], y)
    sets = model.predict_set(X[["crp"]][:30])
    with TestClient(make_app(model.save(tmp_path / "model.asf"))) as client:
        told = client.post("/predict", json=as_json(X[["crp"]][:30])).json()["rows"]
    assert [len(row["set"]) for row in told] == sets.sum(axis=1).tolist()
    assert [row["abstains"] for row in told] == (sets.sum(axis=1) != 1).tolist()
    assert any(row["abstains"] for row in told)


def test_an_exported_file_is_served_too(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
    model = fitted()
    file = af.export(model, tmp_path / "model.onnx")
    X, _ = rows(8, seed=12)
    with TestClient(make_app(file)) as client:
        told = client.post("/predict", json=as_json(X)).json()
        some = [*as_json(X.head(2)), {"note": "stiff"}]
        apart = client.post("/explain", json=some).json()["rows"]
        kinds = {one["name"]: one["kind"] for one in client.get("/schema").json()["columns"]}
    said = [row["probabilities"]["yes"] for row in told["rows"]]
    np.testing.assert_allclose(said, model.predict_proba(X)[:, 1], atol=1e-6)
    assert told["digest"] == af.serving.OnnxModel(file).digest
    lacking = pd.DataFrame([dict.fromkeys(X.columns) | {"note": "stiff"}])
    for row, alone in zip(apart, (X.head(1), X.iloc[1:2], lacking), strict=True):
        own = af.explain(model, alone, verbose=0)
        assert row["output"] == own.output_names[0]
        np.testing.assert_allclose(list(row["modalities"].values()), own.values[0], atol=1e-6)
        np.testing.assert_allclose(row["base"], own.base_values[0], atol=1e-6)
    assert apart[2]["modalities"]["labs"] == 0
    assert kinds == {
        "crp": "number", "b27": "boolean", "seen": "date", "sex": "category", "note": "text"
    }  # fmt: skip
