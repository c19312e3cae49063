"""The words that types allow are those that are there; `typing/users.py` is for mypy."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from asfusion._stubs import fusion_families, fusion_heads
from asfusion.estimators import _types
from asfusion.selection._base import _ENOUGH, MemberName
from asfusion.targets.classes import Classes
from asfusion.targets.numbers import Numbers
from asfusion.targets.survival import Survival


def test_types_name_what_there_is() -> None:
    assert set(get_args(_types.HeadName)) == set(fusion_heads())
    assert set(get_args(_types.Family)) == set(fusion_families())
    assert set(get_args(MemberName)) == set(_ENOUGH)
    models = {name for target in (Classes, Numbers, Survival) for name in target._models}
    assert set(get_args(_types.ModelName)) == {"linear", *models}


@pytest.mark.skipif(shutil.which("pyright") is None, reason="pyright is not installed.")
def test_another_type_checker_agrees_on_what_users_write() -> None:
    run = subprocess.run(
        ["pyright", "--pythonpath", sys.executable],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
