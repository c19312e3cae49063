"""A real SuperLink and two SuperNodes on loopback, with TLS and keys, by the command line.

It takes an environment with Flower, which has other versions of some helpers than the rest of the
tests: `make test-federated` makes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import asfusion as af
from asfusion._tables import read_table
from asfusion.cli._study import read_study

pytestmark = [
    pytest.mark.skipif(find_spec("flwr") is None, reason="no Flower here: make test-federated"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here, to make keys"),
    pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here, to make keys"),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are watched on Linux"),
]
NAMES = ("north", "south")
COLUMNS = ["crp", "esr", "age", "sex", "clinical_note"]
CLI = [sys.executable, "-m", "asfusion.cli.commands"]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "train-across-hospitals.md"


def blocks(kind: str) -> list[str]:
    """Return what stands in the blocks of a kind on the page, in its order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def commands(beginning: str) -> list[list[str]]:
    """Return the words of the commands on the page that begin so."""
    lines = [line.removeprefix("$ ") for one in blocks("console") for line in one.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(beginning)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, with keys made by its commands, for two hospitals and a stranger."""
    made = tmp_path_factory.mktemp("study")
    for words in commands("openssl"):
        subprocess.run(words, cwd=made, check=True, capture_output=True)
    for name in (*NAMES, "stranger"):
        words = [name if word == "north" else word for word in commands("ssh-keygen")[0]]
        subprocess.run(words, cwd=made, check=True)
    study, site = blocks("toml")[:2]
    site = site.replace("holdout = 0.2", "holdout = 0.0")  # `simulate` draws other rows
    (made / "study.toml").write_text(study.replace("rounds = 10", "rounds = 1"))
    cohort = af.datasets.make_axspa_cohort(80, modalities=["labs", "notes"], random_state=0)
    table = cohort.X[COLUMNS].assign(axspa=cohort.y, patient=cohort.groups)
    for part, name in enumerate(NAMES):
        (made / f"{name}.toml").write_text(site.replace("north", name))
        table[part::2].to_csv(made / f"{name}.csv", index=False)
    return made


def ports(n: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in taken]


@contextlib.contextmanager
def started(words: list[str], folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of ours; what it prints goes to a file, and it is ended with the block."""
    settings = {
        **os.environ, "FLWR_HOME": str(folder / f"home-{name}"),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks" / "sockets"), str(ROOT)]),
        "OMP_NUM_THREADS": "1", "ASKED": str(folder / "asked.jsonl"),
    }  # fmt: skip
    (folder / f"home-{name}").mkdir()
    with (folder / f"{name}.txt").open("w") as output:
        process = subprocess.Popen(
            [*CLI, "federate", *words], cwd=folder, env=settings, text=True,
            stdout=output, stderr=output,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def with_words(words: list[str], **changed: str) -> list[str]:
    """Return the words of a command of ours, with other values of some options."""
    found = words[2:]
    for option, value in changed.items():
        found[found.index(f"--{option}") + 1] = value
    return found


def client(folder: Path, name: str, key: str, link: str, port: str) -> Any:
    words = commands("asfusion federate client")[0]
    words = with_words(words, server=f"127.0.0.1:{link}", port=port, key=key)
    words[1] = f"{name}.toml"
    return started(words, folder, f"client-{key}")


def wait_until(file: Path, said: str, process: subprocess.Popen[str]) -> None:
    while file.read_text().count(said) < len(NAMES):
        assert process.poll() is None, file.read_text()
        time.sleep(0.2)


def listeners(wanted: list[str]) -> dict[str, str]:
    """Return the address at which this machine listens at each port."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            if state == "0A" and str(int(port, 16)) in wanted:
                found[str(int(port, 16))] = address
    return found


def test_two_hospitals_train_over_tls_as_the_simulation_does(folder: Path) -> None:
    link, *own = ports(4)
    words = with_words(commands("asfusion federate server")[0], port=link)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(started(words, folder, "server"))
        wait_until(folder / "server.txt", "registered successfully", server)
        clients = [
            stack.enter_context(client(folder, name, key, link, port))
            for name, key, port in zip((*NAMES, "north"), (*NAMES, "stranger"), own, strict=True)
        ]
        assert clients[-1].wait(240) == 1
        at = listeners([link, *own[:2]])
        assert server.wait(400) == 0, (folder / "server.txt").read_text()
    assert at == dict.fromkeys([link, *own[:2]], "0100007F")  # 127.0.0.1
    assert "Is its key among those" in (folder / "client-stranger.txt").read_text()
    check_sent(folder)
    check_as_simulated(folder)
    check_connections(folder)


def check_sent(folder: Path) -> None:
    for name in NAMES:
        ledger = (folder / f"{name}-sent.jsonl").read_text().splitlines()
        assert [json.loads(line)["kind"] for line in ledger] == ["summary", "round"]
        printed = (folder / f"client-{name}.txt").read_text()
        assert "left, " in printed
        assert "Messages that left: 1 of summary (" in printed


def check_as_simulated(folder: Path) -> None:
    tables = [read_table(folder / f"{name}.csv") for name in NAMES]
    table = polars.concat(tables)
    names = np.repeat(NAMES, [len(one) for one in tables])
    run = af.federated.simulate(
        read_study(folder / "study.toml").model, table, table["axspa"], names, rounds=1, epochs=5,
        groups=table["patient"], holdout=0.0, verbose=0,
    )  # fmt: skip
    ours = run.model_.network_.state_dict()
    theirs = af.load(folder / "federated.asf").network_.state_dict()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array.numpy(), theirs[name].numpy(), rtol=0, atol=1e-6)


def check_connections(folder: Path) -> None:
    """Every Python of the study wrote down where it connected to and what it looked up."""
    asked = [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]
    assert {host for event, host in asked if event == "socket.connect"} == {"127.0.0.1"}
    assert {host for _, host in asked} <= {"127.0.0.1", "localhost", "::1", ""}
