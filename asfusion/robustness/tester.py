"""Ask a model about the same rows with worse and worse films."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, in_words, quoted
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.encoders._files import films_of
from asfusion.evaluation._inputs import Judged, check_confidence
from asfusion.evaluation._judge import judge, read_rules
from asfusion.evaluation._patterns import encoders_inside
from asfusion.evaluation.intervals import Interval, paired_difference, score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.scoring import Rules
from asfusion.exceptions import AsfusionWarning, ConfigurationError, ImageReadError, InputError
from asfusion.imaging._films import Film, Root, in_threads
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.original import read_original
from asfusion.robustness._damages import WORST, Damage, as_png, damage_of
from asfusion.robustness.result import StressLevel, StressTest

By = Literal["photograph", "exposure", "rotation", "noise", "resolution"]
Floats = NDArray[np.float64]

# Scores depend on nothing but the model and the rows: what `evaluate` leaves open is left open.
_USUAL: Mapping[str, Any] = {
    "threshold": None, "prevalence": None, "thresholds": None, "mic": None, "ordinal": False,
    "horizons": None,
}  # fmt: skip


@public
def stress(
    model: Any,
    X: Any,
    y: Any,
    *,
    by: By | Damage = "photograph",
    column: str | None = None,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    groups: Any = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    random_state: RandomState = 0,
    verbose: int = 1,
) -> StressTest:
    """Judge a fitted model on rows whose films are damaged more and more.

    Each row keeps its accident (the angle, the lamp that is reflected) while it gets worse, and
    scores of all severities are of the same patients: changes are paired.

    Parameters
    ----------
    model : fitted estimator
        Any classifier with `predict_proba` or regressor that reads films from a column; also a
        pipeline that rectifies photographs first.
    X : DataFrame of n_rows rows
        Rows that the model has not seen. Those without a film are left out.
    y : array of n_rows rows
        What is true.
    by : {"photograph", "exposure", "rotation", "noise", "resolution"} or callable
        What happens to films: a photograph from a light box or a monitor
        (`asfusion.imaging.photographs.degrade`); gamma up to 3.3 and contrast down to half; turns
        of up to 30 degrees; grain of up to 60 grey levels; pixels up to 11 times as large. Or a
        function of pixels (C, H, W) in uint8, severity and seed that returns such pixels.
    column : str, optional
        The column of films; by default that of the model's image encoder.
    severities : sequence of int
        From 1 to 5.
    groups : array of shape (n_rows,), optional
        Patient of each row. Intervals resample patients.
    n_bootstrap : int
        Number of bootstrap replicates.
    confidence : float
        Coverage that the intervals aim at.
    random_state : int, RandomState, Generator or None
        Seeds accidents and replicates.
    verbose : int
        0 is silent; 1 shows a progress bar.

    Returns
    -------
    StressTest
        Scores with intervals and paired changes by severity. It prints, draws itself in a
        notebook, and is written by ``to_html``.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable, or the model has not one column of films and `column` is not
        given.
    ColumnError
        If the column is missing or holds something else.
    ImageReadError
        If a film cannot be read.
    InputError
        If rows, targets and groups do not fit together, or no row has a film.

    Notes
    -----
    Severities are those of a model of damage. That a model stands them is no proof that it
    stands a clinic's photographs: judge it on some of those, too.

    References
    ----------
    .. [1] Hendrycks, Dietterich, "Benchmarking neural network robustness to common corruptions
       and perturbations", ICLR 2019. https://doi.org/10.48550/arXiv.1903.12261

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng, y = np.random.default_rng(0), np.arange(24) % 2
    >>> films = [rng.integers(0, 120 + 60 * k, (48, 48), dtype=np.uint8) for k in y]
    >>> X = pd.DataFrame({"film": films})
    >>> encoder = af.ImageEncoder("film", size=32)
    >>> model = af.JointFusionClassifier({"film": encoder}, max_epochs=1, verbose=0, random_state=0)
    >>> test = af.stress(
    ...     model.fit(X, y), X, y, by="noise", severities=[5], n_bootstrap=50, verbose=0
    ... )
    >>> [level.severity for level in test.levels]
    [0, 5]
    """
    name, damage = damage_of(by)
    chosen = _check_severities(severities)
    check_integer(n_bootstrap, "n_bootstrap", minimum=1)
    check_confidence(confidence)
    frame, seed = Frame.read(X), draw_seed(random_state)
    film_column, root = _column_of(model, column)
    frame.check_columns([film_column], "stress")
    films = films_of(frame, film_column, root)
    rows = np.flatnonzero([film is not None for film in films])
    if not len(rows):
        msg = f"X: expected at least one film in column {film_column!r}, got none."
        raise InputError(msg)
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    judged = judge(model, X, y, groups, None).take(rows)
    rules = read_rules(model, judged, **_USUAL)
    scored = {0: _scored(judged, rules, options)}
    with progress_shown(verbose > 0):
        for severity in chosen:
            cells = _damaged(films, film_column, severity, (name, damage, seed))
            worse = _asked(model, frame.with_cells(film_column, cells), y, groups).take(rows)
            scored[severity] = _scored(worse, rules, options)
    return StressTest(
        task=judged.task,
        by=name,
        column=film_column,
        n_rows=len(judged),
        n_groups=judged.n_groups,
        is_grouped=judged.is_grouped,
        confidence=float(confidence),
        n_bootstrap=int(n_bootstrap),
        seed=seed,
        levels=tuple(_level(severity, scored, float(confidence)) for severity in scored),
    )


Scored = tuple[dict[str, Interval], dict[str, Floats]]


def _check_severities(severities: Any) -> list[int]:
    """Return severities from the least to the worst."""
    given = [check_integer(s, "severities", minimum=1) for s in np.atleast_1d(severities).tolist()]
    if not given or max(given) > WORST:
        got = in_words(max(given)) if given else "none"
        msg = f"severities: expected integers from 1 to {WORST}, got {got}."
        raise ConfigurationError(msg)
    return sorted(set(given))


def _column_of(model: Any, column: str | None) -> tuple[str, Root]:
    """Return the column of films and the folder that its paths start at."""
    found: dict[str, Root] = {
        name: getattr(encoder, "root", None)
        for encoder in encoders_inside(model).values()
        if getattr(encoder, "kind", None) == "image"
        for name in getattr(encoder, "columns_", ())
    }
    if column is not None:
        return column, found.get(column)
    if len(found) != 1:
        msg = (
            f"column: expected the name of the column of films, as the model reads {len(found)} "
            f"({quoted(found)}), got None."
        )
        raise ConfigurationError(msg)
    return next(iter(found.items()))


def _damaged(
    films: Sequence[Film | None], column: str, severity: int, how: tuple[str, Damage, int]
) -> list[bytes | None]:
    """Return films as PNG files, damaged; None where there is none."""
    name, damage, seed = how

    def work(row: int) -> bytes:
        try:
            pixels = read_original(films[row], channels=3).pixels  # type: ignore[arg-type]
        except ImageReadError as error:
            msg = f"Column {column!r}, row {row}: {error} Correct the file, or leave the row out."
            raise ImageReadError(msg) from None
        return as_png(damage(pixels, severity, derive_seed(seed, "stress", row)), name)

    there = [row for row, film in enumerate(films) if film is not None]
    cells: list[bytes | None] = [None] * len(films)
    with quiet_readers():
        made = in_threads(work, there, f"Damaging films, severity {severity}", "film")
        for row, cell in zip(there, made, strict=True):
            cells[row] = cell
    return cells


def _asked(model: Any, frame: Frame, y: Any, groups: Any) -> Judged:
    with warnings.catch_warnings():
        # What is wrong with the rows was said when they were asked about as they are.
        warnings.simplefilter("ignore", AsfusionWarning)
        return judge(model, frame.to_native(), y, groups, None)


def _scored(judged: Judged, rules: Rules, options: Mapping[str, Any]) -> Scored:
    """Return the scores of an audit with intervals, and the replicates behind them."""
    scoring = scoring_of(judged)
    scorer = scoring.audit_scorer(judged, rules)
    intervals, drawn = score_intervals(scorer, width=len(judged), **options)
    kept = scoring.audited
    return {name: intervals[name] for name in kept}, {name: drawn[name] for name in kept}


def _level(severity: int, scored: Mapping[int, Scored], confidence: float) -> StressLevel:
    (clean, before), (scores, after) = scored[0], scored[severity]
    changes = {
        name: paired_difference(
            (scores[name].estimate, clean[name].estimate), (after[name], before[name]), confidence
        )
        for name in scores
    }
    return StressLevel(severity, scores, changes if severity else {})
