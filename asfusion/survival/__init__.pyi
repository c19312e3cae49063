from .cox import CoxRegression as CoxRegression
from .kaplan_meier import KaplanMeier as KaplanMeier
