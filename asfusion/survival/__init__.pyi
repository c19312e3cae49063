from .cox import CoxRegression as CoxRegression
from .kaplan_meier import KaplanMeier as KaplanMeier
from .ranked import BoostedSurvival as BoostedSurvival
from .ranked import ForestSurvival as ForestSurvival
