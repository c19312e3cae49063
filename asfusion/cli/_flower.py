"""Flower's programs: their command lines, never without TLS and keys, and their processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asfusion._optional import import_optional
from asfusion.federated._quiet import QUIET

_ENDS_S = 10.0


def superlink(options: argparse.Namespace) -> list[str]:
    """Return the command of the server."""
    return [
        program("flower-superlink"),
        *("--host", options.host, "--port", str(options.port)),
        *("--ssl-ca-certfile", str(options.ca), "--ssl-certfile", str(options.certificate)),
        *("--ssl-keyfile", str(options.key)),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
    ]


def supernode(options: argparse.Namespace) -> list[str]:
    """Return the command of a hospital; SuperNodes install nothing unless they are told to."""
    return [
        program("flower-supernode"),
        *("--superlink", options.server, "--root-certificates", str(options.ca)),
        *("--auth-supernode-private-key", str(options.key)),
        *("--host", "127.0.0.1", "--port", str(options.port)),
    ]


def connection(name: str, options: argparse.Namespace) -> str:
    """Return Flower's configuration by which its command line finds the server."""
    certificate = json.dumps(str(options.ca.absolute()))  # TOML reads it alike
    return (
        f'[superlink]\ndefault = "{name}"\n[superlink.{name}]\n'
        f'address = "127.0.0.1:{options.port}"\nroot-certificates = {certificate}\n'
    )


def program(name: str) -> str:
    """Return the path of one of Flower's programs, beside this Python."""
    import_optional("flwr", needed_for="Federation over Flower", extra="federated")
    return str(Path(sys.executable).with_name(name))


def environment(named: Mapping[str, str], home: Path | None = None) -> dict[str, str]:
    """Return the environment of Flower's programs: they send nothing to their maker."""
    tools = str(Path(sys.executable).parent)
    found = {**os.environ, **named, **QUIET}
    found["PATH"] = os.pathsep.join([tools, found.get("PATH", "")])
    return found if home is None else {**found, "FLWR_HOME": str(home)}


@contextlib.contextmanager
def running(
    command: list[str], settings: dict[str, str], log: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, which ends with the block; what it starts watches it, and ends too."""
    with contextlib.ExitStack() as stack:
        output: Any = None if log is None else stack.enter_context(log.open("ab"))
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def stop_on_term() -> Iterator[None]:
    """Let SIGTERM, by which a service is stopped, end the block as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def listens(port: int) -> bool:
    """Return whether something on this machine answers at a port."""
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex(("127.0.0.1", port)) == 0
