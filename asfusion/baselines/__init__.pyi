from .board import BaselineBoard as BaselineBoard
from .board import BaselineStanding as BaselineStanding
from .regressors import compare_baselines as compare_baselines
