"""Plain models of clinical indices, compared with intervals and SHAP values."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
