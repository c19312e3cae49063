"""A synthetic axSpA cohort: images, notes, labs, genome and visits of the same patients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number, in_words, quoted
from asfusion._door import public
from asfusion._random import RandomState, draw_seed
from asfusion.datasets._axspa_maker import Made, Maker, stream
from asfusion.datasets._axspa_measured import in_units_of_site
from asfusion.datasets._axspa_outcomes import draw_outcomes
from asfusion.datasets._axspa_patients import Patients, draw_patients
from asfusion.datasets._axspa_tables import (
    annotation_table,
    make_targets,
    make_truth,
    mentions_of,
    to_frame,
)
from asfusion.datasets._axspa_visits import draw_visits
from asfusion.datasets._genome import Genome
from asfusion.exceptions import ConfigurationError
from asfusion.show import figures

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODALITIES: Final = ("labs", "notes", "genes", "xray", "mri", "spine", "visits")
_DEFAULT: Final = ("labs", "notes", "genes", "xray")
_ONLY_AT_INDEX: Final = frozenset(
    {
        *("wbc", "neutrophils", "lymphocytes", "platelets", "haemoglobin", "lateral_flexion"),
        *("tragus_to_wall", "intermalleolar", "chest_expansion"),
    }
)
_DESCRIPTION = """\
Synthetic patients with chronic back pain; nothing here is, or is derived from, a person.
y: axial spondyloarthritis (1) or other back pain (0). targets: diagnosis, activity, function,
radiographic grades, mSASSS corners and progression. X by modality:
labs: age (years), bmi (kg/m2), crp (mg/L), esr (mm/h), wbc, neutrophils, lymphocytes,
platelets (10^9/L), haemoglobin (g/L), mobility (cm; cervical_rotation in degrees); a CRP below
a hospital's detection limit is given as that limit. genes: hla_b27 and dosages of risk alleles.
pelvis_xray, cervical_xray, lumbar_xray: DICOM files. mri_stir, mri_t1: folders of DICOM slices.
clinical_note: written on the index date, without diagnosis or results. visits: a long table of
earlier visits, days counted from the index date. Cells and whole modalities are missing, the
costly ones more rarely where the history is suspicious."""


@dataclass(frozen=True, eq=False)
class AxSpaCohort:
    """What `make_axspa_cohort` returns; all of it synthetic.

    Parameters
    ----------
    X : DataFrame of n rows
        One row per patient, or per visit; columns by modality as `description` lists them.
    y : ndarray of shape (n,), int
        1 for axial spondyloarthritis, 0 for other chronic back pain.
    groups : ndarray of shape (n,), int
        Patient of each row.
    targets : DataFrame of n rows
        ``axspa``, ``diagnosis``, ``as_vs_nr`` (missing for back pain), ``basdai``, ``basfi``,
        ``asdas_crp``, ``mny_right``, ``mny_left`` (grades), ``msasss``, a column per corner
        (``corner_C2L`` ...), ``msasss_2y``, ``progression_2y``; what two readers gave each
        joint (``mny_right_reader1``, ``mny_left_reader1``, ``mny_right_reader2``,
        ``mny_left_reader2``), while ``mny_right`` and ``mny_left`` are what was drawn;
        years from the index date to
        radiographic progression and to a first biologic, or to the end of follow-up
        (``progression_time``, ``biologic_time``), and whether either was seen
        (``progression_event``, ``biologic_event``): `times` gives one of them as y.
    items : DataFrame of n rows
        Answers behind the scores: ``basdai_q1`` ... ``basfi_q10``, ``patient_global``, 0 to 10.
    sites : ndarray of shape (n,), int
        Hospital of each row, from 0.
    visits : DataFrame or None
        Long table of visits: ``patient``, ``day`` (0 is the index date) and values.
    segmentations : Series of str or None
        Paths of label images of the pelvic films (PNG, uint8), the ground truth of anatomy.
    lesions : Series of str or None
        Paths of masks of the pelvic films (PNG, 0 or 255): where joints of grade 1 to 4 differ
        from sound ones of the same patient by more than noise does, the ground truth of what a
        network may point at.
    regions : DataFrame or None
        Where the sacroiliac joints lie on the pelvic films: ``film`` (the path as in ``X``),
        ``region`` ("right_sij" or "left_sij", the patient's), and the box ``x0``, ``y0``,
        ``x1``, ``y1`` around the whole joint, in pixels from the upper left corner of the film.
    corner_points : DataFrame or None
        Where the scored corners lie on the films of the spine: ``film``, ``point`` ("C2L" ...
        "S1U", as in `targets`), ``x`` and ``y`` in pixels; a pixel's centre lies at a half.
    mentions : DataFrame or None
        What each note says where: ``row``, ``concept``, ``start`` and ``end`` (characters of
        the note) and ``polarity``, such as "negated" or "family"; the ground truth of notes.
    genome : Genome or None
        Alleles, with `write_plink` and `write_vcf` of the cohort.
    truth : DataFrame of n rows
        What the disease left in each modality before anything was measured or lost. Never a
        feature: it is there to judge readers and oracles.
    modalities : tuple of str
        What was made.
    description : str
        What the columns are, and that all of it is synthetic.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(20, random_state=0, modalities=["labs", "notes"])
    >>> cohort
    AxSpaCohort(synthetic, 20 rows of 20 patients, 10 with axSpA; labs, notes)
    """

    X: pd.DataFrame
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    targets: pd.DataFrame
    items: pd.DataFrame
    sites: NDArray[np.int64]
    visits: pd.DataFrame | None
    segmentations: pd.Series | None
    lesions: pd.Series | None
    regions: pd.DataFrame | None
    corner_points: pd.DataFrame | None
    mentions: pd.DataFrame | None
    genome: Genome | None
    truth: pd.DataFrame
    modalities: tuple[str, ...]
    description: str = _DESCRIPTION

    def __repr__(self) -> str:
        """Return the size, and that it is synthetic."""
        patients = len(np.unique(self.groups))
        return (
            f"AxSpaCohort(synthetic, {len(self.y)} rows of {patients} patients, "
            f"{int(self.y.sum())} with axSpA; {', '.join(self.modalities)})"
        )

    def _repr_html_(self) -> str:
        """Return the size and the first rows."""
        from html import escape

        rows = self.X.head(5).to_html(max_cols=12, border=0)
        return f"<p><b>{escape(repr(self))}</b></p>{rows}"

    def plot(self, n: int = 10) -> Figure:
        """Draw pelvic radiographs from grade 0 to 4, with the grades of both sides.

        Parameters
        ----------
        n : int
            Number of films, at least 1.

        Returns
        -------
        matplotlib Figure
            Two rows of films, the least damaged first.

        Raises
        ------
        ConfigurationError
            If the cohort has no radiographs.
        """
        from asfusion.imaging.read import read_image

        check_integer(n, "n", minimum=1)
        if "pelvis_xray" not in self.X:
            msg = "AxSpaCohort.plot: expected radiographs, got none. Add 'xray' to modalities."
            raise ConfigurationError(msg)
        there = np.flatnonzero(self.X["pelvis_xray"].notna())
        grades = self.targets[["mny_right", "mny_left"]].to_numpy()
        chosen = _spread_over(grades.sum(axis=1)[there], there, n)
        columns = -(-len(chosen) // 2)
        figure, axes = figures.new_axes((2.2 * columns, 4.6), 2, columns, shown=True)
        for axis in axes:
            axis.set_axis_off()
        for axis, row in zip(axes, chosen, strict=False):
            axis.imshow(read_image(self.X["pelvis_xray"].iloc[row]).squeeze(), cmap="gray")
            right, left = grades[row]
            axis.set_title(f"right {right}, left {left}", fontsize=9)
        figure.suptitle("Synthetic pelvic radiographs, modified New York grades")
        return figures.shown_once(figure)

    def times(self, outcome: Literal["progression", "biologic"] = "progression") -> pd.DataFrame:
        """Return the time to an event as survival estimators take it.

        Parameters
        ----------
        outcome : {"progression", "biologic"}
            New damage of the spine on films, or a first biologic drug.

        Returns
        -------
        DataFrame of n rows
            ``event`` (whether it was seen) and ``time`` (years from the index date to it, or to
            the end of follow-up).

        Raises
        ------
        ConfigurationError
            If there is no such outcome.
        """
        import pandas as pd

        check_choice(outcome, "outcome", ("progression", "biologic"))
        columns = {name: self.targets[f"{outcome}_{name}"] for name in ("event", "time")}
        return pd.DataFrame(columns)

    def write_plink(self, prefix: str | os.PathLike[str]) -> None:
        """Write the genome as PLINK files.

        Parameters
        ----------
        prefix : path
            Path without an ending; ``.bed``, ``.bim`` and ``.fam`` are written.

        Raises
        ------
        ConfigurationError
            If the cohort has no genome.
        """
        from asfusion.datasets._genome_files import write_plink

        sexes = self.truth.drop_duplicates("patient")["sex"].tolist()
        write_plink(prefix, self._genome(), self._sample_ids(), sexes)

    def write_vcf(self, path: str | os.PathLike[str]) -> None:
        """Write the genome as a VCF file.

        Parameters
        ----------
        path : path
            A file named ``.vcf``, or ``.vcf.gz`` to compress it.

        Raises
        ------
        ConfigurationError
            If the cohort has no genome.
        """
        from asfusion.datasets._genome_files import write_vcf

        write_vcf(path, self._genome(), self._sample_ids())

    @public
    def write_omop(self, connection: Any, *, schema: str | None = None) -> pd.DataFrame:
        """Write labs, notes, visits and history as tables of the OMOP common data model 5.4.

        The tables ``person``, ``measurement``, ``note``, ``visit_occurrence``,
        ``condition_occurrence``, ``drug_exposure`` (empty) and ``concept`` are made; they must
        not be there yet. Nothing is committed: ``connection.commit()`` does, where the driver
        does not do so by itself. Each patient also has a CRP and, if it is one, a diagnosis of
        a month after the index date, which a reader must leave alone.

        Parameters
        ----------
        connection : open connection
            Such as `asfusion.io.read_omop` takes: SQLite, DuckDB or PostgreSQL.
        schema : str, optional
            Schema of the tables, which must be there.

        Returns
        -------
        DataFrame of n rows
            ``patient`` and ``index_date`` of each row of `X`, at noon.

        Raises
        ------
        InputTypeError
            If `connection` is none.
        ConfigurationError
            If the schema is no plain name.
        ForeignError
            If the database refuses, for example since a table is there already.
        """
        from asfusion.datasets._omop import write_omop

        return write_omop(self, connection, schema)

    def write_fhir(self, folder: str | os.PathLike[str]) -> pd.DataFrame:
        """Write the patients as a FHIR server exports them: NDJSON, a file for each resource.

        ``Patient``, ``Observation`` (labs by LOINC code in UCUM units, blood counts as components
        of a panel), ``DiagnosticReport`` (which observations belong together),
        ``DocumentReference`` (notes), ``Encounter`` (visits), ``Condition`` (history) and
        ``ImagingStudy``, each FHIR R4 [1]_ and tagged as test data. Each patient also has a CRP
        and, if it is one, a diagnosis of a month after the index date, which a reader must leave
        alone. Equal cohorts give equal bytes.

        Parameters
        ----------
        folder : path
            Where ``Patient.ndjson`` and the others are written, made if it is not there.

        Returns
        -------
        DataFrame of n rows
            ``patient`` and ``index_date`` of each row of `X`, at noon in UTC.

        References
        ----------
        .. [1] HL7, "FHIR R4 (4.0.1)", 2019. https://hl7.org/fhir/R4

        Examples
        --------
        >>> import tempfile, asfusion as af
        >>> cohort = af.datasets.make_axspa_cohort(20, random_state=0, modalities=["labs"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     index = cohort.write_fhir(folder)
        ...     records = af.io.read_fhir(folder, index=index, labs=["crp"])
        >>> records.to_frame().shape
        (20, 9)
        """
        from asfusion.datasets._fhir import write_fhir

        return write_fhir(self, folder)

    def _genome(self) -> Genome:
        if self.genome is None:
            msg = "AxSpaCohort: expected a genome, got none. Add 'genes' to modalities."
            raise ConfigurationError(msg)
        return self.genome

    def _sample_ids(self) -> list[str]:
        return [f"P{patient + 1:05d}" for patient in np.unique(self.groups)]


@public
def make_axspa_cohort(
    n: int = 400,
    *,
    random_state: RandomState = 0,
    path: str | os.PathLike[str] | None = None,
    modalities: Sequence[str] = _DEFAULT,
    rows: Literal["patient", "visit"] = "patient",
    units: Literal["standard", "site"] = "standard",
    missing: float = 1.0,
    film_mm: float | None = None,
    damage: Literal["cohort", "study"] = "cohort",
) -> AxSpaCohort:
    """Make synthetic patients with chronic back pain, half of them with axSpA.

    One disease process per patient causes what every modality shows. Margins, shares and
    correlations follow published cohorts of early disease where there are any: inflammation
    is seen in CRP and marrow oedema, damage in grades and corners, risk in HLA-B27, symptoms
    in the note; BASDAI and mobility do not tell axSpA from other back pain.

    Parameters
    ----------
    n : int
        Number of patients, at least 1.
    random_state : int, RandomState, Generator or None
        Seeds everything; an int gives the same patients, and the same files, every time.
    path : path, optional
        Folder for images, made if it is not there. By default a temporary folder that is
        removed when the process ends.
    modalities : sequence of {"labs", "notes", "genes", "xray", "mri", "spine", "visits"}
        What to make. Images take time: for 400 patients about 25 s for ``"xray"``.
    rows : {"patient", "visit"}
        One row per patient, or one per visit; with ``"visit"`` labs and activity change from
        visit to visit, and notes and images stand at the last one.
    units : {"standard", "site"}
        CRP in mg/L, or as each hospital reports it, with its unit in ``crp_unit``.
    missing : float
        Scales how much is missing, from 0 (nothing) to 2; 1 is a usual hospital.
    film_mm : float, optional
        Edge of a pixel of fine radiographs, 0.2 to 1.5 mm. Their fields, positions, doses and
        gas vary more, a few patients carry metal, and MRI shows mimics of oedema. At 0.5 mm
        ``"xray"`` takes about 0.2 s of processor time a patient, as does ``"spine"``; at 0.2 mm
        1.2 s and 1.4 s. By default films are coarse (1.45 mm on the pelvis) and take 0.04 s.
    damage : {"cohort", "study"}
        Damage of the spine: as in early disease, where 94 % of corners are 0, or as in a study
        of damage, where about 76 % are 0, 8 % are 1, 11 % are 2 and 6 % are 3 [3]_. The rest
        stays the same, but for progression, which follows from it.

    Returns
    -------
    AxSpaCohort
        ``X``, ``y``, ``groups``, ``targets`` and more.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable.

    Notes
    -----
    No clinical conclusion can be drawn from this cohort, and no performance on it is one on
    patients. NOTE[DIFF] What no source gives is assumed; the guide to the cohort lists it.
    Two readers agree with the drawn grade, and with each other, by a kappa of about 0.5 over
    the five grades; central readers reached 0.54 on positive or negative [4]_.

    References
    ----------
    .. [1] Rudwaleit et al., "The early disease stage in axial spondylarthritis: results from
       the German Spondyloarthritis Inception Cohort", Arthritis Rheum 2009.
       https://doi.org/10.1002/art.24483
    .. [2] Rudwaleit et al., "The development of Assessment of SpondyloArthritis international
       Society classification criteria for axial spondyloarthritis (part II)", Ann Rheum Dis
       2009. https://doi.org/10.1136/ard.2009.108233
    .. [3] Ramiro et al., "Evolution of radiographic damage in ankylosing spondylitis: a 12 year
       prospective follow-up of the OASIS study", Ann Rheum Dis 2015.
       https://doi.org/10.1136/annrheumdis-2013-204055
    .. [4] van den Berg et al., "Agreement between clinical practice and trained central reading
       in reading of sacroiliac joints on plain pelvic radiographs", Arthritis Rheumatol 2014.
       https://doi.org/10.1002/art.38738

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(20, random_state=0, modalities=["labs"])
    >>> cohort.X.columns[:6].tolist()
    ['age', 'sex', 'bmi', 'smoker', 'crp', 'esr']
    >>> cohort.targets["diagnosis"].value_counts().to_dict()
    {'back pain': 10, 'nr-axSpA': 6, 'AS': 4}
    """
    check_integer(n, "n", minimum=1)
    check_number(missing, "missing", minimum=0.0, maximum=2.0)
    if film_mm is not None:
        check_number(film_mm, "film_mm", minimum=0.2, maximum=1.5)
    check_choice(rows, "rows", ("patient", "visit"))
    check_choice(units, "units", ("standard", "site"))
    check_choice(damage, "damage", ("cohort", "study"))
    chosen = _check_modalities(modalities)
    seed = draw_seed(random_state)
    study = stream(seed, "study") if damage == "study" else None
    patients = draw_patients(n, stream(seed, "patients"), study)
    made = Maker(patients, chosen, seed, missing, path, film_mm).make()
    cohort = _assemble(patients, made, chosen, seed)
    if rows == "visit":
        cohort = _by_visit(cohort)
    if units == "site" and "labs" in chosen:
        _report_in_units_of_site(cohort)
    return cohort


def _check_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    if isinstance(modalities, str) or not modalities:
        msg = (
            f"modalities: expected a sequence of {quoted(MODALITIES)}, got {in_words(modalities)}."
        )
        raise ConfigurationError(msg)
    for name in modalities:
        check_choice(name, "modalities", MODALITIES)
    return tuple(name for name in MODALITIES if name in modalities)


def _spread_over(damage: NDArray[np.int64], rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Return up to `n` of the rows in order of damage, rare grades as often as common ones."""
    seen: dict[int, int] = {}
    turn = []
    for level in damage.tolist():
        seen[level] = seen.get(level, 0) + 1
        turn.append(seen[level])
    first = np.lexsort((damage, np.array(turn)))[:n]
    return rows[first[np.argsort(damage[first], kind="stable")]]


def _paths(cells: list[str | None] | None) -> pd.Series | None:
    import pandas as pd

    return None if cells is None else pd.Series(cells, dtype="str")


def _assemble(
    patients: Patients, made: Made, modalities: tuple[str, ...], seed: int
) -> AxSpaCohort:
    import pandas as pd

    visits = None
    if "visits" in modalities:
        visits = pd.DataFrame(draw_visits(patients, stream(seed, "visits")))
    items = pd.DataFrame(patients.items)
    outcomes = draw_outcomes(patients, stream(seed, "outcomes"))
    return AxSpaCohort(
        X=to_frame(made.columns, len(patients)),
        y=patients.is_case.astype(np.int64),
        groups=np.arange(len(patients)),
        targets=make_targets(patients, items, outcomes, stream(seed, "readers")),
        items=items,
        sites=patients.site.astype(np.int64),
        visits=visits,
        segmentations=_paths(made.segmentations),
        lesions=_paths(made.lesions),
        regions=annotation_table(made.regions, ("film", "region", "x0", "y0", "x1", "y1")),
        corner_points=annotation_table(made.corner_points, ("film", "point", "x", "y")),
        mentions=mentions_of(made),
        genome=made.genome if "genes" in modalities else None,
        truth=make_truth(patients, made, outcomes),
        modalities=modalities,
    )


def _report_in_units_of_site(cohort: AxSpaCohort) -> None:
    values, units = in_units_of_site(cohort.X["crp"].tolist(), cohort.sites)
    cohort.X["crp"] = values
    cohort.X.insert(list(cohort.X).index("crp") + 1, "crp_unit", units)


def _by_visit(cohort: AxSpaCohort) -> AxSpaCohort:
    """Return the cohort with a row per visit; what is not measured again is missing before."""
    import dataclasses

    if cohort.visits is None:
        msg = "rows='visit': expected 'visits' among modalities, got none. Add it."
        raise ConfigurationError(msg)
    visits = cohort.visits
    patient = visits["patient"].to_numpy()
    last = (visits["day"] == 0).to_numpy()
    X = cohort.X.iloc[patient].reset_index(drop=True)
    once = [
        c for c in X if c == "clinical_note" or str(c).endswith("_xray") or str(c)[:4] == "mri_"
    ]
    X.loc[~last, once] = None
    labs = [name for name in X if name in _ONLY_AT_INDEX]
    X.loc[~last, labs] = np.nan
    for name in ("crp", "esr", "cervical_rotation", "schober"):
        if name in X:
            X[name] = np.where(last, X[name], visits[name])
    X.insert(0, "day", visits["day"].to_numpy())
    targets = cohort.targets.iloc[patient].reset_index(drop=True)
    for name in ("basdai", "basfi", "basmi"):
        targets[name] = np.where(last, targets[name], visits[name])
    targets.loc[~last, "asdas_crp"] = np.nan
    items = cohort.items.iloc[patient].reset_index(drop=True)
    items.loc[~last] = np.nan

    def of_visits(paths: pd.Series | None) -> pd.Series | None:
        return None if paths is None else paths.iloc[patient].where(last).reset_index(drop=True)

    return dataclasses.replace(
        cohort,
        X=X,
        y=cohort.y[patient],
        groups=patient.astype(np.int64),
        targets=targets,
        items=items,
        sites=cohort.sites[patient],
        segmentations=of_visits(cohort.segmentations),
        lesions=of_visits(cohort.lesions),
        mentions=None
        if cohort.mentions is None
        else cohort.mentions.assign(row=np.flatnonzero(last)[cohort.mentions["row"]]),
        truth=cohort.truth.iloc[patient].reset_index(drop=True),
    )
