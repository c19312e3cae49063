"""A real SuperLink and two SuperNodes on loopback, with TLS and keys, by the command line.

It takes an environment with Flower, which has other versions of some helpers than the rest of the
tests: `make test-federated` makes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import asfusion as af
from asfusion._tables import read_table
from asfusion.cli._study import read_study
from tests.federated.test_federated import rows

pytestmark = pytest.mark.skipif(
    find_spec("flwr") is None, reason="Flower is not installed: make test-federated"
)
NAMES = ("north", "south")
STUDY = """\
[study]
rounds = 1
epochs = 1
timeout_s = 120

[encoders.labs]
kind = "TabularEncoder"
columns = ["crp", "sex"]
"""
SITE = """\
[site]
study = "study.toml"
table = "{name}.csv"
target = "axspa"
"""
WATCH = """\
import json, os, sys

def watch(event, about):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        place = about[1] if event == "socket.connect" else about
        if isinstance(place, tuple):  # no Unix socket
            with open(os.environ["ASKED"], "a") as file:
                file.write(json.dumps([event, str(place[0] or "")]) + "\\n")

sys.addaudithook(watch)
"""
CLI = [sys.executable, "-m", "asfusion.cli.commands"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    make_certificates(made)
    for name in (*NAMES, "stranger"):
        make_key(made / name)
    (made / "study.toml").write_text(STUDY)
    (made / "sitecustomize.py").write_text(WATCH)
    X, y = rows(80)
    for part, name in enumerate(NAMES):
        (made / f"{name}.toml").write_text(SITE.format(name=name))
        X[["crp", "sex"]].assign(axspa=y)[part::2].to_csv(made / f"{name}.csv", index=False)
    return made


def make_certificates(folder: Path) -> None:
    """Write a certificate of an authority, and one that it signed for this machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    keys = {who: ec.generate_private_key(ec.SECP384R1()) for who in ("ca", "server")}
    names = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in keys}
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    for who, key in keys.items():
        basic = x509.BasicConstraints(ca=who == "ca", path_length=None)
        made = (
            x509.CertificateBuilder(names["ca"], names[who], key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(basic, critical=True)
            .add_extension(here, critical=False)
            .sign(keys["ca"], hashes.SHA256())
        )
        (folder / f"{who}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = keys["server"].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.key").write_bytes(pem)


def make_key(file: Path) -> None:
    """Write a pair of keys as `ssh-keygen -t ecdsa -b 384` does."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    file.write_bytes(private)
    file.with_suffix(".pub").write_bytes(public)


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
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(af.__file__).parents[1])]),
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


def client(folder: Path, name: str, key: str, link: str, port: str) -> Any:
    words = ["client", f"{name}.toml", "--server", f"127.0.0.1:{link}", "--ca", "ca.crt"]
    return started([*words, "--key", key, "--port", port], folder, f"client-{key}")


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


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="of Linux alone")
def test_two_hospitals_train_over_tls_as_the_simulation_does(folder: Path) -> None:
    link, *own = ports(4)
    words = ["server", "study.toml", "--ca", "ca.crt", "--certificate", "server.crt"]
    words += ["--key", "server.key", "--port", link, "--node", "north.pub", "south.pub"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(started(words, folder, "server"))
        wait_until(folder / "server.txt", "registered successfully", server)
        clients = [
            stack.enter_context(client(folder, name, key, link, port))
            for name, key, port in zip((*NAMES, "north"), (*NAMES, "stranger"), own, strict=True)
        ]
        assert clients[-1].wait(120) == 1
        at = listeners([link, *own[:2]])
        assert server.wait(240) == 0, (folder / "server.txt").read_text()
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
        read_study(folder / "study.toml").model, table, table["axspa"], names, rounds=1, epochs=1,
        holdout=0.0, verbose=0,
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
