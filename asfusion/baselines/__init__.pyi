from .board import BaselineBoard as BaselineBoard
from .board import BaselineStanding as BaselineStanding
from .regressors import BasdaiRegressor as BasdaiRegressor
from .regressors import BasfiRegressor as BasfiRegressor
from .regressors import ClinicalIndexRegressor as ClinicalIndexRegressor
from .regressors import compare_baselines as compare_baselines
