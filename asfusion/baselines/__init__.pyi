from ._standing import BaselineStanding as BaselineStanding
from .board import BaselineBoard as BaselineBoard
from .regressors import compare_baselines as compare_baselines
