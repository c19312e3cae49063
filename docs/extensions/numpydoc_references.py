"""Show numpydoc references as a list with links, when the reference pages are built.

Docstrings follow numpydoc, whose references are reStructuredText: ``.. [1] Author, ...``
below and ``[1]_`` in the text. The pages are Markdown, which knows neither.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_RULES = (
    (re.compile(r"^([ \t]*)\.\. \[(\d+)\] ", re.M), r"\1\2. "),
    (re.compile(r"\[(\d+)\]_"), r"[\1]"),
    (re.compile(r"^([ \t]*\w[\w, *]* : as )`(\w+)`", re.M), r"\1\2"),  # a type is code already
    (re.compile(r"::$", re.M), ":"),  # a literal block follows, which Markdown sees itself
)


class NumpydocReferences(griffe.Extension):
    """Rewrite each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turn the references of one docstring into Markdown."""
        if obj.docstring is not None:
            for pattern, replacement in _RULES:
                obj.docstring.value = pattern.sub(replacement, obj.docstring.value)
