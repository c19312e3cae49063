"""Genotypes: dosages of variants, HLA-B27, and what follows from both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.encoders import _genotype_plan as plans
from asfusion.encoders._base import FeatureEncoder, read_row_weights
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.tabular._synthetic import N_ROWS
from asfusion.tabular.told import Told, stand_in, tell_columns

if TYPE_CHECKING:
    from asfusion.nn.network import Backbone, EncoderNetwork

Network: TypeAlias = Literal["mlp", "attention"]
_TABLES = ("weights", "annotation")


class GenotypeEncoder(FeatureEncoder):
    """Read columns of dosages, one variant each, and carriage of HLA-B27.

    A dosage is the number of copies of one allele, from 0 to 2, as `Genotypes.to_frame` gives
    them. A missing call gets the mean of training rows, and a flag where training rows lacked
    calls, too. A row without any call lacks the modality. Everything is learned from the
    training rows, with their weights.

    Parameters
    ----------
    columns : list of str, optional
        The dosage columns; by default those that `prefix` names. The counted allele may be part
        of a name, ``rs30187_T``.
    prefix : str
        What dosage columns start with, a digit following, where `columns` is None.
    hla_b27 : str, optional
        The column that says who carries HLA-B27: 1, 0 or copies, true or false. With ERAP1
        (``rs30187``, or what `annotation` calls so) there is a feature for the two together.
    weights : DataFrame, mapping of str to float, or "published", optional
        Weights per copy, for a feature ``risk_score``: as from `asfusion.genomics.read_weights`, by
        variant, or all loci of `asfusion.genomics.published_weights`, recalled ones too. Alleles
        are compared where the columns' names or `annotation` tell them; else columns are taken to
        count the effect allele.
    annotation : DataFrame, mapping of str to str, or "published", optional
        Gene or locus of each variant: a mapping, a table with ``id`` and ``gene`` (and, to compare
        alleles, ``effect_allele`` and ``other_allele``), or the published loci. Variants of one
        gene share an embedding, and one value in an explanation. HLA-B27 and the SNPs that tag
        it are always one locus.
    network : {"mlp", "attention"}
        Network for joint fusion: a small residual MLP, or a transformer whose tokens are the
        variants.
    d_hidden : int
        Width inside the network.
    n_layers : int
        Blocks of the network.
    d_out : int
        Width of the token that fusion sees.
    dropout : float
        Dropout inside the network and before the adapter.

    Attributes
    ----------
    columns_ : tuple of str
        The dosage columns and, last, that of HLA-B27.
    genes_ : list of str
        Gene or locus of each of them; the variant itself where it is unknown.
    feature_names_ : list of str
        Names of the features.
    plan_ : dict
        What was learned of the columns.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable.
    ColumnError
        If a column is missing or does not hold numbers.
    InputError
        If a dosage lies outside 0 to 2, no training row has a call, or weights are unusable.

    Warns
    -----
    AsfusionWarning
        On `fit`, if alleles of weights and columns do not fit, or only on the other strand;
        later, if frequencies look as if the other allele were counted than in training.

    Notes
    -----
    `transform` gives the prepared features, which are what a forest or a linear model should
    read. A score or a network of genotypes learns ancestry as readily as disease: judge it
    within each ancestry.

    References
    ----------
    .. [1] Evans et al., "Interaction between ERAP1 and HLA-B27 in ankylosing spondylitis",
       Nat Genet 2011;43:761. https://doi.org/10.1038/ng.873

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"rs30187": [0, 2, None], "rs11209026": [2, 2, 1], "hla_b27": [0, 1, 1]})
    >>> encoder = af.GenotypeEncoder(hla_b27="hla_b27").fit(X)
    >>> list(encoder.get_feature_names_out()[:3])
    ['rs30187', 'rs11209026', 'hla_b27']
    >>> list(encoder.get_feature_names_out()[3:])
    ['rs30187_x_hla_b27', 'rs30187_missing']
    """

    kind: ClassVar[str] = "genotypes"
    _makes_up: ClassVar[bool] = True

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        *,
        prefix: str = "rs",
        hla_b27: str | None = None,
        weights: Any = None,
        annotation: Any = None,
        network: Network = "mlp",
        d_hidden: int = 32,
        n_layers: int = 1,
        d_out: int = 64,
        dropout: float = 0.0,
    ) -> None:
        self.columns = columns
        self.prefix = prefix
        self.hla_b27 = hla_b27
        self.weights = weights
        self.annotation = annotation
        self.network = network
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> GenotypeEncoder:
        """Learn means and spreads from training rows, and bring weights into line.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the columns.
        y : ignored
            Genotypes are read without targets.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row in means and spreads; one of weight zero counts as none.

        Returns
        -------
        GenotypeEncoder
            The encoder itself.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable.
        ColumnError
            If a column is missing or does not hold numbers.
        InputError
            If a dosage lies outside 0 to 2, no row has a call, or weights are unusable.
        """
        self._check_parameters()
        frame = Frame.read(X)
        chosen = self._columns_among(frame.columns)
        frame.check_columns(chosen, type(self).__name__)
        variants = [name for name in chosen if name != self.hla_b27]
        if not variants:
            msg = (
                f"GenotypeEncoder: expected the column {self.prefix + '...'!r} of a variant or "
                "more, got none. Pass columns=[...] to name them."
            )
            raise ColumnError(msg)
        raw = read_dosages(frame, chosen, self.hla_b27)
        weights = read_row_weights(sample_weight, len(frame))
        kept = (weights > 0) & ~np.isnan(raw).all(axis=1)
        if not kept.any():
            msg = "GenotypeEncoder: expected a call in at least one training row, got none."
            raise InputError(msg)
        self.__dict__.pop("network_", None)
        self.columns_ = tuple(chosen)
        self.genes_ = plans.genes_of(chosen, self.hla_b27, self.annotation, self._weights_table())
        terms = []
        if self.weights is not None:
            terms = plans.score_terms(variants, self.weights, self.annotation)
        dosages, carriers = raw[kept, : len(variants)], None
        if self.hla_b27 is not None:
            carriers = raw[kept, -1]
        self.plan_ = plans.learn(
            dosages, carriers, weights[kept], variants, self.genes_, self.hla_b27, terms
        )
        self.feature_names_ = plans.feature_names(self.plan_, variants, self.hla_b27)
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into features and presence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features), float64; zeros for rows without any call.
        """
        check_is_fitted(self)
        raw = self.read_columns(X)
        names = self._variants()
        plans.warn_if_exchanged(self.plan_, raw[:, : len(names)], names)
        return self.prepare_dosages(raw)

    def read_columns(self, X: Any) -> NDArray[np.float64]:
        """Return the cells that the features are made of.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns.

        Returns
        -------
        ndarray of shape (N, n_columns)
            Dosages in copies and carriage of HLA-B27, in the order of ``columns_``; NaN if missing.
        """
        check_is_fitted(self)
        return read_dosages(self._read(X), self.columns_, self.hla_b27)

    def prepare_dosages(self, dosages: NDArray[np.float64]) -> Prepared:
        """Return what `prepare` gives, from the cells that `read_columns` returned.

        Parameters
        ----------
        dosages : ndarray of shape (N, n_columns)
            Dosages in copies, and carriage of HLA-B27.

        Returns
        -------
        Prepared
            ``x`` of shape (N, n_features).
        """
        present = np.asarray((~np.isnan(dosages)).any(axis=1))
        found = np.where(present[:, None], plans.features(self.plan_, dosages), 0.0)
        return Prepared({"x": torch.from_numpy(found)}, torch.from_numpy(present))

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the prepared features, NaN for rows without any call.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns.

        Returns
        -------
        ndarray of shape (N, n_features)
            Unitless: dosages, carriage, interaction and score, each less its mean and by its
            standard deviation in training rows; and flags of missing calls.
        """
        return self.transform_prepared(self.prepare(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``rs30187_x_hla_b27``."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        from asfusion.nn.network import EncoderNetwork

        check_is_fitted(self)
        return EncoderNetwork(self._backbone(), d_out=self.d_out, dropout=self.dropout)

    def locus_groups(self) -> dict[str, list[str]]:
        """Return the columns of each gene or locus.

        Returns
        -------
        dict of str to list of str
            One entry per locus, in the order of the columns.
        """
        check_is_fitted(self)
        groups: dict[str, list[str]] = {}
        for column, gene in zip(self.columns_, self.genes_, strict=True):
            groups.setdefault(gene, []).append(column)
        return groups

    @property
    def n_features(self) -> int:
        """Number of features of a fitted encoder."""
        return len(self.feature_names_)

    def _gaps_in_words(self) -> str:
        return "a missing call: the mean, and a flag"

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: missing cells are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _tell(self, frame: Frame, least: int) -> Told:
        return tell_columns(frame, self._columns_among(frame.columns) or frame.columns, least)

    def _fit_told(self, told: Told) -> GenotypeEncoder:
        return self.fit(stand_in(told.columns))

    def _columns_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that are read, that of HLA-B27 last."""
        if self.columns is None:
            pattern = re.compile(re.escape(self.prefix) + r"\d.*", re.IGNORECASE)
            chosen = [name for name in names if pattern.fullmatch(name)]
        else:
            chosen = list(self.columns)
        chosen = [name for name in chosen if name != self.hla_b27]
        return tuple(chosen) if self.hla_b27 is None else (*chosen, self.hla_b27)

    def _variants(self) -> list[str]:
        return [name for name in self.columns_ if name != self.hla_b27]

    def _weights_table(self) -> Any:
        return None if isinstance(self.weights, str) else self.weights

    def _backbone(self) -> Backbone:
        from asfusion.nn.tabular import MLPBackbone
        from asfusion.nn.variants import VariantTransformerBackbone

        n_features = len(self.feature_names_)
        size: dict[str, Any] = {
            "d_hidden": self.d_hidden, "n_layers": self.n_layers, "dropout": self.dropout,
        }  # fmt: skip
        if self.network == "mlp":
            return MLPBackbone(n_features, **size)
        flagged = self.plan_["flagged"].tolist()
        n_tokens = n_features - len(flagged)
        together = [self.genes_[i] for i in self.plan_["with_b27"].tolist()]
        owners = [*self.genes_, *together]
        owners += ["risk_score"] * (n_tokens - len(owners))
        numbers = {gene: i for i, gene in enumerate(dict.fromkeys(owners))}
        return VariantTransformerBackbone(
            n_tokens, flagged, [numbers[gene] for gene in owners], **size
        )

    def _probe_cells(self) -> dict[str, list[Any]]:
        dosages = np.random.default_rng(0).integers(0, 3, size=(len(self.columns_), N_ROWS))
        return {
            name: [float(cell > 0) if name == self.hla_b27 else float(cell) for cell in column]
            for name, column in zip(self.columns_, dosages.tolist(), strict=True)
        }

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and what was learned; tables go as their columns."""
        state = super()._bundle_state()
        params = dict(state["params"])
        for name in _TABLES:
            if hasattr(params[name], "columns"):
                table = params[name]
                cells = {str(c): [_plain(v) for v in list(table[c])] for c in table.columns}
                params[name] = {"table": cells}
        return {**state, "params": params}

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Become what `_bundle_state` described."""
        params = dict(state["params"])
        for name in _TABLES:
            if isinstance(params[name], dict) and isinstance(params[name].get("table"), dict):
                import pandas as pd

                params[name] = pd.DataFrame(params[name]["table"])
        super()._restore_bundle_state({**state, "params": params})

    def _check_parameters(self) -> None:
        check_choice(self.network, "network", get_args(Network))
        for name in ("d_hidden", "n_layers", "d_out"):
            check_integer(getattr(self, name), name, minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        if not isinstance(self.prefix, str) or not self.prefix:
            raise ConfigurationError("prefix: expected a text such as 'rs', got something else.")
        if isinstance(self.weights, str):
            check_choice(self.weights, "weights", ("published",))
        columns = self.columns
        is_list = isinstance(columns, Sequence) and not isinstance(columns, str)
        if columns is not None and (
            not is_list or not columns or len(set(columns)) < len(list(columns))
        ):
            msg = "columns: expected None, or a list of different column names."
            raise ConfigurationError(msg)


def read_dosages(frame: Frame, columns: Sequence[str], hla_b27: str | None) -> NDArray[np.float64]:
    """Return dosages and carriage (N, n_columns), NaN if missing, after a look at each."""
    raw = np.ascontiguousarray(frame.numbers_of(columns))
    outside = ~np.isnan(raw) & ((raw < 0) | (raw > 2))
    if outside.any():
        rows, places = np.nonzero(outside)
        row = frame.origin[rows[0]]
        msg = (
            f"Column {columns[places[0]]!r}, row {row}: expected copies of an allele, from 0 "
            f"to 2, got another number in {int(outside.sum())} cell(s). Code missing calls as NaN."
        )
        raise InputError(msg)
    if hla_b27 is not None:
        raw[:, -1] = np.where(np.isnan(raw[:, -1]), np.nan, raw[:, -1] >= 0.5)
    return raw


def _plain(cell: Any) -> Any:
    """Return a cell of a table as a value that a bundle holds."""
    if hasattr(cell, "item"):
        cell = cell.item()
    return cell if isinstance(cell, str | int | float | bool) else None
