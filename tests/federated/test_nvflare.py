"""The adapter to NVFlare: alone, and in its simulator where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError, MissingDependencyError
from asfusion.federated import nvflare
from tests.federated.test_federated import rows

HAS_NVFLARE = find_spec("nvflare") is not None
STUDY = """\
import asfusion as af
from tests.federated.test_federated import rows

model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp", "sex"])}, verbose=0)

def make_site(name):
    X, y = rows(80)
    part = ["north", "south"].index(name)
    return af.federated.Site(model, X[part::2], y[part::2])
"""


@pytest.mark.skipif(HAS_NVFLARE, reason="NVFlare is installed")
def test_without_nvflare_it_is_said_how_to_install_it() -> None:
    for make in (nvflare.executor, nvflare.controller):
        with pytest.raises(MissingDependencyError, match=r"asfusion\[nvflare\]"):
            make()


@pytest.mark.parametrize("words", ["", "numpy", "numpy:", "nowhere:x", "numpy:x", ":x"])
def test_what_the_environment_does_not_name_is_told(words: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("ASFUSION_MODEL", words)
    with pytest.raises(ConfigurationError, match="ASFUSION_MODEL: expected a module and a name"):
        nvflare._named("ASFUSION_MODEL")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"data": b"x"}, b"x"),
        ({"error": "no\x1b[2J\n"}, "no [2J "),
        ({"data": "x"}, "an answer that is none of asfusion's"),
        ({}, "an answer that is none of asfusion's"),
    ],
)
def test_no_answer_ends_the_run(said: Any, expected: Any) -> None:
    assert nvflare._said(said) == expected


@pytest.mark.skipif(not HAS_NVFLARE, reason="NVFlare is not installed")
def test_nvflares_simulator_gives_the_weights_of_ours(tmp_path: Path) -> None:
    job, local = tmp_path / "job" / "app" / "config", tmp_path / "work" / "local"
    for folder in (job, local):
        folder.mkdir(parents=True)
    (tmp_path / "nvstudy.py").write_text(STUDY)
    write(local / "resources.json", {"class_allow_list": ["asfusion.federated.nvflare."]})
    write(
        tmp_path / "job" / "meta.json",
        {"name": "axspa", "min_clients": 2, "resource_spec": {}, "deploy_map": {"app": ["@ALL"]}},
    )
    rounds = {"rounds": 2, "epochs": 1, "timeout_s": 120}
    server = {"id": "study", "path": "asfusion.federated.nvflare.controller", "args": rounds}
    write(job / "config_fed_server.json", {"format_version": 2, "workflows": [server]})
    site = {"path": "asfusion.federated.nvflare.executor", "args": {}}
    executors = [{"tasks": ["*"], "executor": site}]
    write(job / "config_fed_client.json", {"format_version": 2, "executors": executors})
    simulate(tmp_path)
    ledger = (tmp_path / "sent.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["kind"] for line in ledger) == ["round"] * 4 + ["summary"] * 2
    (saved,) = (tmp_path / "work").rglob("federated.asf")
    compare(af.load(saved))


def write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))


def simulate(folder: Path) -> None:
    here = os.pathsep.join([str(folder), str(Path(af.__file__).parents[1])])
    settings = {
        **os.environ, "PYTHONPATH": here, "ASFUSION_MAKE_SITE": "nvstudy:make_site",
        "ASFUSION_MODEL": "nvstudy:model", "ASFUSION_LEDGER": str(folder / "sent.jsonl"),
    }  # fmt: skip
    program = str(Path(sys.executable).with_name("nvflare"))
    words = ["simulator", "job", "-w", "work", "-c", "north,south", "-t", "2"]
    done = subprocess.run(
        [program, *words], cwd=folder, env=settings, capture_output=True, text=True, timeout=500
    )
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]


def compare(theirs: Any) -> None:
    X, y = rows(80)
    labs = af.TabularEncoder(["crp", "sex"])
    model = af.JointFusionClassifier({"labs": labs}, verbose=0)
    names = np.resize(["north", "south"], 80)
    run = af.federated.simulate(model, X, y, names, rounds=2, epochs=1, holdout=0.0, verbose=0)
    weights = theirs.network_.state_dict()
    for name, array in run.model_.network_.state_dict().items():
        np.testing.assert_allclose(array.numpy(), weights[name].numpy(), rtol=0, atol=1e-6)
