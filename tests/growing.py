"""A model that keeps memory in its process: a module of its own, for workers to import quickly."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

_kept: list[np.ndarray] = []


class Growing(Ridge):
    """Leave a file for its process in `folder`, and keep 320 MB there from the second fit on.

    Joblib replaces a worker that grew by 300 MB since its first answer. It looks at most once a
    second, and hands over one fit at a time where a fit takes 0.2 seconds.
    """

    def __init__(self, folder: str = ".") -> None:
        super().__init__()
        self.folder = folder

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Growing:
        known = Path(self.folder) / str(os.getpid())
        if known.exists():
            _kept.append(np.ones(40_000_000))
        known.touch()
        time.sleep(1.1 if _kept else 0.3)
        return super().fit(X, y, sample_weight)
