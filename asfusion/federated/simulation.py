"""Train across sites in one process, message by message as between hospitals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number
from asfusion._door import public
from asfusion._frames import Frame, group_labels
from asfusion._progress import progress, progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.exceptions import InputError
from asfusion.federated.plan import make_plan, read_plan
from asfusion.federated.result import FederatedRun, Round
from asfusion.federated.site import Site
from asfusion.federated.strategies import FedAvg
from asfusion.federated.summary import Summary
from asfusion.federated.update import Update

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
    model : JointFusionClassifier or JointFusionRegressor
        Unfitted, with the encoders named.
    X : DataFrame of n_rows rows
        Rows of all sites. A site may lack cells, or whole modalities.
    y : array of n_rows rows
        What is predicted.
    sites : array of n_rows rows, or str
        Site of each row, or the name of the column of X that says it.
    groups : array of n_rows rows, optional
        Patient of each row, so that none is both learned from and held out.
    rounds : int
        How often sites learn and are averaged.
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
    >>> X, y = af.datasets.make_axspa_cohort(120, modalities=["labs"])[:2]
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])})
    >>> hospital = np.arange(120) % 2
    >>> run = af.federated.simulate(model, X, y, hospital, rounds=2, verbose=0)
    >>> run.model_.predict_proba(X.head(3)).shape
    (3, 2)
    """
    check_integer(rounds, "rounds", minimum=1)
    check_number(holdout, "holdout", minimum=0.0, maximum=0.9)
    frame, names = _read_sites(X, sites)
    seed = draw_seed(random_state)
    parts = _split(names, groups, holdout, seed=derive_seed(seed, "held out"))
    y = _rows_of(y, len(frame))
    hospitals, judged = {}, {}
    for name, (learn, judge) in parts.items():
        own = {} if units is None else dict(units.get(name, {}))
        rows = frame.take(learn).to_native()
        hospitals[str(name)] = Site(model, rows, y[learn], units=own, min_count=min_count)
        if len(judge):
            judged[str(name)] = frame.take(judge).to_native(), y[judge]
    with progress_shown(bool(verbose)):
        return _run(model, hospitals, judged, strategy or FedAvg(), rounds, epochs, seed)


def round_rate(number: int, rounds: int) -> float:
    """Return the factor on the learning rate in a round: half a cosine over all of them."""
    return 0.5 * (1.0 + math.cos(math.pi * number / rounds))


def _run(
    model: Any,
    hospitals: Mapping[str, Site],
    judged: Mapping[str, tuple[Any, Any]],
    strategy: FedAvg,
    rounds: int,
    epochs: int,
    seed: int,
) -> FederatedRun:
    told = {name: site.summary().to_bytes() for name, site in hospitals.items()}
    summaries = {name: Summary.from_bytes(data) for name, data in told.items()}
    plan = make_plan(model, summaries, random_state=seed)
    sent = plan.to_bytes()
    for site in hospitals.values():
        site.join(read_plan(sent, model))
    weights = plan.weights()
    strategy.start()
    history = []
    for number in progress(range(rounds), "Rounds", unit="round"):
        rate = round_rate(number, rounds)
        messages = {
            name: site.fit_round(weights, epochs=epochs, round=number, rate=rate).to_bytes()
            for name, site in hospitals.items()
        }
        updates = {name: Update.from_bytes(data) for name, data in messages.items()}
        weights = strategy.aggregate(weights, updates)
        scores = {name: hospitals[name].evaluate(weights, *rows) for name, rows in judged.items()}
        n_bytes = {name: len(data) for name, data in messages.items()}
        history.append(Round.of(number, updates, strategy.refused_, scores, n_bytes))
    fitted = plan.model_of(weights)
    n_told = {name: len(data) for name, data in told.items()}
    rows = {name: summary.n_rows for name, summary in summaries.items()}
    return FederatedRun(fitted, plan, tuple(history), n_told, len(sent), rows)


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


def _split(
    names: NDArray[Any], groups: Any, holdout: float, *, seed: int
) -> dict[Any, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return positions to learn from and to be judged on, by site; patients stay whole."""
    patients = np.arange(len(names)) if groups is None else group_labels(groups, len(names))
    rng = np.random.default_rng(seed)
    parts = {}
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        own = rng.permutation(np.unique(patients[rows]))
        held = np.isin(patients[rows], own[: round(holdout * len(own))])
        parts[name] = rows[~held], rows[held]
    return parts
