"""Photographs of films: made as a telephone makes them, and brought back to the film."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
