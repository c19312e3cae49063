from ._base import Fusion as Fusion
from .adaptation_gate import AdaptationGate as AdaptationGate
from .evidential import Evidential as Evidential
from .gaussian_experts import GaussianExperts as GaussianExperts
from .mixture import MixtureOfExperts as MixtureOfExperts
from .attention import CrossAttention as CrossAttention
from .concat import Concat as Concat
from .gated import Gated as Gated
