from ._base import Target as Target
from .classes import Classes as Classes
from .numbers import Numbers as Numbers
from .survival import Survival as Survival
