"""Class labels as text that JSON gives back as what they were."""

from __future__ import annotations

import json
from typing import Any

from numpy.typing import NDArray


def label_names(y: NDArray[Any]) -> list[str | None]:
    """Return labels as JSON: ``"1"`` is the number, ``'"1"'`` the text."""
    return [json.dumps(label) for label in y.tolist()]
