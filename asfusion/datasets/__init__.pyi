from .axspa_cohort import AxSpaCohort as AxSpaCohort
from .axspa_cohort import make_axspa_cohort as make_axspa_cohort
