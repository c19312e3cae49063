from ._base import Target as Target
from .bounded import Bounded as Bounded
from .classes import Classes as Classes
from .counts import Counts as Counts
from .grades import Grades as Grades
from .numbers import Numbers as Numbers
from .ordered import OrderedClassifier as OrderedClassifier
from .survival import Survival as Survival
