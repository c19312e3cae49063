"""`asfusion federate`: files in, what would leave out, and commands that are never without TLS."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import asfusion as af
from asfusion.cli import _federate, _flower
from asfusion.cli._federate_apps import MODULES, at_the_server, in_a_hospital
from asfusion.cli._study import read_site, read_study
from asfusion.cli.commands import main
from asfusion.exceptions import ConfigurationError, InputError, TrainingError
from asfusion.federated import Summary
from tests.federated.test_federated import rows

STUDY = """\
[study]
rounds = 3
strategy = "median"
secure = true

[model]
fusion = "gated"

[encoders.labs]
kind = "TabularEncoder"
columns = ["crp", "sex"]

[encoders.notes]
kind = "TextEncoder"
columns = "note"
backbone = "tfidf"
"""
SITE = """\
[site]
study = "study.toml"
table = "rows.csv"
target = "axspa"
group = "patient"
holdout = 0.2

[units]
crp = "mg/dL"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    X, y = rows(60)
    table = X[["crp", "sex", "note"]].assign(axspa=y, patient=range(60))
    table.to_csv(made / "rows.csv", index=False)
    (made / "study.toml").write_text(STUDY)
    (made / "north.toml").write_text(SITE)
    return made


@pytest.fixture
def with_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flower, "import_optional", lambda *words, **named: None)


def test_a_study_and_a_site_are_read_from_files(folder: Path) -> None:
    own = read_site(folder / "north.toml")
    site = own.site()
    assert site.units == {"crp": "mg/dL"}
    assert len(site._held_out[0]) == 12
    study = read_study(folder / "study.toml")
    assert study.model.fusion == "gated"
    assert study.settings["strategy"].how == "median"
    assert study.settings["save"] == folder / "federated.asf"
    assert af.federated.make_plan(study.model, [site.summary()]).total.n_rows == 48


def test_plan_shows_what_would_leave_and_then_what_all_told(folder: Path, capsys: Any) -> None:
    sums = folder / "north.json"
    assert main(["federate", "plan", str(folder / "north.toml"), "--out", str(sums)]) == 0
    told = capsys.readouterr().out
    assert f"Would leave once, {sums.stat().st_size} bytes: sums of 48 rows" in told
    assert "notes of 48 rows (0 columns, " in told
    assert Summary.from_bytes(sums.read_bytes()).n_rows == 48
    assert main(["federate", "plan", str(folder / "study.toml"), str(sums), str(sums)]) == 0
    assert "<Plan of 48 rows" in capsys.readouterr().out
    assert main(["federate", "plan", str(folder / "study.toml")]) == 1
    assert "expected files of sums beside a study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"TabularEncoder"', '"TabularEncode"', "a kind of .* Did you mean 'TabularEncoder'"),
        ('"TabularEncoder"', '"os.system"', "expected a kind of"),
        ("backbone", "backbon", r"\[encoders.notes\]: expected names .* Did you mean 'backbone'"),
        ("fusion", "fussion", r"\[model\]: expected names"),
        ("rounds", "round", r"\[study\]: expected names"),
        ("[model]", "[modle]", "study.toml: expected names"),
        ("[model]", 'model = "x"\n[more]', "expected names|expected a table"),
        ("[model]", '[model]\nestimator = "EarlyFusionClassifier"', "estimator"),
    ],
)
def test_a_study_that_names_what_does_not_exist_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        read_study(tmp_path / "study.toml")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    with pytest.raises(InputError, match="expected a TOML file, got none"):
        read_site(file)
    file.write_text("[site\n")
    with pytest.raises(InputError, match=r"site.toml: expected TOML, got .* line 1"):
        read_site(file)
    file.write_text('[site]\nstudy = "s.toml"\n')
    with pytest.raises(ConfigurationError, match="expected 'table', 'target' in .site., got none"):
        read_site(file)
    file.write_text("site = 3\n")
    with pytest.raises(ConfigurationError, match=r"expected a table \[site\], got a value"):
        read_site(file)
    file.write_text("")
    with pytest.raises(ConfigurationError, match=r"expected a modality, such as \[encoders.labs"):
        read_study(file)


