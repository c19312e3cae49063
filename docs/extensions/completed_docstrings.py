"""Show docstrings that are completed at import as `help` shows them, on the reference pages.

The pages are made from the source, which is not run; a class under ``@documented`` only names
there what it shares with others.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe

_DECORATOR = "documented"


class CompletedDocstrings(griffe.Extension):
    """Take the docstring of a decorated class from the class itself."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Complete the docstring of one class."""
        if not isinstance(obj, griffe.Class) or obj.docstring is None:
            return
        if any(str(decorator.value) == _DECORATOR for decorator in obj.decorators):
            found = getattr(importlib.import_module(obj.module.path), obj.name)
            obj.docstring.value = inspect.getdoc(found) or ""
