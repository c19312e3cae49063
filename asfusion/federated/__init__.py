"""One model of several hospitals: what they share is sums and weights, never a row."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
