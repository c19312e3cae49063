"""Whether a model's embeddings give away where a patient was treated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.evaluation._inputs import read_complete, read_groups
from asfusion.evaluation._labels import show_number
from asfusion.evaluation._patterns import encoders_inside, read_presence
from asfusion.evaluation._probe_scores import SiteRegression, permute_within
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation._subgroup_scores import holm
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.show import page
from asfusion.targets._guess import guess_target

if TYPE_CHECKING:
    import pandas as pd

_PRESENCE = "presence"
_STRATA = 4  # parts into which a target of numbers is cut
_CLEAR = 0.05


@dataclass(frozen=True)
class Probed:
    """What one embedding gives away.

    Parameters
    ----------
    n_rows, n_groups : int
        Rows that have the modality, and their patients.
    auc : float
        Mean area under the curve of each site against the others, on patients that the
        probe did not learn from; 0.5 is chance.
    expected : float
        Its mean if the embedding knew no more of the site than the label says.
    p_value : float
        Share of permutations, within patients of one label, that do as well.
    adjusted : float
        The same after Holm's correction for the number of embeddings.
    """

    n_rows: int
    n_groups: int
    auc: float
    expected: float
    p_value: float
    adjusted: float


@dataclass(frozen=True, eq=False, repr=False)
class SiteProbe(page.Page):
    """What `site_probe` found.

    Parameters
    ----------
    sites : tuple of str
        Names of the sites.
    label_auc : float or None
        How well the label alone tells the sites apart; None if no labels were given.
    n_permutations : int
        Number of permutations behind each p-value.
    embeddings : mapping of str to Probed
        By modality; ``"presence"`` is which modalities a row has, nothing else.
    skipped : tuple of str
        Modalities that too few rows have.
    is_testable : bool
        Whether sites could be permuted at all: not where the label says which site it is.
    advice : mapping of str to str
        What may be changed where a modality gives the site away, by modality.
    """

    sites: tuple[str, ...]
    label_auc: float | None
    n_permutations: int
    embeddings: Mapping[str, Probed]
    skipped: tuple[str, ...]
    is_testable: bool = True
    advice: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Which embeddings give the site away, in sentences."""
        if not self.is_testable:
            return (
                "Whether an embedding gives the site away cannot be tested: all patients of one "
                "label are of one site. A model cannot tell the disease from the site here; judge "
                "it on rows of another site."
            )
        clear = {k: v for k, v in self.embeddings.items() if v.adjusted <= _CLEAR}
        beyond = "" if self.label_auc is None else " beyond what the label explains"
        if clear:
            named = ", ".join(f"{name} (AUC {show_number(p.auc)})" for name, p in clear.items())
            advised = [f" {name} {self.advice[name]}." for name in clear if self.advice.get(name)]
            return (
                f"The site is given away{beyond} by: {named}. A model may use that instead of the "
                f"disease: judge it on a site that it has not seen.{''.join(advised)}"
            )
        return (
            f"No embedding gives the site away{beyond}, as far as a linear probe on these rows can "
            "tell."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per embedding.

        Returns
        -------
        DataFrame
            Columns ``n_rows``, ``n_groups``, ``auc``, ``expected``, ``p_value`` and
            ``adjusted``.
        """
        import pandas as pd

        rows = [vars(probed) for probed in self.embeddings.values()]
        index = pd.Index(self.embeddings, name="embedding")
        return pd.DataFrame(rows, index=index, columns=list(Probed.__dataclass_fields__))

    def _title(self) -> str:
        return "asfusion probe of sites"

    def _text(self) -> str:
        lines = [f"Probe of {len(self.sites)} sites", page.text_table(_HEADER, self._rows())]
        return "\n".join([*lines, "", self.verdict, *self._remarks()])

    def _body(self) -> list[str]:
        return [
            page.heading(f"Probe of {len(self.sites)} sites", 1),
            page.paragraph(self.verdict, "verdict"),
            page.table(_HEADER, self._rows()),
            *(page.paragraph(text, "note") for text in [*self._remarks(), page.RESEARCH_TOOL]),
        ]

    def _rows(self) -> list[list[str]]:
        return [
            [
                name,
                str(p.n_rows),
                *(show_number(v) for v in (p.auc, p.expected, p.p_value, p.adjusted)),
            ]
            for name, p in self.embeddings.items()
        ]

    def _remarks(self) -> list[str]:
        remarks = [f"p-values by {self.n_permutations} permutations of the sites of patients."]
        if self.label_auc is not None:
            told = f"The label alone tells sites apart with AUC {show_number(self.label_auc)}."
            remarks.append(told)
        if self.skipped:
            remarks.append(f"Too few rows have: {', '.join(self.skipped)}.")
        return remarks


_HEADER = ["embedding", "rows", "AUC of site", "expected", "p", "p, corrected"]


@public
def site_probe(
    model: Any,
    X: Any = None,
    site: Any = None,
    *,
    y: Any = None,
    groups: Any = None,
    cv: int = 5,
    n_permutations: int = 500,
    random_state: RandomState = 0,
) -> SiteProbe:
    """Ask whether the embedding of each modality gives away the site of a patient.

    An embedding that knows the scanner invites a model to read the scanner instead of the
    patient, wherever sites see different patients. A linear probe is taught, on some
    patients, to tell the site from the embedding, and asked about the others.

    Parameters
    ----------
    model : fitted fusion estimator, or dict of str to array of shape (n_rows, n_features)
        Whose encoders' `transform` is asked; or embeddings by name, NaN where a row has
        none.
    X : DataFrame of n_rows rows, optional
        The rows, not those of `fit`; not given beside embeddings.
    site : array of shape (n_rows,)
        Where each row comes from, one site per patient; or a scanner, or a protocol.
    y : array of shape (n_rows,), optional
        Labels. With them the question is whether the embedding knows more of the site
        than the label says: sites are permuted among patients of one label only.
    groups : array of shape (n_rows,), optional
        Patient of each row.
    cv : int
        Number of folds.
    n_permutations : int
        Number of permutations; the smallest p-value is one over one more.
    random_state : int, RandomState, Generator or None
        Seeds folds and permutations.

    Returns
    -------
    SiteProbe
        Area under the curve and p-value by modality, and the verdict.

    Raises
    ------
    InputError
        If rows, sites and patients do not fit together, or a patient has several sites.
    ConfigurationError
        If the model has no encoders, or a parameter is unusable.

    References
    ----------
    .. [1] Zech et al., "Variable generalization performance of a deep learning model to
       detect pneumonia in chest radiographs", PLOS Medicine 2018.
       https://doi.org/10.1371/journal.pmed.1002683
    .. [2] Ojala and Garriga, "Permutation tests for studying classifier performance", JMLR
       2010. https://www.jmlr.org/papers/v11/ojala10a.html

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> site = np.repeat(["north", "south"], 50)
    >>> labs, film = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    >>> film[site == "south"] += 1.0
    >>> probe = af.site_probe({"labs": labs, "film": film}, site=site, n_permutations=99)
    >>> probe.embeddings["film"].p_value
    0.01
    """
    n_folds = check_integer(cv, "cv", minimum=2)
    check_integer(n_permutations, "n_permutations", minimum=19)
    check_row_labels(X, site=site, y=y, groups=groups)
    embeddings, advice = _embeddings(model, X)
    n_rows = len(next(iter(embeddings.values())))
    names, sites = np.unique(_as_text(read_complete(site, "site", n_rows)), return_inverse=True)
    if len(names) < 2:
        raise InputError("site: expected at least 2 sites, got 1.")
    patients, _ = read_groups(groups, n_rows)
    of_patient = _one_per_patient(sites, patients)
    strata, label_auc = np.zeros(len(of_patient), dtype=np.int64), None
    seed = draw_seed(random_state)
    folds = _folds(len(of_patient), n_folds, seed)
    if y is not None:
        labels = read_complete(y, "y", n_rows)
        table = _label_table(labels)
        label_auc = float(SiteRegression(table, folds[patients])(sites[None, :], len(names))[0])
        strata = _strata(table, patients)
    rng = np.random.default_rng(derive_seed(seed, "permutations"))
    permuted = permute_within(of_patient, strata, n_permutations, rng)
    labellings = np.vstack([of_patient[None, :], permuted])
    found = {}
    for name, table in embeddings.items():
        asked = _probe(table, labellings, patients, folds, len(names))
        if asked is not None:
            found[name] = asked
    p_values = [probed.p_value for probed in found.values()]
    adjusted = zip(found.items(), holm(p_values), strict=True)
    return SiteProbe(
        sites=tuple(str(name) for name in names),
        label_auc=label_auc,
        n_permutations=int(n_permutations),
        embeddings={name: replace(probed, adjusted=p) for (name, probed), p in adjusted},
        skipped=tuple(name for name in embeddings if name not in found),
        is_testable=bool((permuted != of_patient).any()),
        advice=advice,
    )


def _probe(
    table: NDArray[np.float64],
    labellings: NDArray[np.int64],
    patients: NDArray[np.int64],
    folds: NDArray[np.int64],
    n_sites: int,
) -> Probed | None:
    """Return what one embedding says of the first labelling, against the others."""
    rows = np.flatnonzero(~np.isnan(table).any(axis=1))
    own = np.unique(patients[rows])
    n_folds = len(np.unique(folds[own]))
    if len(own) < max(FEWEST, 2 * n_folds) or len(np.unique(labellings[0, own])) < 2:
        return None
    asked = SiteRegression(table[rows], folds[patients[rows]])
    areas = asked(labellings[:, patients[rows]], n_sites)
    p_value = float(np.mean(areas >= areas[0] - 1e-12))
    return Probed(len(rows), len(own), float(areas[0]), float(areas[1:].mean()), p_value, p_value)


def _embeddings(model: Any, X: Any) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Return embeddings (N, D) and advice by modality, and their presence if it varies."""
    if isinstance(model, Mapping):
        return _given(model, X), {}
    encoders = encoders_inside(model)
    if not encoders:
        msg = (
            "model: expected a fitted fusion estimator, or a dict of embeddings by name, got "
            f"{type(model).__name__}."
        )
        raise ConfigurationError(msg)
    if X is None:
        raise InputError("X: expected the rows beside a model, got None.")
    rows = X if hasattr(X, "columns") else Frame.read(np.asanyarray(X))
    found = {name: np.asarray(e._vectors(rows, "cpu"), float) for name, e in encoders.items()}
    presence = np.stack(list(read_presence(model, rows).values()), axis=1).astype(np.float64)
    if (presence != presence[0]).any():
        found[_PRESENCE] = presence
    return found, {name: e.advice_across_sites() for name, e in encoders.items()}


def _given(model: Mapping[Any, Any], X: Any) -> dict[str, NDArray[np.float64]]:
    if X is not None:
        raise InputError("X: expected None beside embeddings, got a table or array.")
    found = {}
    for name, values in model.items():
        table = np.asarray(values, dtype=np.float64)
        if table.ndim != 2 or not table.size:
            msg = (
                f"Embedding {str(name)!r}: expected shape (n_rows, n_features), got {table.shape}."
            )
            raise InputError(msg)
        found[str(name)] = table
    if len({len(table) for table in found.values()}) != 1:
        raise InputError("Embeddings: expected at least one, and as many rows in each.")
    return found


def _as_text(values: NDArray[Any]) -> NDArray[np.str_]:
    return np.asarray([str(value) for value in values.tolist()])


def _one_per_patient(sites: NDArray[np.int64], patients: NDArray[np.int64]) -> NDArray[np.int64]:
    lowest = np.full(int(patients.max()) + 1, np.iinfo(np.int64).max)
    highest = np.full(len(lowest), -1)
    np.minimum.at(lowest, patients, sites)
    np.maximum.at(highest, patients, sites)
    several = int((lowest != highest).sum())
    if several:
        msg = (
            f"site: expected one site per patient, got several for {several} patient(s). Keep the "
            "rows of one site of each."
        )
        raise InputError(msg)
    return np.asarray(lowest)


def _folds(n_patients: int, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each patient, drawn without a look at the sites."""
    order = np.random.default_rng(derive_seed(seed, "folds")).permutation(n_patients)
    return np.asarray(order % n_folds)


def _label_table(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return columns (N, C) that say what a label says: classes, or quarters of a number."""
    if labels.ndim > 1:
        msg = f"y: expected one label per row, got an array of {labels.ndim} dimensions."
        raise InputError(msg)
    if not guess_target(labels).is_probability:
        cuts = np.quantile(labels, np.arange(1, _STRATA) / _STRATA)
        labels = np.searchsorted(cuts, labels)
    numbers = np.unique(labels, return_inverse=True)[1]
    return np.asarray(numbers[:, None] == np.arange(numbers.max() + 1), dtype=np.float64)


def _strata(table: NDArray[np.float64], patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stratum of each patient: the label that most of the rows have."""
    totals = np.zeros((int(patients.max()) + 1, table.shape[1]))
    np.add.at(totals, patients, table)
    return np.asarray(totals.argmax(axis=1))
