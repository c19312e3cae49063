"""What the tests of images share."""

from __future__ import annotations

import pytest

import asfusion.imaging.dicom._workers as workers


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give workers more time than a hospital's computer has to: a busy machine is not at fault."""
    monkeypatch.setattr(workers, "_TIME_S", 120.0)
    monkeypatch.setattr(workers, "_HEADER_S", 120)
    monkeypatch.setattr(workers, "_START_S", 600.0)