@pytest.mark.usefixtures("with_flower")
def test_commands_that_are_shown_carry_tls_and_keys(folder: Path, capsys: Any) -> None:
    files = ["--ca", "ca.crt", "--key", "own.key", "--show"]
    server = ["federate", "server", str(folder / "study.toml"), "--certificate", "server.crt"]
    assert main([*server, *files]) == 0
    assert "--enable-supernode-auth --disable-runtime-dependency" in capsys.readouterr().out
    client = ["federate", "client", str(folder / "north.toml"), "--server", "study.example:443"]
    assert main([*client, *files]) == 0
    told = capsys.readouterr().out
    assert "--root-certificates ca.crt --auth-supernode-private-key own.key" in told
    for command in (server, client):
        with pytest.raises(SystemExit):
            main([*command, "--key", "own.key"])  # no certificate, no run
        assert "--ca" in capsys.readouterr().err


def test_flowers_programs_are_told_to_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    settings = _flower.environment({"ASFUSION_SITE": "x"})
    assert settings["FLWR_TELEMETRY_ENABLED"] == "0"
    assert settings["FLWR_DISABLE_UPDATE_CHECK"] == "1"


class Program(SimpleNamespace):
    """A program that says how it ended, for as long as it is asked."""

    def poll(self) -> int | None:
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]


def test_a_server_that_does_not_come_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flower, "listens", lambda port: False)
    with pytest.raises(TrainingError, match="expected a SuperLink that answers at port 8000"):
        _federate._wait_for(Program(codes=[3]), 8000)  # type: ignore[arg-type]
    monkeypatch.setattr("subprocess.run", lambda *words, **named: Program(returncode=1))
    monkeypatch.setattr(_flower, "program", str)
    with pytest.raises(TrainingError, match="expected 'flwr supernode' to go through"):
        _federate._flwr({}, "supernode", "register")


def test_a_hospital_sees_what_leaves_and_why_it_ended(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = folder / "north-sent.jsonl"
    lines = [{"kind": k, "n_bytes": 10, "holds": f"a {k}"} for k in ("summary", "round", "round")]

    def sleep(seconds: float) -> None:
        if lines:
            with ledger.open("a") as file:
                file.write(json.dumps(lines.pop(0)) + "\n")

    class Running:
        def __init__(self, *words: Any) -> None:
            self.program = Program(codes=[None, None, None, 1])

        def __enter__(self) -> Program:
            return self.program

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(_flower, "running", Running)
    monkeypatch.setattr(_flower, "program", str)
    words = ["--server", "127.0.0.1:1", "--ca", "ca.crt", "--key", "own.key"]
    assert main(["federate", "client", str(folder / "north.toml"), *words]) == 1
    told = capsys.readouterr()
    assert "left, 10 bytes: a summary" in told.out
    assert "left: 1 of summary (10 bytes), 2 of round (20 bytes). No row left." in told.out
    assert "ended with 1. Is its key among those" in told.err


def test_what_travels_as_code_is_two_lines_and_no_file(folder: Path, monkeypatch: Any) -> None:
    for name, text in MODULES.items():
        assert str(folder) not in text
        if name.endswith(".py"):
            compile(text, name, "exec")
    monkeypatch.setenv("ASFUSION_STUDY", str(folder / "study.toml"))
    monkeypatch.setenv("ASFUSION_SITE", str(folder / "north.toml"))
    seen: list[Any] = []
    monkeypatch.setattr(
        "asfusion.federated.flower.server_app", lambda model, **named: seen.append(named)
    )
    monkeypatch.setattr(
        "asfusion.federated.flower.client_app",
        lambda make, ledger, secure: seen.append((make, ledger, secure)),
    )
    at_the_server()
    in_a_hospital()
    assert seen[0]["rounds"] == 3
    assert len(seen[1][0](None)._frame) == 48
    assert seen[1][1:] == (folder / "north-sent.jsonl", True)


def test_the_server_is_not_told_where_a_hospitals_files_lie(
    folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "north.toml").write_text(SITE)  # whose table is not there
    monkeypatch.setenv("ASFUSION_SITE", str(tmp_path / "north.toml"))
    made: list[Any] = []
    monkeypatch.setattr(
        "asfusion.federated.flower.client_app", lambda make, **named: made.append(make)
    )
    in_a_hospital()
    with pytest.raises(InputError, match="expected rows that can be read") as error:
        made[0](None)
    assert "rows.csv" not in str(error.value)
    assert "rows.csv: expected a file, got none" in capsys.readouterr().err
    words = ["--server", "127.0.0.1:1", "--ca", "ca.crt", "--key", "own.key"]
    monkeypatch.setattr(_flower, "program", str)
    assert main(["federate", "client", str(tmp_path / "north.toml"), *words]) == 1
    assert "rows.csv: expected a file, got none" in capsys.readouterr().err
