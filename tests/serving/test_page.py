"""The clinician's page, driven without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.cli.commands import main
from asfusion.explanation._sentences import plain
from asfusion.serving import _page

pytest.importorskip("streamlit", reason="the extra page is not installed")
from streamlit.testing.v1 import AppTest

FORGED = "<script>alert('x')</script> [stiff](http://x) $x$ in the morning"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "crp": rng.normal(10, 3, 80).round(1),
            "b27": rng.random(80) < 0.4,
            "sex": rng.choice(["f", "m"], 80),
            "note": rng.choice(["stiff in the morning", "no pain"], 80),
        }
    )
    X.loc[0, "note"] = FORGED
    y = np.where(X["crp"] + 3 * X["b27"] > 11, "yes", "no")
    encoders = {
        "labs": af.TabularEncoder(["crp", "b27", "sex"]),
        "note": af.TextEncoder("note", backbone="tfidf"),
    }
    model = af.EarlyFusionClassifier(encoders, random_state=0, verbose=0).fit(X, y)
    X.head(5).to_csv(folder / "patients.csv", index=False)
    return model, model.save(folder / "model.asf"), folder / "patients.csv", X


@pytest.fixture
def page(shown: Any, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    _, path, patients, _ = shown
    files = {"patients": str(patients), "background": str(patients), "report": None, "finder": None}
    settings = {"path": str(path), "units": {"crp": "mg/L"}, **files}
    monkeypatch.setenv(_page.SETTINGS, json.dumps(settings))
    return AppTest.from_file(str(_page._APP), default_timeout=120).run()


def words(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in page.markdown)


def test_a_patient_of_the_list_is_predicted_and_explained(page: AppTest, shown: Any) -> None:
    model, _, _, X = shown
    assert not page.exception
    assert "not a medical device" in page.warning[0].value
    share = model.predict_proba(X.head(1))[0].max()
    assert f"{100 * share:.0f} %" in words(page)
    assert "mg/L raised it by" in words(page) or "mg/L lowered it by" in words(page)
    assert "<script>" not in words(page)
    assert "[stiff](http" not in words(page)


def test_another_value_gives_another_prediction(page: AppTest) -> None:
    before = words(page)
    crp = next(one for one in page.number_input if "crp" in one.label)
    page = crp.set_value(40.0).run()
    assert not page.exception
    assert words(page) != before


def test_an_empty_form_asks_for_something(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path, _, _ = shown
    files = dict.fromkeys(("patients", "background", "report", "finder"))
    settings = {"path": str(path), "units": {}, **files}
    monkeypatch.setenv(_page.SETTINGS, json.dumps(settings))
    page = AppTest.from_file(str(_page._APP), default_timeout=120).run()
    assert "at least one value" in page.info[0].value
    crp = next(one for one in page.number_input if "crp" in one.label)
    page = crp.set_value(4.0).run()
    assert not page.exception
    assert plain("Without: note.") in words(page)


def test_the_command_line_starts_it_here_and_tells_nobody(
    shown: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    import subprocess

    _, path, _, _ = shown
    asked: list[str] = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda words, **_: asked.extend(words) or done)
    assert main(["page", str(path), "--port", "8123"]) == 0
    for option in ("browser.gatherUsageStats=false", "server.address=127.0.0.1"):
        assert f"--{option}" in asked
    assert main(["page", str(path), "--report", str(tmp_path / "none.html")]) == 1
    assert "--report: expected a file" in capsys.readouterr().err
