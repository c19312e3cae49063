"""What each variant added to a prediction, and each gene or locus as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asfusion.exceptions import ConfigurationError
from asfusion.explanation.tables import TableAttribution

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class GenotypeAttribution(TableAttribution):
    """What each variant added to a model's output, and each locus as one player.

    Variants that are inherited together say the same, and a model may read any of them: their
    values share what the locus is worth, by chance of training. `loci` leaves a locus in or out
    as a whole, so that nothing is shared.

    Parameters
    ----------
    loci : TableAttribution, optional
        The same rows, with genes or loci in place of variants. The sums are the same.

    Examples
    --------
    >>> found = GenotypeAttribution([[0.2, 0.1]], 0.5, [[1, 1]], ["hla_b27", "rs4349859"])
    >>> found.outputs.round(2).tolist()
    [0.8]
    """

    loci: TableAttribution | None = None

    def by_locus(self) -> TableAttribution:
        """Return the attribution of genes or loci.

        Returns
        -------
        TableAttribution
            With the drawings of any table.

        Raises
        ------
        ConfigurationError
            If every variant is a locus of its own.
        """
        if self.loci is None:
            msg = (
                "by_locus: expected variants that share a gene or locus, got each alone. Pass "
                "annotation= to the GenotypeEncoder, and fit again."
            )
            raise ConfigurationError(msg)
        return self.loci

    def to_frame(self) -> pd.DataFrame:
        """Return one line for each cell, and below them one for each locus.

        Returns
        -------
        pandas.DataFrame
            As of `TableAttribution.to_frame`, with a column ``level``: ``"variant"`` or
            ``"locus"``.
        """
        import pandas as pd

        parts: list[Any] = [super().to_frame().assign(level="variant")]
        if self.loci is not None:
            parts.append(self.loci.to_frame().assign(level="locus"))
        joined: pd.DataFrame = pd.concat(parts, ignore_index=True)
        return joined
