"""Read a saved finder."""

from __future__ import annotations

from pathlib import Path

from asfusion._door import public
from asfusion.anatomy.landmark_finder import LandmarkFinder
from asfusion.anatomy.region_finder import RegionFinder
from asfusion.bundle.objects import load_bundle
from asfusion.exceptions import BundleError

_KINDS = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in (RegionFinder, LandmarkFinder)}
_MAX_BYTES = 1 << 30


@public
def read_finder(path: str | Path) -> RegionFinder | LandmarkFinder:
    """Read a finder that `save` wrote; `asfusion.load` reads it, too.

    Parameters
    ----------
    path : str or Path
        The folder.

    Returns
    -------
    RegionFinder or LandmarkFinder
        The fitted finder, without annotations.

    Raises
    ------
    BundleError
        If the folder is not a saved finder, or was changed or cut.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd, asfusion as af
    >>> films = [np.eye(40, k=k, dtype=np.uint8) * 255 for k in range(8)]
    >>> rows = [[film, "line", k, 0, 40, 40 - k] for k, film in enumerate(films)]
    >>> boxes = pd.DataFrame(rows, columns=["film", "region", "x0", "y0", "x1", "y1"])
    >>> finder = af.anatomy.RegionFinder(boxes, size=32, epochs=1, verbose=0).fit(films)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = af.anatomy.read_finder(finder.save(folder + "/finder.asf"))
    >>> again.digest_ == finder.digest_
    True
    """
    finder = load_bundle(Path(path), _resolve, max_bytes=_MAX_BYTES)
    if not isinstance(finder, RegionFinder | LandmarkFinder):
        raise BundleError("read_finder: expected a saved finder, got something else.")
    return finder


def _resolve(name: object) -> type:
    if isinstance(name, str) and name in _KINDS:
        return _KINDS[name]
    msg = "read_finder: expected a saved finder, got another model. asfusion.load reads estimators."
    raise BundleError(msg)
