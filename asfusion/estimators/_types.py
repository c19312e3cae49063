"""What parameters may be, each said once. Words that are not meant are errors to a type checker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from asfusion.fusion._base import Fusion

Combine: TypeAlias = Literal["auto", "mean", "vote", "weighted", "product", "stacking"]
Family: TypeAlias = Literal["auto", "early", "joint", "late"]
HeadName: TypeAlias = Literal[
    "adaptation_gate", "attention", "bottleneck", "concat", "evidential", "film", "gated",
    "gaussian_experts", "latents", "low_rank", "mixture",
]  # fmt: skip
ModelName: TypeAlias = Literal["linear", "boosted", "forest", "adaboost", "xgboost"]
Head: TypeAlias = "HeadName | Fusion"


class Model(Protocol):
    """A model of scikit-learn's kind, of this library or of another: it has a `fit`."""

    def fit(self, X: Any, y: Any, /) -> Any:
        """Learn from rows."""


class Splitter(Protocol):
    """A splitter of scikit-learn's kind, such as ``GroupKFold``."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        """Return positions to learn from and to judge on."""


LastModel: TypeAlias = ModelName | Model | None
ModalityModel: TypeAlias = Literal["network"] | ModelName | Model | None
ModalityModels: TypeAlias = ModalityModel | Mapping[str, ModalityModel]
CV: TypeAlias = int | Splitter | Iterable[tuple[Any, Any]]
ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Any, float] | None
Weights: TypeAlias = Mapping[str, float] | None
Threshold: TypeAlias = (
    float | Literal["youden", "prevalence"] | Mapping[Literal["sensitivity", "specificity"], float]
)
