"""A risk score of each sample, with what it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from asfusion.genomics.harmonised import Harmonised


@dataclass(frozen=True, eq=False, repr=False)
class RiskScore:
    """Risk scores, and how far they rest on calls that are there.

    Parameters
    ----------
    scores : pandas.Series
        Sum of weights of each sample, named ``risk_score``, by sample.
    called : pandas.Series
        Share of the used variants for which each sample has a call, 0 to 1.
    harmonised : Harmonised
        Each weight with its ``status``; ``frequency`` is that of the effect allele among the
        samples and ``n_missing`` how many of them lack a call.
    notes : tuple of str
        What to know before the score is used.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.genomics import Genotypes, risk_score
    >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "A", "other_allele": "G"})
    >>> found = risk_score(
    ...     Genotypes([[2], [0]], ["p1", "p2"], variants), variants.assign(weight=0.5)
    ... )
    >>> found.to_frame()
        risk_score  called
    p1         1.0     1.0
    p2         0.0     1.0
    >>> found.coverage
    1.0
    """

    scores: pd.Series[float]
    called: pd.Series[float]
    harmonised: Harmonised
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the weights that found their variant, 0 to 1."""
        return float((self.harmonised.table["variant"] >= 0).mean())

    def __len__(self) -> int:
        return len(self.scores)

    def to_frame(self) -> pd.DataFrame:
        """Return scores and shares of calls as columns, to be joined to others by sample.

        Returns
        -------
        pandas.DataFrame
            ``risk_score`` and ``called``, a row for each sample.
        """
        import pandas as pd

        return pd.DataFrame({"risk_score": self.scores, "called": self.called})

    def __repr__(self) -> str:
        counts = self.harmonised.counts
        said = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        lines = [
            f"<RiskScore: {len(self)} samples, {len(self.harmonised.table)} weights: {said}>",
            f"  calls there: {self.called.mean():.1%} on average, {self.called.min():.1%} at least",
            *(f"  {note}" for note in self.notes),
        ]
        return "\n".join(lines)
