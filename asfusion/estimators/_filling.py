"""Features of all modalities side by side: what stands for an absent one, and their scale.

Dimensions: N rows, M modalities.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from asfusion.encoders._base import Encoder
from asfusion.estimators._blocks import center_and_spread, few_rows, present_of
from asfusion.estimators._named import is_linear, model_of
from asfusion.estimators._rows import TrainingRows, check_some
from asfusion.estimators._sparse import center_and_spread as sparse_moments
from asfusion.estimators._sparse import reads_sparse, side_by_side, with_stand_in
from asfusion.estimators._streamed_early import Moments
from asfusion.targets._base import Target


class Filling:
    """What early fusion learns to put the blocks of its encoders side by side."""

    encoders_: dict[str, Encoder]
    estimator: Any
    scale: str
    target_: Target

    def _learn_filling(self, blocks: dict[str, NDArray[np.float64]], rows: TrainingRows) -> None:
        """Learn what stands in for an absent modality, and the scale of each feature."""
        moments: Moments = {}
        for name, block in blocks.items():
            present = present_of(block)
            check_some(name, self.encoders_[name], present)
            known = block, present, rows.sample_weight[present]
            found = (sparse_moments if issparse(block) else center_and_spread)(*known)
            moments[name] = *found, bool(present.all())
        self._set_filling(moments)

    def _set_filling(self, moments: Moments) -> None:
        """Take over centre and spread of each modality, and whether it is never absent."""
        self.centers_, self.scales_, names = {}, {}, []
        self.flagged_ = []
        for name, (center, spread, is_full) in moments.items():
            self.centers_[name] = center
            self.scales_[name] = self._scale_of(name, spread)
            own = self.encoders_[name].get_feature_names_out()
            names += [f"{name}__{feature}" for feature in own]
            if not is_full:
                self.flagged_.append(name)
        self.feature_names_ = [*names, *(f"{name}__present" for name in self.flagged_)]

    def _scale_of(self, name: str, spread: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each feature of a modality is divided by."""
        if self.encoders_[name].is_sparse and self.scale != "columns":
            # Counted words weigh what they do: each with a variance of one, rare words would weigh
            # most. Together they have a variance of one, too.
            spread = np.full(len(spread), np.sqrt(np.square(spread).sum() / max(1, len(spread))))
        # What varies by rounding alone becomes zero: a model that scales it once more would make a
        # feature of it.
        scale = np.where(spread > 1e-12, spread, np.inf)
        # Each modality brings total variance one, however many features it has: a wide embedding
        # does not drown a handful of labs in a penalised model.
        return scale if self.scale == "columns" else scale * np.sqrt(len(spread))

    def _fill(
        self, blocks: dict[str, Any], kept: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return features side by side, means standing for absent modalities, with flags.

        Where `kept` (N, M) says no, a modality is absent, too. The blocks are taken out of
        `blocks` one by one, so that a large table is not kept twice.
        """
        present = {name: present_of(block) for name, block in blocks.items()}
        if kept is not None:
            present = {name: present[name] & kept[:, m] for m, name in enumerate(blocks)}
        some = np.asarray(np.any(list(present.values()), axis=0))
        sparse = [name for name, block in blocks.items() if issparse(block)]
        for name in sparse:
            stand_in = None if name in self.flagged_ else self.centers_[name]
            blocks[name] = with_stand_in(blocks[name], present[name], stand_in)
        if sparse and self._reads_sparse():
            return self._stacked(blocks, present), some
        blocks.update((name, blocks[name].toarray()) for name in sparse)
        if kept is None and len(blocks) == 1 and not self.flagged_:
            name, own = next(iter(blocks.items()))
            # What nobody else holds needs no copy.
            if self.encoders_[name]._gives_away and own.flags.writeable:
                own = blocks.pop(name)
                own[~present[name]] = self.centers_[name]
                return own, some
        width = sum(block.shape[1] for block in blocks.values())
        kind = np.result_type(*blocks.values())
        features = np.empty((len(some), width + len(self.flagged_)), kind)
        start = 0
        for name, there in present.items():
            block = blocks.pop(name)
            own = features[:, start : start + block.shape[1]]
            own[:] = block
            if name not in sparse:
                own[~there] = self.centers_[name]
            start += block.shape[1]
        for place, name in enumerate(self.flagged_, start):
            features[:, place] = present[name]
        return features, some

    def _stacked(self, blocks: dict[str, Any], present: dict[str, NDArray[np.bool_]]) -> csr_array:
        """Return features side by side as a sparse matrix, scaled already."""
        parts = []
        for name, there in present.items():
            block = blocks.pop(name)
            if not issparse(block):
                block = np.where(there[:, None], block, self.centers_[name])
                block = (
                    (block - self.centers_[name]) / self.scales_[name] if self._scales else block
                )
            elif self._scales:
                block = csr_array(block / self.scales_[name])
            parts.append(block)
        flags = [present[name] for name in self.flagged_]
        return side_by_side([*parts, np.column_stack(flags).astype(np.float64)] if flags else parts)

    def _scaled(self, features: Any) -> Any:
        """Return features as the estimator reads them: in units, or scaled, in place."""
        if issparse(features) or not self._scales:
            return features
        # What is sparse is not centred, so that it is the same wherever it is stacked.
        own = self.encoders_.items()
        shifts = [np.where(e.is_sparse, 0.0, self.centers_[name]) for name, e in own]
        center = np.concatenate([*shifts, np.zeros(len(self.flagged_))])
        scale = np.concatenate([*self.scales_.values(), np.ones(len(self.flagged_))])
        for rows in few_rows(features):
            part = features[rows]
            part -= center
            part /= scale
        return features

    @property
    def _scales(self) -> bool:
        """Whether the estimator reads scaled features."""
        return self.scale != "none" and (self.scale != "auto" or is_linear(self.estimator))

    def _reads_sparse(self) -> bool:
        """Return whether the estimator takes a sparse matrix."""
        given = None if is_linear(self.estimator) else model_of(self.target_, self.estimator)
        return reads_sparse(self.target_.linear() if given is None else given)
