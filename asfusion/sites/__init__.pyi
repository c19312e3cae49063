from .external import ExternalValidation as ExternalValidation
from .harmoniser import SiteHarmoniser as SiteHarmoniser
from .reference import Reference as Reference
from .reference import make_reference as make_reference
