"""Fusion heads: tokens of each modality in, one vector per row out.

Each file defines one head and is named after it: ``fusion="gated"`` in an estimator
reads `Gated` from ``gated.py``. A new head is one new file and one line in the stub.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
