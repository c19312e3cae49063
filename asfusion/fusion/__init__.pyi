from ._base import Fusion as Fusion
from .adaptation_gate import AdaptationGate as AdaptationGate
from .attention import CrossAttention as CrossAttention
from .concat import Concat as Concat
from .evidential import Evidential as Evidential
from .gated import Gated as Gated
from .gaussian_experts import GaussianExperts as GaussianExperts
from .mixture import MixtureOfExperts as MixtureOfExperts
