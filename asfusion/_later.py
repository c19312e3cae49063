"""Packages that are imported once something of them is asked for: tables do without torch."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import streamlit as streamlit
    import torch as torch
else:

    class _Later(ModuleType):
        """Stands for a module until something of it is asked for."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") and name != "__version__":
                raise AttributeError(name)  # who looks what kind of object this is needs no package
            found = getattr(importlib.import_module(self.__name__), name)
            self.__dict__[name] = found  # the next time without a detour
            return found

    # Not `importlib.util.LazyLoader`: it is not safe in threads before Python 3.12.
    streamlit = _Later("streamlit")
    torch = _Later("torch")
