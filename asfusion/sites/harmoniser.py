"""Numbers of a modality as if all rows were of one site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from asfusion._cells import is_missing
from asfusion._checks import check_choice, check_integer, check_number, in_words, quoted
from asfusion._frames import Frame
from asfusion._tokens import Prepared
from asfusion._warn import warn_user
from asfusion.encoders._base import Encoder, FeatureEncoder, read_row_weights
from asfusion.encoders.tabular import TabularEncoder
from asfusion.estimators.early import restore_network
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.sites._combat import FEWEST, Combat, fit_combat
from asfusion.sites._entangled import levels_of, tell_entangled

if TYPE_CHECKING:
    from asfusion.nn.network import EncoderNetwork

Floats = NDArray[np.float64]
Unseen = Literal["pass", "reference", "error"]


class SiteHarmoniser(FeatureEncoder):
    """Take out of the numbers of a modality what a site adds and stretches (ComBat).

    It stands around an encoder and is one itself, so that it is fitted on training rows only,
    in every fold, and works in every fusion, `asfusion.compare` and saved models. Around a table
    it changes the cells that are measured numbers before the table is read: missing cells stay
    missing; categories, dates, booleans and columns of two numbers stay as they are. Around an
    encoder of content it changes the numbers that `transform` gives.

    Harmonising rests on the belief that sites would be alike if they measured alike. Where they
    are not, since one sees sicker patients, it takes a part of the disease out with the site: a
    warning says so, with figures, where the target differs between the sites of training rows.

    Parameters
    ----------
    encoder : Encoder
        Reads the modality; its numbers must need no training: a table, concepts, genotypes, or
        images, volumes and notes with a frozen backbone. It names its columns.
    site : str
        The column that names the site, or the scanner. It is read beside the modality, and is
        none of its features.
    keep : sequence of str
        Columns such as age and sex whose effect is kept where sites differ in them.
    keep_target : bool
        Whether the target of training rows counts among what is kept while the sites are
        estimated. It changes no row by its own target, neither in training nor later. Where
        sites differ in prevalence, it keeps a part of the disease, and of the site as well.
    unseen : {"pass", "reference", "error"}
        What is done with rows of a site that was not in training, had fewer than five rows there,
        or is not named: they stay as they are; they are read as if of the site with most training
        rows; or it is an error.
    d_hidden, n_layers, d_out : int
        Width and blocks of the small network that joint fusion puts over harmonised embeddings,
        and the width of its token. A table keeps the network of its encoder.
    dropout : float
        Dropout in that network.

    Attributes
    ----------
    columns_ : tuple of str
        The columns of the modality.
    sites_ : list of str
        Sites with at least five training rows.
    reference_ : str
        The one with most of them.
    entangled_ : float or None
        Share of the variance of the target between the sites of the training rows, beyond
        chance; None where no target was seen.
    reader_ : Encoder
        The fitted encoder of harmonised numbers.
    network_ : EncoderNetwork
        Present once joint fusion trained one. `transform` does not use it.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter is unusable, or the encoder's numbers need training.
    ColumnError
        If a column is missing.
    InputError
        If what is to be kept follows from the site; with ``unseen="error"``, if a row is of a
        site that was not learned.

    Notes
    -----
    NOTE[DIFF]: missing cells are left out of every sum, column by column; sites are estimated on
    training rows and applied to others by the name of their site; a site that a column is hardly
    measured at keeps that column; the target is never in what is applied. Without missing cells
    and with all sites known the numbers are those of the published method.

    Units are better declared than estimated: see `asfusion.clinical.flag_site_units`.

    References
    ----------
    .. [1] Johnson, Li and Rabinovic, "Adjusting batch effects in microarray expression data using
       empirical Bayes methods", Biostatistics 2007. https://doi.org/10.1093/biostatistics/kxj037
    .. [2] Fortin et al., "Harmonization of cortical thickness measurements across scanners and
       sites", NeuroImage 2018. https://doi.org/10.1016/j.neuroimage.2017.11.024

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> from asfusion.sites import SiteHarmoniser
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"site": np.repeat(["a", "b"], 50), "crp": rng.gamma(2, 5, 100)})
    >>> X.loc[X.site == "b", "crp"] += 30
    >>> labs = SiteHarmoniser(af.TabularEncoder(["crp"]), "site").fit(X)
    >>> numbers = labs.transform(X)[:, 0]
    >>> bool(abs(numbers[:50].mean() - numbers[50:].mean()) < 0.1)
    True
    """

    kind: ClassVar[str] = "other"
    _reads_targets: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Any,
        site: str = "site",
        *,
        keep: Sequence[str] = (),
        keep_target: bool = False,
        unseen: Unseen = "pass",
        d_hidden: int = 64,
        n_layers: int = 2,
        d_out: int = 64,
        dropout: float = 0.0,
    ) -> None:
        self.encoder = encoder
        self.site = site
        self.keep = keep
        self.keep_target = keep_target
        self.unseen = unseen
        self.d_hidden = d_hidden
        self.n_layers = n_layers
        self.d_out = d_out
        self.dropout = dropout

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> SiteHarmoniser:
        """Learn from training rows what sites add and stretch, and how the rest is read.

        Parameters
        ----------
        X : DataFrame of N rows
            The training rows, with the columns of the modality, of the site and of what is kept.
        y : array of shape (N,), optional
            Targets of these rows, for the warning and for `keep_target`.
        sample_weight : array of shape (N,), optional
            Weight of each row in means and spreads.

        Returns
        -------
        SiteHarmoniser
            The encoder itself.
        """
        self._check_parameters()
        frame, weights = Frame.read(X), read_row_weights(sample_weight, len(Frame.read(X)))
        levels = levels_of(y, len(frame))
        if not weights.all():
            rows = np.flatnonzero(weights)
            frame, weights = frame.take(rows), weights[rows]
            levels = levels if levels is None else levels[rows]
        if self.keep_target and levels is None:
            self._refuse_blind()
        self.__dict__.pop("network_", None)
        self.columns_ = self._own_columns(frame)
        frame.check_columns((*self.columns_, *self._columns_beside()), type(self).__name__)
        self._learn_sites(frame, weights)
        self.entangled_ = None if levels is None else tell_entangled(levels, self._codes(frame))
        self.covariates_ = TabularEncoder(list(self.keep)).fit(frame) if len(self.keep) else None
        if self._in_cells:
            self._learn(frame, self._cells(frame, learn=True), weights, levels)
            self.reader_ = clone(self.encoder).fit(self._changed(frame), sample_weight=weights)
            return self
        self.encoder_ = clone(self.encoder).fit(frame, sample_weight=weights)
        vectors = self.encoder_._vectors(frame, "cpu")
        self._learn(frame, vectors, weights, levels)
        names = [str(name) for name in self.encoder_.get_feature_names_out()]
        options = {k: getattr(self, k) for k in ("d_hidden", "n_layers", "d_out", "dropout")}
        changed = self._harmonised(frame, vectors)
        self.reader_ = TabularEncoder(names, **options).fit(_framed(changed, names))
        return self

    def prepare(self, X: Any) -> Prepared:
        """Turn rows into harmonised numbers and presence.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of the modality, of the site and of what is kept.

        Returns
        -------
        Prepared
            What a table's encoder makes of the harmonised numbers.
        """
        rows = Frame.read(self._changed(self._read(X)))
        prepared: Prepared = self.reader_.prepare(rows)
        return prepared

    def transform(self, X: Any) -> Any:
        """Return the harmonised numbers, NaN for rows without the modality.

        Parameters
        ----------
        X : DataFrame of N rows
            The rows, with the columns of the modality, of the site and of what is kept.

        Returns
        -------
        ndarray of shape (N, n_features)
            Unitless: scaled as `asfusion.TabularEncoder` does.
        """
        rows = Frame.read(self._changed(self._read(X)))
        return self.reader_.transform(rows)

    def transform_prepared(self, prepared: Prepared) -> Any:
        """Return what `transform` gives, from rows that `prepare` made.

        Parameters
        ----------
        prepared : Prepared
            N rows of features.

        Returns
        -------
        ndarray of shape (N, n_features)
            NaN for rows that lack the modality.
        """
        return self.reader_.transform_prepared(prepared)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: those of the encoder within."""
        check_is_fitted(self)
        names: NDArray[np.object_] = self.reader_.get_feature_names_out()
        return names

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        """Return a new network for prepared rows, from the current torch seed."""
        check_is_fitted(self)
        network: EncoderNetwork = self.reader_.build(pretrained=pretrained)
        return network

    def describe(self, columns: Sequence[str] = ()) -> str:
        """Return in words which columns are read, and across what they are harmonised.

        Parameters
        ----------
        columns : sequence of str
            The columns of X, for an encoder that is not fitted.

        Returns
        -------
        str
            What the encoder within tells, and the column of the site.
        """
        return f"{self.encoder.describe(columns)}, harmonised across {self.site!r}"

    @property
    def n_features(self) -> int:
        """Number of features of a fitted table; 0 around an encoder of content."""
        return self.reader_.n_features if self._in_cells else 0

    # -- what is learned ---------------------------------------------------------------

    @property
    def _in_cells(self) -> bool:
        return bool(self.encoder.kind == "table")

    def _learn_sites(self, frame: Frame, weights: Floats) -> None:
        """Remember the sites that have rows enough, and which has most."""
        names = _site_names(frame, self.site)
        there = frame.present(self.columns_)
        counts: dict[str, int] = {}
        for name, has in zip(names, there, strict=True):
            if name is not None and has:
                counts[name] = counts.get(name, 0) + 1
        self.sites_ = sorted(name for name, n in counts.items() if n >= FEWEST)
        if len(self.sites_) < 2:
            warn_user(
                f"SiteHarmoniser: expected at least 2 sites with {FEWEST} training rows in column "
                f"{self.site!r}, got {len(self.sites_)}. Nothing is harmonised."
            )
        self.reference_ = max(self.sites_, key=lambda name: counts[name], default="")

    def _learn(self, frame: Frame, values: Floats, weights: Floats, levels: Floats | None) -> None:
        target = levels if self.keep_target and levels is not None else np.zeros((len(frame), 0))
        n_sites = len(self.sites_)
        if n_sites < 2:
            self.combat_: dict[str, Floats] = {}
            return
        kept = self._covariates(frame)
        found = fit_combat(values, self._codes(frame), n_sites, weights, kept, target)
        self.combat_ = dict(vars(found))

    def _covariates(self, frame: Frame) -> Floats:
        """Return what is kept (N, P), imputed and scaled, as zeros where all of it is missing."""
        if self.covariates_ is None:
            return np.zeros((len(frame), 0))
        return np.nan_to_num(np.asarray(self.covariates_.transform(frame), dtype=np.float64))

    def _codes(self, frame: Frame) -> NDArray[np.int64]:
        """Return the number of each row's site, -1 where it was not learned."""
        place = {name: number for number, name in enumerate(self.sites_)}
        names = _site_names(frame, self.site)
        return np.asarray([-1 if n is None else place.get(n, -1) for n in names], dtype=np.int64)

    # -- what is applied ---------------------------------------------------------------

    def _changed(self, frame: Frame) -> Any:
        """Return rows for the encoder of harmonised numbers."""
        if self._in_cells:
            values = self._harmonised(frame, self._cells(frame))
            cells = dict(zip(self.measured_, values.T, strict=True))
            return frame.with_numbers(cells).select(self.columns_)
        vectors = self._harmonised(frame, self.encoder_._vectors(frame, "cpu"))
        return _framed(vectors, list(self.reader_.columns))

    def _harmonised(self, frame: Frame, values: Floats) -> Floats:
        codes = self._codes(frame)
        unknown = codes < 0
        if self.unseen == "error" and (unknown & frame.present(self.columns_)).any():
            msg = (
                f"SiteHarmoniser: expected rows of sites that training rows were of, got others, "
                f"or none, in column {self.site!r} of {int(unknown.sum())} row(s). Fit it with "
                'that site, or choose unseen="pass" or unseen="reference".'
            )
            raise InputError(msg)
        if not self.combat_:
            return values
        if self.unseen == "reference":
            codes[unknown] = self.sites_.index(self.reference_)
        return Combat(**self.combat_).apply(values, codes, self._covariates(frame))

    def _cells(self, frame: Frame, *, learn: bool = False) -> Floats:
        """Return the cells (N, C) that are measured numbers."""
        if learn:
            kinds = {name: frame.kind(name) for name in self.columns_}
            self.measured_ = [name for name, kind in kinds.items() if kind == "number"]
        if not self.measured_:
            return np.zeros((len(frame), 0))
        return frame.numbers_of(self.measured_)

    # -- columns and parameters --------------------------------------------------------

    def _columns_among(self, names: Sequence[str]) -> tuple[str, ...]:
        own: tuple[str, ...] = self.encoder._columns_among(names)
        return own

    def _columns_beside(self) -> tuple[str, ...]:
        return (self.site, *self.keep, *self.encoder._columns_beside())

    def _rows_to_learn(self, frame: Frame, weight: Floats) -> tuple[Frame, Floats]:
        columns = (*self._own_columns(frame), *self._columns_beside())
        return frame.sample(tuple(dict.fromkeys(columns)), weight)

    def _own_columns(self, frame: Frame) -> tuple[str, ...]:
        own = self._columns_among(frame.columns)
        if not own or self.site in own:
            what = "all" if not own else f"{self.site!r} as well"
            msg = (
                f"SiteHarmoniser: expected an encoder of named columns without that of the site, "
                f"got one of {what}. Name the columns of the modality."
            )
            raise ConfigurationError(msg)
        return own

    def _read(self, X: Any) -> Frame:
        check_is_fitted(self)
        frame = Frame.read(X)
        frame.check_columns((*self.columns_, *self._columns_beside()), type(self).__name__)
        return frame

    def _cell_sources(self, frame: Frame, column: str) -> list[Any]:
        sources: list[Any] = self.encoder._cell_sources(frame, column)
        return sources

    def _refuse_blind(self) -> None:
        msg = (
            "keep_target=True: expected targets that are classes or numbers, one per row, got "
            "none, or others. Fit it as a part of an estimator, or pass y to fit."
        )
        raise ConfigurationError(msg)

    def _check_parameters(self) -> None:
        if not isinstance(self.encoder, Encoder):
            msg = f"encoder: expected an encoder, got {in_words(self.encoder)}."
            raise ConfigurationError(msg)
        if self.encoder.needs_training or self.encoder.is_sparse:
            why = "learns from targets" if self.encoder.needs_training else "gives sparse counts"
            msg = (
                "SiteHarmoniser: expected an encoder whose numbers need no training and are not "
                f"sparse, got a {type(self.encoder).__name__} that {why}. Use a frozen backbone, "
                "a table, or a ConceptEncoder."
            )
            raise ConfigurationError(msg)
        if isinstance(self.keep, str) or not isinstance(self.site, str):
            got = "one name" if isinstance(self.keep, str) else in_words(self.site)
            msg = f"site, keep: expected the name of a column, and a list of names, got {got}."
            raise ConfigurationError(msg)
        if self.site in self.keep:
            msg = f"keep: expected columns without that of the site, got {quoted([self.site])}."
            raise ConfigurationError(msg)
        check_choice(self.unseen, "unseen", ("pass", "reference", "error"))
        for name in ("d_hidden", "n_layers", "d_out"):
            check_integer(getattr(self, name), name, minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)

    # -- saving ------------------------------------------------------------------------

    def _bundle_state(self) -> dict[str, Any]:
        state = super()._bundle_state()
        network = getattr(getattr(self, "encoder_", None), "network_", None)
        if network is not None:
            state["backbone"] = dict(network.state_dict())
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        super()._restore_bundle_state(state)
        if "backbone" in state:
            restore_network(self.encoder_, state["backbone"])


def _site_names(frame: Frame, column: str) -> list[str | None]:
    """Return the site of each row as text; a whole number is the same with and without ``.0``."""
    return [_as_name(cell) for cell in frame.cells(column)]


def _as_name(cell: Any) -> str | None:
    if is_missing(cell):
        return None
    whole = isinstance(cell, float) and cell.is_integer()
    return (str(int(cell)) if whole else str(cell)).strip() or None


def _framed(values: Floats, names: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(values, columns=names)
