"""Lateral films of the spine to graded corners, and to an mSASSS with an interval."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._described import Described
from asfusion._door import learns, public
from asfusion._frames import Frame, group_labels
from asfusion._progress import progress_shown
from asfusion._random import RandomState, derive_seed, draw_seed, torch_seed
from asfusion._splits import hold_out_patients
from asfusion._unfitted import UnfittedError
from asfusion._warn import warn_user
from asfusion.anatomy._annotations import POINTS, read_annotations
from asfusion.anatomy._films import digest_of
from asfusion.anatomy.landmark_finder import LandmarkFinder
from asfusion.bundle.objects import Bundled, save_bundle
from asfusion.corners._given import OF_VIEW, PLACES, read_grades
from asfusion.corners._network import ask, grader, learn, prepared, target_of_corners
from asfusion.corners._places import grades_of, places_of, table_of_view
from asfusion.corners._sums import expected_sums, interval_of, sums_of
from asfusion.corners._views import Films, Placed, cut_rows, in_film_pixels, spread_over
from asfusion.corners.scores import CornerScores
from asfusion.encoders._cache import digest, network_digest
from asfusion.encoders._files import explain_file, films_of
from asfusion.estimators._conformal import (
    check_coverage,
    patients_needed,
    score_quantile,
    sorted_scores,
)
from asfusion.exceptions import BundleError, ConfigurationError, ImageReadError, InputError
from asfusion.imaging.original import read_original
from asfusion.imaging.read import WHO
from asfusion.nn._budget import at_most_values

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_SIZE, _FOUND_AT = 48, 128  # sides of a crop, and of the square that corners are found on (pixels)
_LEAST_SIZE, _MOST_SIZE = 16, 256


class _Given(NamedTuple):
    """Films of both views: the cells as they are, what they lead to, and the user's rows."""

    cells: dict[str, list[Any]]
    films: Films
    origin: Rows

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.origin)

    def take(self, rows: Rows) -> _Given:
        """Return some rows."""
        cells = {view: [column[row] for row in rows] for view, column in self.cells.items()}
        films = {view: [column[row] for row in rows] for view, column in self.films.items()}
        return _Given(cells, films, self.origin[rows])


