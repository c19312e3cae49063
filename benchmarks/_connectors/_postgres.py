"""A PostgreSQL server of one's own, in a temporary folder and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql")
_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=20")


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, or None."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(PROGRAMS.glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@contextlib.contextmanager
def server(*, tcp: bool = False) -> Iterator[dict[str, Any]]:
    """Yield how to reach a server: ``host``, ``port``, ``user`` and ``dbname``.

    It listens on a socket in a folder, and with `tcp` on the loopback address.
    """
    folder = Path(tempfile.mkdtemp(prefix="asfusion-postgres-"))
    who = _user()
    try:
        if who:
            shutil.chown(folder, who["user"])
        _run(["initdb", "-D", folder / "data", "-A", "trust", "-U", "tester", "-N"], who)
        port = _free_port() if tcp else 5432
        settings = [*_SETTINGS, f"listen_addresses={'127.0.0.1' if tcp else ''}", f"port={port}"]
        settings += [f"unix_socket_directories={folder}"]
        command = [_program("postgres"), "-D", str(folder / "data")]
        command += [part for setting in settings for part in ("-c", setting)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **who
        )
        try:
            host = "127.0.0.1" if tcp else str(folder)
            _wait(process, [_program("pg_isready"), "-q", "-h", host, "-p", str(port)])
            yield {"host": host, "port": port, "user": "tester", "dbname": "postgres"}
        finally:
            process.send_signal(signal.SIGINT)  # which does not wait for who is connected
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    folder = programs()
    assert folder is not None
    return str(folder / name)


def _user() -> dict[str, Any]:
    """Return whom to run as: PostgreSQL refuses the superuser of the system."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
    raise RuntimeError("no user to run PostgreSQL as")


def _run(command: list[Any], who: dict[str, Any]) -> None:
    parts = [_program(command[0]), *map(str, command[1:])]
    subprocess.run(parts, check=True, stdout=subprocess.DEVNULL, cwd="/", **who)


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], is_ready: list[str]) -> None:
    for _ in range(300):
        if subprocess.run(is_ready, check=False, cwd="/").returncode == 0:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not start")
