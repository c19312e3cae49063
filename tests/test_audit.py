"""The audit of what is installed refuses what it is there for; that nothing is found, CI shows."""

from __future__ import annotations

import importlib.util
import json
import shutil
from email.message import Message
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, over copies of what it reads."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / ".ci").mkdir()
    for name in (*module.LOCKS, "constraints.txt", "pyproject.toml", ".ci/advisories.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def change(audit: ModuleType, name: str, old: str, new: str) -> None:
    text = (audit.ROOT / name).read_text("utf-8")
    assert old in text
    (audit.ROOT / name).write_text(text.replace(old, new, 1), "utf-8")


def test_what_is_locked_passes(audit: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    audit.check_holes(audit.check_versions())
    assert "none applies" in capsys.readouterr().out


def test_a_package_without_a_hash(audit: ModuleType) -> None:
    (audit.ROOT / "lock.txt").write_text("numpy==2.4.6\n", "utf-8")
    with pytest.raises(SystemExit, match=r"a hash for each package, got none for \['numpy'\]"):
        audit.check_versions()


def test_a_lock_of_other_versions(audit: ModuleType) -> None:
    version = audit.locked("lock.txt")["numpy"]
    change(audit, "constraints.txt", f"numpy=={version}", "numpy==1.0")
    with pytest.raises(
        SystemExit, match=r"versions of constraints\.txt, got others of \['numpy'\]"
    ):
        audit.check_versions()


@pytest.mark.parametrize("where", ["lock", "floor in pyproject.toml"])
def test_a_known_hole(audit: ModuleType, where: str) -> None:
    versions = audit.check_versions()
    fixed = "999" if where == "lock" else versions["pillow"]
    hole = {"package": "pillow", "from": "0", "fixed": fixed, "id": "CVE-0000-0000"}
    stored = {"looked_up": "2026-11-30", "advisories": [hole]}
    (audit.ROOT / ".ci" / "advisories.json").write_text(json.dumps(stored), "utf-8")
    with pytest.raises(SystemExit, match=rf"pillow [\d.]+ \({where}\): CVE-0000-0000, mended in"):
        audit.check_holes(versions)


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True), ("BSD-3-Clause AND Apache-2.0", True), ("GPL-3.0-or-later", False),
        ("MIT AND AGPL-3.0", False), ("Proprietary", False), ("", False),
    ],
)  # fmt: skip
def test_licences(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, licence: str, is_allowed: bool
) -> None:
    about = Message()
    about["Name"], about["License-Expression"] = "some-package", licence
    installed = [SimpleNamespace(metadata=about)]
    monkeypatch.setattr(audit.metadata, "distributions", lambda: installed)
    if is_allowed:
        audit.check_licences()
        return
    with pytest.raises(SystemExit, match="licences that nobody has allowed:\n  some-package"):
        audit.check_licences()