class CornerScorer(Described, Bundled):
    """Find the 24 corners of the mSASSS on lateral films, grade each, and add them up.

    For each view an `asfusion.anatomy.LandmarkFinder` learns where the corners are. A square
    around each corner is cut from the film at its own resolution and turned, so that the vertebra
    lies above and the disc below, whichever corner it is; one small network grades them all. It
    learns the steps between grades (`asfusion.targets.Grades`), on squares that are moved and
    turned as landmarks err.

    The interval of the sum is the mean by the probabilities, and so many spreads around it as hold
    the sum of the reader for a stated share of patients set aside, of whom neither finder nor
    network has seen a film [2]_.

    Parameters
    ----------
    annotations : DataFrame or path of a CSV file
        A row per film and corner: ``film`` (the cell of the film), ``point`` (``"C2L"`` ...
        ``"S1U"``, as in `asfusion.clinical.CERVICAL_CORNERS` and `LUMBAR_CORNERS`), ``x`` and
        ``y``, as in `asfusion.anatomy.LandmarkFinder`. A column ``grade`` stands in for the
        targets of `fit`. Not every film needs annotations; at least six of each view do.
    cervical, lumbar : str or None
        The columns of lateral films; None if there is no such view: then there is no total.
    unit : {"px", "mm"}
        Of the annotations.
    finder : asfusion.anatomy.LandmarkFinder, optional
        Says how corners are found; its annotations, root and seed are not read. By default
        one on squares of 128 pixels.
    side_mm : float
        Side of the square around a corner (mm). Where films do not say their spacing, vertebrae
        are taken to be of usual height.
    epochs : int
        Passes of the network over all corners.
    coverage : float
        Share of patients whose sum is to be in its interval.
    calibration_fraction : float
        Share of the patients that are set aside for that; 0 for none: the interval is then that
        of a normal distribution.
    missing : {"segment_mean", "refuse"}
        What becomes of corners that cannot be read, as in `asfusion.clinical.msasss`: up to
        three of a segment get the mean of the others, or there is no sum.
    verbose : int
        0 is silent, 1 shows progress bars on long work.
    random_state : int, RandomState, Generator or None
        Seeds everything.
    root : str or PathLike, optional
        Folder of relative paths, in X and annotations.

    Attributes
    ----------
    finders_ : dict of str to LandmarkFinder
        The fitted finder of each view.
    network_ : FusionNetwork
        The network that grades.
    calibration_ : ndarray of shape (N, 2) or None
        Errors of the patients set aside, in spreads, and their weights; None without any.
    trained_on_ : frozenset of str
        Digests of the contents of all films of `fit`.
    history_ : list of dict
        A record for each pass.

    Raises
    ------
    ConfigurationError
        In `fit`, if a parameter is unusable.

    Notes
    -----
    The patient faces the same way on all films, as on those learned from. NOTE[DIFF] The paper [1]_
    has a person score; how well this agrees with one is what `docs/how-to/score-corners.md` tells,
    on synthetic films only.

    References
    ----------
    .. [1] Creemers MC, Franssen MJ, van't Hof MA, et al. Assessment of outcome in ankylosing
       spondylitis: an extended radiographic scoring system. Ann Rheum Dis 2005;64:127-129.
       https://doi.org/10.1136/ard.2004.020503
    .. [2] Lei et al., "Distribution-free predictive inference for regression", JASA 2018.
       https://doi.org/10.1080/01621459.2017.1307116

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> films = list(np.random.default_rng(0).integers(0, 256, (6, 64, 48), dtype=np.uint8))
    >>> names = af.clinical.LUMBAR_CORNERS
    >>> rows = [[film, name, 20, 5 * k + 3] for film in films for k, name in enumerate(names)]
    >>> points = pd.DataFrame(rows, columns=["film", "point", "x", "y"])
    >>> grades = pd.DataFrame(0, index=range(6), columns=list(names))
    >>> quick = af.anatomy.LandmarkFinder(size=32, epochs=1, refine_mm=None)
    >>> scorer = af.corners.CornerScorer(
    ...     points, cervical=None, lumbar="film", finder=quick, epochs=1, verbose=0, random_state=0
    ... )
    >>> X = pd.DataFrame({"film": films})
    >>> scorer.fit(X, grades).predict(X).shape
    (6, 24)
    """

    # Annotations name the films of patients.
    _unsaid: ClassVar[frozenset[str]] = frozenset({"annotations"})
    _local_params: ClassVar[frozenset[str]] = frozenset({"annotations", "root", "verbose"})

    finders_: dict[str, LandmarkFinder]
    calibration_: Floats | None
    trained_on_: frozenset[str]
    history_: list[dict[str, float]]
    seed_: int

    def __init__(
        self,
        annotations: Any = None,
        *,
        cervical: str | None = "cervical_xray",
        lumbar: str | None = "lumbar_xray",
        unit: Literal["px", "mm"] = "px",
        finder: LandmarkFinder | None = None,
        side_mm: float = 24.0,
        epochs: int = 10,
        coverage: float = 0.9,
        calibration_fraction: float = 0.25,
        missing: Literal["segment_mean", "refuse"] = "segment_mean",
        verbose: int = 1,
        random_state: RandomState = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.annotations = annotations
        self.cervical = cervical
        self.lumbar = lumbar
        self.unit = unit
        self.finder = finder
        self.side_mm = side_mm
        self.epochs = epochs
        self.coverage = coverage
        self.calibration_fraction = calibration_fraction
        self.missing = missing
        self.verbose = verbose
        self.random_state = random_state
        self.root = root

    @learns
    def fit(self, X: Any, targets: Any = None, groups: Any = None) -> Self:
        """Learn where corners are, and how they are graded.

        Parameters
        ----------
        X : DataFrame of N rows
            With the columns of films; cells as in `asfusion.ImageEncoder`.
        targets : DataFrame of N rows, optional
            A column for each corner, such as ``C2L`` or ``corner_C2L``: 0 to 3, or missing where
            the corner was not graded. By default the grades beside the annotations.
        groups : array of shape (N,), optional
            Patient of each row; each row is one by default.

        Returns
        -------
        self
            The fitted scorer.

        Raises
        ------
        InputError
            If targets, groups or annotations cannot be used.
        ColumnError
            If a column is missing.
        ImageReadError
            If an annotated film cannot be read.
        """
        columns = self._check_params()
        self.seed_ = draw_seed(self.random_state)
        with progress_shown(self.verbose > 0):
            given = self._read(X, columns)
            grades = self._grades(targets, X, given)
            patients = self._patients(groups, given.n_rows)
            rows, held = self._divide(grades, patients)
            self._learn_places(given.take(rows), patients[rows])
            self._learn_grades(given.take(rows), grades[rows])
            self._calibrate(given.take(held), grades[held], patients[held])
            every = (film for column in given.films.values() for film in column if film is not None)
            self.trained_on_ = frozenset(d for d in map(digest_of, every) if d is not None)
        return self

    @public
    def predict(self, X: Any) -> Floats:
        """Return the grade of each corner.

        Parameters
        ----------
        X : DataFrame of N rows
            With the columns of films.

        Returns
        -------
        ndarray of shape (N, 24)
            0 to 3, NaN for a corner that cannot be read, in the order of the score.
        """
        return self._scored(X).grades

    @public
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each grade of each corner.

        Parameters
        ----------
        X : DataFrame of N rows
            With the columns of films.

        Returns
        -------
        ndarray of shape (N, 24, 4)
            NaN for a corner that cannot be read.
        """
        return self._scored(X).probabilities

    @public
    def score_films(self, X: Any, points: Any = None) -> CornerScores:
        """Return grades, places and sums, as a result that shows itself.

        Parameters
        ----------
        X : DataFrame of N rows
            With the columns of films.
        points : DataFrame or path of a CSV file, optional
            Where the corners are, as annotations, if somebody has pointed at them: then nothing
            is looked for, and what is not among them is absent.

        Returns
        -------
        CornerScores
            A table, a picture of each row, the sums and their intervals.

        Raises
        ------
        UnfittedError
            If the scorer is not fitted.
        ColumnError
            If a column is missing.
        """
        return self._scored(X, points)

    @public
    def save(self, path: str | Path) -> Path:
        """Write the fitted scorer as a folder that `asfusion.load` reads; no annotation is in it.

        Parameters
        ----------
        path : str or Path
            Folder to write; a saved model already there is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UnfittedError
            If the scorer is not fitted.
        BundleError
            If writing fails.
        """
        self._check_fitted()
        save_bundle(self, Path(path))
        return Path(path)

    @property
    def columns(self) -> dict[str, str]:
        """The column of each view that there is."""
        given = {"cervical": self.cervical, "lumbar": self.lumbar}
        return {view: column for view, column in given.items() if column is not None}

    @property
    def digest_(self) -> str | None:
        """Name of what the scorer says of films; None where one of its finders has none."""
        self._check_fitted()
        finders = [(v, getattr(f, "digest_", None)) for v, f in self.finders_.items()]
        if any(name is None for _, name in finders):
            return None
        return digest(finders, network_digest(self.network_), float(self.side_mm))

    # -- what is given -----------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "finders_"):
            msg = "CornerScorer: expected a fitted one, got one that is not. Call fit first."
            raise UnfittedError(msg)

    def _check_params(self) -> dict[str, str]:
        columns = self.columns
        if not columns or not all(isinstance(name, str) and name for name in columns.values()):
            msg = "cervical, lumbar: expected the names of one or two columns, got none."
            raise ConfigurationError(msg)
        check_choice(self.unit, "unit", ("px", "mm"))
        check_number(self.side_mm, "side_mm", minimum=4.0, maximum=100.0)
        check_integer(self.epochs, "epochs", minimum=1)
        check_coverage(self.coverage)
        check_number(self.calibration_fraction, "calibration_fraction", minimum=0.0, maximum=0.9)
        check_choice(self.missing, "missing", ("segment_mean", "refuse"))
        if self.finder is not None and not hasattr(self.finder, "get_params"):
            got = type(self.finder).__name__
            raise ConfigurationError(f"finder: expected a LandmarkFinder or None, got {got}.")
        return columns

    def _read(self, X: Any, columns: Mapping[str, str]) -> _Given:
        frame = Frame.read(X)
        frame.check_columns(list(columns.values()), "CornerScorer")
        films = {view: films_of(frame, name, self.root) for view, name in columns.items()}
        cells = {view: frame.cells(name) for view, name in columns.items()}
        return _Given(cells, films, frame.origin)

    def _grades(self, targets: Any, X: Any, given: _Given) -> Floats:
        if targets is None:
            grades = grades_of(self.annotations, given.films, self.root)
        else:
            grades = read_grades(targets, X, given.n_rows)
        if not np.isfinite(grades).any():
            raise InputError("targets: expected at least one graded corner, got none.")
        return grades

    def _patients(self, groups: Any, n_rows: int) -> NDArray[np.int64]:
        if groups is None:
            return np.arange(n_rows)
        labels = group_labels(groups, n_rows).astype(str)
        return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)

    def _divide(self, grades: Floats, patients: NDArray[np.int64]) -> tuple[Rows, Rows]:
        """Return rows to learn from, and rows to calibrate on: none, if patients are too few."""
        everything = np.arange(len(grades)), np.arange(0)
        if not self.calibration_fraction or len(self.columns) < len(OF_VIEW):
            return everything
        divided = hold_out_patients(
            patients, self.calibration_fraction, n_rows=len(grades), seed=self._seed("aside")
        )
        if divided is not None:
            rows, held = divided
            held = held[np.isfinite(grades[held]).all(axis=1)]
            if len(np.unique(patients[held])) >= patients_needed(self.coverage):
                return rows, held
        self._warn_uncalibrated()
        return everything

    def _warn_uncalibrated(self) -> None:
        needed = patients_needed(self.coverage)
        warn_user(
            f"CornerScorer: fewer than {needed} patients with all corners graded and read could be "
            f"set aside, which intervals of {self.coverage:.0%} need. They are not calibrated."
        )

    def _seed(self, *keys: object) -> int:
        return derive_seed(self.seed_, "corners", *keys)

    # -- learning ----------------------------------------------------------------------

    def _learn_places(self, given: _Given, patients: NDArray[np.int64]) -> None:
        self.finders_ = {}
        for view, cells in given.cells.items():
            finder = self._new_finder(view, table_of_view(self.annotations, view))
            try:
                self.finders_[view] = finder.fit(cells, groups=patients)
            except ImageReadError:
                self._refuse_unreadable(view, given)
                raise

    def _refuse_unreadable(self, view: str, given: _Given) -> None:
        """Raise for the first film of a view that cannot be read, by its column and row."""
        for row, film in zip(given.origin.tolist(), given.films[view], strict=True):
            try:
                if film is not None:
                    read_original(film)
            except ImageReadError as error:
                problem = str(error).removeprefix(WHO)
                told = explain_file(self.columns[view], row, problem, film, self.root)
                raise ImageReadError(f"{told} Correct it, or leave the row out.") from None

    def _new_finder(self, view: str, table: Any) -> LandmarkFinder:
        pattern = LandmarkFinder(size=_FOUND_AT) if self.finder is None else self.finder
        own = {"annotations": table, "unit": self.unit, "root": self.root, "verbose": self.verbose}
        seed = self._seed("places", view)
        return type(pattern)(**pattern.get_params() | own | {"random_state": seed})

    def _learn_grades(self, given: _Given, grades: Floats) -> None:
        placed = self._taught_places(given)
        patches, _ = cut_rows(given.films, placed, side_mm=self.side_mm, size=_SIZE)
        every = [one for column in patches.values() for one in column]
        of_crop = np.concatenate([
            grades[row, PLACES[view]][one.known]
            for view, column in patches.items()
            for row, one in enumerate(column)
        ])  # fmt: skip
        graded = np.flatnonzero(np.isfinite(of_crop))
        if len(graded) < 2:
            msg = (
                f"CornerScorer: expected at least 2 graded corners that lie on a film, got "
                f"{len(graded)}. Check that targets and annotations are of these films."
            )
            raise InputError(msg)
        crops = prepared(every).take(_positions(graded))
        self.network_ = self._new_network()
        numbers = of_crop[graded].astype(np.int64)
        self.history_ = learn(
            self.network_, crops, numbers, epochs=self.epochs, seed=self._seed("grades")
        )

    def _taught_places(self, given: _Given) -> Placed:
        """Return where corners are: as annotated; on films without annotations, as found."""
        placed = Placed(given.n_rows)
        for view, films in given.films.items():
            table = table_of_view(self.annotations, view)
            points = self._annotated(table, view, films)
            rows = np.flatnonzero(np.isnan(points).all(axis=(1, 2)))
            if len(rows):
                found = self.finders_[view].find([given.cells[view][row] for row in rows])
                placed.put_found(view, found, rows)
            placed.put_given(view, points)
        return placed

    def _annotated(self, table: Any, view: str, films: list[Any]) -> Floats:
        points = places_of(read_annotations(table, POINTS, self.root), films, view)
        return in_film_pixels(points, films) if self.unit == "mm" else points

    def _calibrate(self, given: _Given, grades: Floats, patients: NDArray[np.int64]) -> None:
        self.calibration_ = None
        if not given.n_rows:
            return
        told, _ = self._told(given)
        mean, spread = expected_sums(told, self.missing)
        errors = np.abs(grades.sum(axis=1) - mean) / spread
        known = np.isfinite(errors)
        if len(np.unique(patients[known])) >= patients_needed(self.coverage):
            self.calibration_ = sorted_scores(errors[known], patients[known])
        else:
            self._warn_uncalibrated()

    def _new_network(self) -> Any:
        with torch_seed(self._seed("network")):
            return grader(self.side_mm, _SIZE)

    # -- scoring -----------------------------------------------------------------------

    def _told(self, given: _Given, points: Any = None) -> tuple[Floats, Placed]:
        """Return the probabilities of all corners, and where these are."""
        placed = Placed(given.n_rows)
        for view, films in given.films.items():
            if points is None:
                found = self.finders_[view].find(given.cells[view])
                placed.put_found(view, found, np.arange(given.n_rows))
            else:
                placed.put_given(view, self._annotated(points, view, films))
        patches, placed = cut_rows(given.films, placed, side_mm=self.side_mm, size=_SIZE)
        told = spread_over(patches, lambda every: ask(self.network_, prepared(every)), given.n_rows)
        return told, placed

    def _scored(self, X: Any, points: Any = None) -> CornerScores:
        self._check_fitted()
        with progress_shown(self.verbose > 0):
            given = self._read(X, self.columns)
            told, placed = self._told(given, points)
        readable = np.isfinite(told).all(axis=2)
        grades = np.full(readable.shape, np.nan)
        grades[readable] = target_of_corners().called(told[readable])
        total, cervical, lumbar = sums_of(grades, self.missing)
        mean, spread = expected_sums(told, self.missing)
        lower, upper = interval_of(mean, spread, total, self._reach())
        return CornerScores(
            told, grades, placed.points, placed.confidence, placed.status, total, cervical, lumbar,
            mean, lower, upper, self.coverage, self.calibration_ is not None, given.films,
        )  # fmt: skip

    def _reach(self) -> float:
        """Return how many spreads of the sum an interval reaches either way."""
        if self.calibration_ is not None:
            return score_quantile(self.calibration_, self.coverage)
        return NormalDist().inv_cdf((1.0 + self.coverage) / 2.0)

    # -- saving ------------------------------------------------------------------------

    def _bundle_state(self) -> dict[str, Any]:
        state = super()._bundle_state()
        if hasattr(self, "network_"):
            state["network"] = dict(self.network_.state_dict())
            state["fitted"]["trained_on_"] = sorted(self.trained_on_)
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        super()._restore_bundle_state(state)
        if "network" not in state:
            return
        self._check_restored()
        self.trained_on_ = frozenset(self.trained_on_)
        stored = sum(tensor.numel() for tensor in state["network"].values())
        with at_most_values(stored):
            self.network_ = self._new_network()
        self.network_.load_state_dict(state["network"])
        self.network_.eval()

    def _check_restored(self) -> None:
        """Raise unless what was loaded can be a fitted scorer."""
        columns, finders = self._check_params(), self.finders_
        is_sound = self.calibration_ is None or _is_calibration(self.calibration_)
        is_sound = is_sound and isinstance(finders, dict) and set(finders) == set(columns)
        if not (is_sound and all(hasattr(finder, "find") for finder in finders.values())):
            raise BundleError("load: a scorer of corners is described as none is.")


def _is_calibration(table: Any) -> bool:
    """Return whether a table can be errors and their weights."""
    is_table = isinstance(table, np.ndarray) and table.ndim == 2 and table.shape[1] == 2
    return is_table and table.dtype.kind == "f" and bool(np.isfinite(table).all())


def _positions(rows: NDArray[np.int64]) -> Any:
    import torch

    return torch.from_numpy(rows)
