"""What encoders and fusion heads of your own are written with, and checked by."""

from asfusion._stubs import offer as _offer

__getattr__, __dir__, __all__ = _offer(__name__, __file__)
