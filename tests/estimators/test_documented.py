"""What estimators share is described once, and read alike by `help` and by the pages."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import asfusion as af
from asfusion.estimators import _documented
from asfusion.estimators._documented import documented

FAMILIES = ("auto", "early", "joint", "late")
CLASSES = [
    getattr(af, f"{family.title()}Fusion{face.title()}")
    for family in FAMILIES
    for face in ("classifier", "regressor", "survival", "multilabel")
]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


@every_class
def test_no_name_is_left_alone(cls):
    doc = inspect.getdoc(cls)
    assert re.findall(r"^[a-z]\w*$", doc, re.M) == []
    assert "encoders : " in doc and "prior_ : " in doc


def test_every_description_is_used_by_two_classes():
    text = _documented._SHARED + "".join(_documented._OF_FACE.values())
    for entry in _documented._ENTRY.finditer(text):
        users = [cls for cls in CLASSES if entry[0].rstrip() in inspect.getdoc(cls)]
        assert len(users) > 1, entry[1]


def test_a_class_keeps_what_it_says_itself():
    @documented
    class Own:
        """Do something.

        Parameters
        ----------
        encoders : list
            Others than usual.
        verbose
        """

        _face = "classifier"

    assert "encoders : list\n    Others than usual.\nverbose : int\n    0 is silent" in Own.__doc__


def test_python_without_docstrings_is_no_error():
    silent = type("Silent", (), {"_face": "regressor"})
    assert documented(silent).__doc__ is None


@pytest.fixture(scope="module")
def pages():
    """Return the package as the reference pages read it, from its source."""
    griffe = pytest.importorskip("griffe")
    extensions = Path(__file__).resolve().parents[2] / "docs" / "extensions"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(extensions)
        extension = importlib.import_module("completed_docstrings").CompletedDocstrings()
    return griffe.load("asfusion", extensions=griffe.Extensions(extension))


@every_class
def test_reference_pages_show_what_help_shows(cls, pages):
    shown = pages[cls.__module__.removeprefix("asfusion.")][cls.__name__].docstring.value
    assert shown == inspect.getdoc(cls)
