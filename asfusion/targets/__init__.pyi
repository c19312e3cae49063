from ._base import Target as Target
from .classes import Classes as Classes
from .numbers import Numbers as Numbers
