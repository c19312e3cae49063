"""Hospitals that differ: harmonised within training, and a model judged where it is new."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
