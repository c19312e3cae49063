"""Clinical notes: what they name and how they mean it, what they give away."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
