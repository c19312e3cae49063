"""A fitted model where others ask it: behind HTTP, or from one exported file."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
