from ._base import Fusion as Fusion
from .attention import CrossAttention as CrossAttention
from .concat import Concat as Concat
from .gated import Gated as Gated
