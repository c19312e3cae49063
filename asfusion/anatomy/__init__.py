"""Where the anatomy is on a film: regions and landmarks, found as they were annotated."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
