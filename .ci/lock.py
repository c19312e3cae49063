"""Write the locks with hashes: `python .ci/lock.py`, with the tool `uv` on the path.

`lock.txt` holds what `make test` installs, in the versions of constraints.txt, and
`.ci/audit-lock.txt` the tools of `make audit`, and those of `federated`, `cluster` and `serving`
what `make test-federated`, `make test-cluster` and `make test-serving` install beside it. Hashes
are those of all files of a version, for every platform. torch stands alone in `.ci/torch-lock.txt`,
with the hashes of its CPU build as well: of two builds with a hash pip would take the larger one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("cyclonedx-bom>=7", "pip-audit>=2.9")
EXTRAS = ("pretrained", "parquet", "docs", "test")
HEADER = (
    "# Versions and hashes; written by .ci/lock.py from pyproject.toml and constraints.txt.\n"
    "# Install with: pip install --no-deps --require-hashes -r {name}\n"
)
UV = ("uv", "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")
TARGET = ("--python-version", "3.11.9", "--python-platform", "x86_64-manylinux_2_28")


def compiled(*words: str, stdin: str | None = None) -> str:
    """Return what uv resolves."""
    done = subprocess.run(
        [*UV, *TARGET, *words], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return re.sub(r"^--(index-url|extra-index-url|find-links).*\n", "", done.stdout, flags=re.M)


def main() -> None:
    """Write the locks."""
    wheels = sys.argv[1:]  # folders with wheels of the CPU build of torch
    links = [word for folder in wheels for word in ("--find-links", folder)]
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    locked = compiled("pyproject.toml", *extras, "-c", "constraints.txt", *links)
    torch = re.search(r"^torch==([\d.]+)(?:\+cpu)?(?: \\\n    --hash=\S+)+\n", locked, flags=re.M)
    if torch is None:
        sys.exit("No torch in what was resolved.")
    general = compiled("--no-deps", "-", stdin=f"torch=={torch[1]}")
    hashes = sorted({*re.findall(r"--hash=\S+", torch[0]), *re.findall(r"--hash=\S+", general)})
    write("lock.txt", locked.replace(torch[0], ""))
    write(".ci/torch-lock.txt", " \\\n    ".join([f"torch=={torch[1]}", *hashes]) + "\n")
    write(".ci/audit-lock.txt", compiled("-", stdin="\n".join(TOOLS)))
    for beside in ("federated", "cluster", "serving"):
        lock = compiled("--no-deps", f"constraints-{beside}.txt")
        write(f".ci/{beside}-lock.txt", lock)


def write(name: str, lock: str) -> None:
    """Write one lock."""
    (ROOT / name).write_text(HEADER.format(name=name) + lock)


if __name__ == "__main__":
    main()
