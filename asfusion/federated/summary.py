"""What a site tells before the first round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from asfusion.exceptions import InputError
from asfusion.federated._messages import odd, read_json
from asfusion.tabular.told import ColumnSums, Told

_FORMAT = "asfusion.summary/1"


@dataclass(frozen=True)
class Summary:
    """Sums of one site's rows, or of several sites': counts and means of bins, none of few rows.

    Parameters
    ----------
    n_rows : int
        Rows that are counted in `target`.
    target : ColumnSums
        Classes and their rows, or bins of numbers.
    modalities : mapping of str to Told
        One entry per modality of the model; zero rows where the site lacks it, or has it of too
        few.
    least : int
        Fewest rows of a count.
    model : str
        Digest of the model's description: all sites must mean the same one.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(60, modalities=["labs"])
    >>> X, y = cohort.X, cohort.y
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])})
    >>> summary = af.federated.Site(model, X, y).summary()
    >>> summary.n_rows, sorted(summary.modalities)
    (60, ['labs'])
    """

    n_rows: int
    target: ColumnSums
    modalities: Mapping[str, Told]
    least: int
    model: str

    def __add__(self, other: Summary) -> Summary:
        """Return what both tell together.

        Raises
        ------
        InputError
            If they are of different models.
        ColumnError
            If a column holds one kind of cells at one site and another kind at the other.
        """
        if self.model != other.model:
            msg = (
                "Summary: expected sums by one model, got those of models that are described "
                "differently. Use the same encoders and parameters at all sites."
            )
            raise InputError(msg)
        told = {name: one + other.modalities[name] for name, one in self.modalities.items()}
        least = min(self.least, other.least)
        n_rows = self.n_rows + other.n_rows
        return Summary(n_rows, self.target + other.target, told, least, self.model)

    def to_bytes(self) -> bytes:
        """Return the summary as JSON: what leaves the site, for anyone to read."""
        told = {name: one.to_state() for name, one in self.modalities.items()}
        state = {**vars(self), "target": self.target.to_state(), "modalities": told}
        return json.dumps({"format": _FORMAT, **state}, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Summary:
        """Return what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            A message, which is not trusted.

        Returns
        -------
        Summary
            The same sums.

        Raises
        ------
        InputError
            If the message holds anything else.
        """
        state = read_json(data, _FORMAT)
        try:
            told = {str(name): Told.from_state(one) for name, one in state["modalities"].items()}
            target = ColumnSums.from_state(state["target"])
            n_rows, least = int(state["n_rows"]), int(state["least"])
            made = cls(n_rows, target, told, least, str(state["model"]))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise odd(_FORMAT) from None
        if n_rows < 0 or least < 1:
            raise odd(_FORMAT)
        return made
