"""An archive of images to ask: Orthanc, started on this machine for the tests that need one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "reader", "a-secret-of-the-archive"
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
_DICTIONARIES = ("/usr/share", "/usr/local/share")


@dataclass(frozen=True)
class Orthanc:
    """Where the archive listens, on the loopback address."""

    http: int
    dicom: int

    @property
    def url(self) -> str:
        """Return the root of its DICOMweb service."""
        return f"http://127.0.0.1:{self.http}/dicom-web"


def absent() -> str | None:
    """Return why there is no archive to test with; None where there is one."""
    if _binary() is None:
        return "Orthanc is not installed (Debian: orthanc)."
    if _plugin() is None:
        return "Orthanc has no plugin for DICOMweb (Debian: orthanc-dicomweb)."
    return None


def _binary() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _plugin() -> Path | None:
    files = (Path(folder, "libOrthancDicomWeb.so") for folder in _PLUGINS)
    return next((file for file in files if file.exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path) -> Iterator[Orthanc]:
    """Start an empty archive that asks for a password, and end it with the block."""
    ports = Orthanc(_free_port(), _free_port())
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": ports.http,
        "DicomPort": ports.dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "Plugins": [str(_plugin())],
        "DicomWeb": {"Enable": True},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings))
    found = (entry for root in _DICTIONARIES for entry in Path(root).glob("libdcmtk*/dicom.dic"))
    environment = os.environ | {"DCMDICTPATH": str(next(found, ""))}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [str(_binary()), str(file)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(ports, process)
            yield ports
        finally:
            process.terminate()
            process.wait(30)


def _wait(ports: Orthanc, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Return once both ports are open."""
    end = time.monotonic() + seconds
    for port in (ports.http, ports.dicom):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                break
