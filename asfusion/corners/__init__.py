"""Corners of the spine on lateral films: found, graded, and added to an mSASSS."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
