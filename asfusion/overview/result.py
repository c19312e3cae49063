"""What a look at a table found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from asfusion._checks import check_choice
from asfusion._version import __version__
from asfusion.duplicates.found import Duplicates
from asfusion.overview._classes import Line
from asfusion.overview._columns import ColumnFacts
from asfusion.overview._modalities import Subset
from asfusion.overview._overview_page import OverviewPage
from asfusion.overview._sample_size import SampleSize
from asfusion.suspects.suspect import Suspect

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Overview(OverviewPage):
    """What `look` found: columns, modalities, classes, the size of the sample, possible leaks.

    Counts of fewer than 10 rows or patients are not shown, nor is any cell but medians, quartiles
    and ranges of at least 10 patients, and levels that as many share.

    Parameters
    ----------
    n_rows, n_groups : int
        Rows, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given; each row is one otherwise.
    target : str
        What is predicted, in words; empty without y.
    classes : mapping of str to (int or None)
        Rows of each class; one entry for all rows where there are no classes.
    columns : tuple of ColumnFacts
        Every column, in the order of the table.
    modalities : mapping of str to tuple of str
        Columns of each modality that could be learned from.
    subsets : tuple of Subset
        Rows by the modalities that they have, by class.
    lines : tuple of Line
        The table of patients by class.
    sample_sizes : tuple of SampleSize
        Patients that are there and that are needed, for each target.
    suspects : tuple of Suspect
        What may give the target away, or tells patients apart, with the evidence.
    duplicates : Duplicates or None
        Films and notes that different patients share; None if they were not compared.
    advice : tuple of str
        What else to see to, in sentences: wide tables that differ between sites.
    version : str
        Version of asfusion that looked.

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 80), "sex": rng.choice(["f", "m"], 80)})
    >>> y = pd.Series(rng.random(80) < 0.4, name="flare")
    >>> overview = af.look(X.assign(flare_again=y), y)
    >>> [(suspect.column, suspect.kind) for suspect in overview.suspects]
    [('flare_again', 'sibling'), ('flare_again', 'determines')]
    """

    n_rows: int
    n_groups: int
    is_grouped: bool
    target: str
    classes: Mapping[str, int | None]
    columns: tuple[ColumnFacts, ...]
    modalities: Mapping[str, tuple[str, ...]]
    subsets: tuple[Subset, ...]
    lines: tuple[Line, ...]
    sample_sizes: tuple[SampleSize, ...]
    suspects: tuple[Suspect, ...]
    duplicates: Duplicates | None = None
    advice: tuple[str, ...] = ()
    version: str = __version__

    def to_frame(
        self, part: Literal["columns", "suspects", "classes", "modalities"] = "columns"
    ) -> pd.DataFrame:
        """Return a part of the overview as a pandas DataFrame.

        Parameters
        ----------
        part : {"columns", "suspects", "classes", "modalities"}
            One row per column of the table, possible leak, line of the table by class, or set of
            modalities that rows have.

        Returns
        -------
        DataFrame
            What is not shown is missing.

        Raises
        ------
        ConfigurationError
            If there is no such part.
        """
        import pandas as pd

        check_choice(part, "part", ("columns", "suspects", "classes", "modalities"))
        if part == "columns":
            rows = [
                asdict(facts) | {"suspect": self.evidence(facts.name)} for facts in self.columns
            ]
            return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()
        if part == "suspects":
            return pd.DataFrame(
                [asdict(suspect) for suspect in self.suspects],
                columns=["column", "kind", "evidence"],
            )
        if part == "modalities":
            names = list(self.modalities)
            found = [{n: n in s.present for n in names} for s in self.subsets]
            counts = [dict(zip(self.classes, s.counts, strict=True)) for s in self.subsets]
            return pd.DataFrame([a | b for a, b in zip(found, counts, strict=True)])
        rows = [
            {"column": line.column, "level": line.level, "class": name, **asdict(summary)}
            | {"difference": line.difference}
            for line in self.lines
            for name, summary in zip(self.classes, line.classes, strict=True)
        ]
        return pd.DataFrame(rows)

    def evidence(self, column: str) -> str:
        """Return why a column is a suspect, empty if it is none.

        Parameters
        ----------
        column : str
            Its name.

        Returns
        -------
        str
            The evidence, one reason after the other.
        """
        return "; ".join(s.evidence for s in self.suspects if s.column == column)
