"""What another package asks of a function of ours or of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Asked:
    """A function that another package asks, its own errors remembered."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.error: Exception | None = None

    def __call__(self, rows: Any) -> Any:
        """Return what the function does."""
        try:
            return self._function(rows)
        except Exception as error:
            self.error = error
            raise
