"""Time to an event: Cox regression, Kaplan-Meier curves, and what censoring does to scores."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
