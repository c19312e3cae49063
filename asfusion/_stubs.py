"""What is public, as the stubs beside each ``__init__.py`` say it: nothing is imported for it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_FAMILY = "FusionClassifier"


@lru_cache(maxsize=1)
def public_names() -> frozenset[tuple[str, str]]:
    """Return the module and the name of all that the package and its rooms offer."""
    stubs = _PACKAGE.rglob("__init__.pyi")
    return frozenset(pair for stub in stubs for pair in _names_of(stub))


def fusion_heads() -> tuple[str, ...]:
    """Return the names of the fusion heads: each has the name of its file."""
    room = "asfusion.fusion."
    files = {module.removeprefix(room) for module, _ in public_names() if module.startswith(room)}
    return tuple(sorted(file for file in files if not file.startswith("_")))


def fusion_families() -> tuple[str, ...]:
    """Return the names of the families of fusion, such as "early"."""
    names = (name for _, name in public_names() if name.endswith(_FAMILY))
    return tuple(sorted(name.removesuffix(_FAMILY).lower() for name in names))


def fusion_modules(family: str) -> tuple[str, ...]:
    """Return the modules that hold the classes of a family, whatever they predict."""
    face = f"{family.capitalize()}Fusion"
    return tuple(sorted({module for module, name in public_names() if name.startswith(face)}))


def public_targets() -> tuple[str, ...]:
    """Return the names of the targets, in small letters: each has the name of its file."""
    room = "asfusion.targets."
    names = {name.lower() for module, name in public_names() if module == room + name.lower()}
    return tuple(sorted(names))


def offer(room: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a room that shows names of others."""
    places = {name: module for module, name in _names_of(Path(file).with_suffix(".pyi"))}
    offered = sorted(places)

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"No {room} attribute {name}")
        return getattr(importlib.import_module(places[name]), name)

    return find, lambda: offered, offered


def _names_of(stub: Path) -> list[tuple[str, str]]:
    """Return module and name of each line ``from .module import name as name``."""
    room = [_PACKAGE.name, *stub.parent.relative_to(_PACKAGE).parts]
    lines = ast.parse(stub.read_text("utf-8")).body
    return [
        (".".join([*room[: len(room) + 1 - line.level], line.module]), alias.name)
        for line in lines
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for alias in line.names
    ]
