"""Train across sites in one process, message by message as between hospitals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._door import public
from asfusion._frames import Frame, group_labels
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.exceptions import InputError
from asfusion.federated._answers import Kind, Memory, answer
from asfusion.federated.coordinator import Coordinator
from asfusion.federated.result import FederatedRun
from asfusion.federated.site import Site
from asfusion.federated.strategies import FedAvg

_LEAST_SITES = 2


@public
def simulate(
    model: Any,
    X: Any,
    y: Any,
    sites: Any,
    *,
    groups: Any = None,
    rounds: int = 10,
    epochs: int = 2,
    strategy: FedAvg | None = None,
    holdout: float = 0.2,
    units: Mapping[Any, Mapping[str, str]] | None = None,
    min_count: int = 5,
    random_state: RandomState = 0,
    verbose: int = 1,
) -> FederatedRun:
    """Train one model across sites as hospitals would, here in one process.

    What would cross a border crosses it here as bytes, and is counted: sums once, then weights in
    each round. Rows stay with their site. What is averaged is no closer to a row than what each
    site learned, but weights can betray that a patient was learned from; see the how-to.

    Parameters
    ----------
    model : estimator of early, joint or late fusion
        Unfitted, with the encoders named. What sites send of forests, boosted trees and linear
        models are these as a whole, once, and the mean of their predictions is the model's.
    X : DataFrame of n_rows rows
        Rows of all sites. A site may lack cells, or whole modalities.
    y : array of n_rows rows
        What is predicted.
    sites : array of n_rows rows, or str
        Site of each row, or the name of the column of X that says it.
    groups : array of n_rows rows, optional
        Patient of each row, so that none is both learned from and held out.
    rounds : int
        How often sites learn and are averaged; once where they send whole models.
    epochs : int
        Passes of a site over its rows in each round.
    strategy : FedAvg, optional
        How weights are averaged; `FedAvg()` by default.
    holdout : float
        Share of each site's patients on which two classes are judged after each round; 0 for none.
    units : mapping of site to mapping of str to str, optional
        Units of columns at sites that have others than the standard ones.
    min_count : int
        Fewest rows of a count that leaves a site.
    random_state : int, RandomState, Generator or None
        Of first weights, training and held-out rows.
    verbose : int
        Whether to show progress.

    Returns
    -------
    FederatedRun
        The model, how it went round by round, and what left the sites.

    Raises
    ------
    ConfigurationError
        If the model is none that sites can train together, or a parameter is unusable.
    InputError
        If rows, targets or sites cannot be used as given.

    References
    ----------
    .. [1] McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
       Data", AISTATS 2017. https://doi.org/10.48550/arXiv.1602.05629

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(120, modalities=["labs"])
    >>> X, y = cohort.X, cohort.y
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])})
    >>> hospital = np.arange(120) % 2
    >>> run = af.federated.simulate(model, X, y, hospital, rounds=2, verbose=0)
    >>> run.model_.predict_proba(X.head(3)).shape
    (3, 2)
    """
    frame, names = _read_sites(X, sites)
    y = _rows_of(y, len(frame))
    patients = None if groups is None else group_labels(groups, len(frame))
    seed = draw_seed(random_state)
    hospitals = {}
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        hospitals[str(name)] = Site(
            model,
            frame.take(rows).to_native(),
            y[rows],
            groups=None if patients is None else patients[rows],
            holdout=holdout,
            units=None if units is None else units.get(name),
            min_count=min_count,
            random_state=derive_seed(seed, "held out", str(name)),
        )
    memories: dict[str, Memory] = {name: {} for name in hospitals}

    def exchange(kind: Kind, messages: Mapping[str, bytes]) -> dict[str, bytes | str]:
        return {
            name: answer(hospitals[name], kind, data, memories[name])
            for name, data in messages.items()
        }

    coordinator = Coordinator(
        model, exchange, rounds=rounds, epochs=epochs, strategy=strategy, seed=seed
    )
    with progress_shown(bool(verbose)):
        return coordinator.run(list(hospitals))


def _rows_of(y: Any, n_rows: int) -> Any:
    found = np.asarray(y)
    if found.shape[:1] != (n_rows,):
        raise InputError(f"y: expected {n_rows} rows as in X, got shape {found.shape}.")
    return found


def _read_sites(X: Any, sites: Any) -> tuple[Frame, NDArray[Any]]:
    """Return rows, and the site of each."""
    frame = Frame.read(X)
    if isinstance(sites, str):
        frame.check_columns([sites], "simulate")
        sites = frame.strings(sites)
    names = group_labels(sites, len(frame))
    if len(np.unique(names)) < _LEAST_SITES:
        raise InputError(f"sites: expected at least {_LEAST_SITES} sites, got fewer.")
    return frame, names
