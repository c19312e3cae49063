from .encoder import CornerEncoder as CornerEncoder
from .scorer import CornerScorer as CornerScorer
from .scores import CornerScores as CornerScores
