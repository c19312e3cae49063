"""Scores and criteria of axial spondyloarthritis, as pure functions on numbers and columns."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
