"""The synthetic axSpA cohort: published margins, honest difficulty, files that read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.clinical.back_pain import ibp_asas
from asfusion.clinical.new_york import mny_radiographic
from asfusion.clinical.units import flag_site_units
from asfusion.datasets._axspa_corners import draw_corners
from asfusion.datasets._axspa_margins import COPULA, CORRELATION, GROUPS
from asfusion.datasets._axspa_patients import spread
from asfusion.datasets._genome import risk_score
from asfusion.datasets._phantoms.notes import NOTE_FORBIDDEN
from asfusion.datasets.axspa_cohort import AxSpaCohort, make_axspa_cohort
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.read import read_image

TABLES = ("labs", "notes", "genes", "visits")


@pytest.fixture(scope="module")
def many() -> AxSpaCohort:
    """Return enough patients for shares and areas to be known to about 0.02."""
    return make_axspa_cohort(4000, random_state=0, modalities=("labs", "genes"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> AxSpaCohort:
    folder = tmp_path_factory.mktemp("cohort")
    every = ("labs", "notes", "genes", "xray", "mri", "spine", "visits")
    return make_axspa_cohort(12, random_state=1, path=folder, modalities=every, missing=0.5)


def area(y: np.ndarray, values: pd.Series) -> float:
    """Return the area under the curve of one feature, whichever way it points."""
    known = values.notna().to_numpy()
    found = float(roc_auc_score(y[known], values[known].astype(float)))
    return max(found, 1 - found)


# -- how hard it is ----------------------------------------------------------------------


def test_single_features_are_as_informative_as_published(many: AxSpaCohort) -> None:
    assert 0.85 <= area(many.y, many.X["hla_b27"]) <= 0.89
    assert 0.66 <= area(many.y, many.X["crp"]) <= 0.74


@pytest.mark.parametrize(
    "name",
    ["cervical_rotation", "schober", "lateral_flexion", "tragus_to_wall", "intermalleolar"],
)
def test_mobility_does_not_tell_early_disease(many: AxSpaCohort, name: str) -> None:
    assert area(many.y, many.X[name]) < 0.60


@pytest.mark.parametrize("name", ["basdai", "basfi", "basmi"])
def test_scores_do_not_tell_early_disease(many: AxSpaCohort, name: str) -> None:
    assert area(many.y, many.targets[name]) < 0.60


def test_ranges_overlap(many: AxSpaCohort) -> None:
    numbers = many.X.drop(columns=["sex", "smoker", "hla_b27"])
    for name in [c for c in numbers if not c.startswith(("rs", "syn"))]:
        of = [numbers[name][many.y == k].dropna().quantile([0.1, 0.9]).tolist() for k in (0, 1)]
        assert of[0][0] < of[1][1], name
        assert of[1][0] < of[0][1], name


def test_sex_site_and_gaps_tell_little(many: AxSpaCohort) -> None:
    sites = pd.get_dummies(many.sites).to_numpy(dtype=float)
    sex = (many.X[["sex"]] == "male").to_numpy(dtype=float)
    gaps = many.X[["crp", "esr", "hla_b27", "wbc", "smoker"]].isna().to_numpy(dtype=float)
    for shortcut in (sites, sex, gaps, np.hstack([sites, sex, gaps])):
        told = cross_val_predict(
            LogisticRegression(), shortcut, many.y, cv=5, method="predict_proba"
        )
        assert roc_auc_score(many.y, told[:, 1]) < 0.65


def test_all_modalities_know_more_than_the_best(many: AxSpaCohort) -> None:
    """What each modality holds, read without error, is more together than the best alone."""
    truth = many.truth
    history = [c for c in truth if c.startswith("history_")]
    score = risk_score(many.genome)
    contents = {
        "labs": np.column_stack([np.log(truth["crp"]), np.log(truth["esr"])]),
        "xray": truth[["grade_sum", "msasss"]].to_numpy(float),
        "mri": truth[["oedema", "oedema_quadrants", "fat"]].to_numpy(float),
        "notes": truth[history].to_numpy(float),
        "genes": np.column_stack([score, truth["hla_b27"]]),
    }

    def oracle(features: np.ndarray) -> float:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        other = HistGradientBoostingClassifier(max_depth=3, max_iter=60, random_state=0)
        told = [
            cross_val_predict(m, features, many.y, cv=5, method="predict_proba")[:, 1]
            for m in (model, other)
        ]
        return max(float(roc_auc_score(many.y, t)) for t in told)

    alone = {name: oracle(features) for name, features in contents.items()}
    together = oracle(np.hstack(list(contents.values())))
    assert together >= max(alone.values()) + 0.04, (together, alone)
    assert min(alone.values()) > 0.65, alone  # none is empty


# -- who they are ------------------------------------------------------------------------


def test_group_means_are_near_the_published_ones(many: AxSpaCohort) -> None:
    """Means within 8 % of the margin, or a tenth of its standard deviation."""
    groups = many.targets["diagnosis"]
    values = many.targets.assign(
        **{name: many.truth[name] for name in ("crp", "esr")}, age=many.X["age"], bmi=many.X["bmi"]
    )
    values["duration"] = many.truth["duration"]
    for name, margin in COPULA.items():
        for number, group in enumerate(GROUPS):
            mean = values.loc[groups == group, name].mean()
            near = max(0.08 * margin.mean[number], 0.1 * margin.sd[number])
            assert abs(mean - margin.mean[number]) < near, (name, group, mean)


def test_correlations_are_those_of_the_copula(many: AxSpaCohort) -> None:
    names = [name for name in COPULA if name != "duration"]
    values = many.targets.assign(age=many.X["age"], bmi=many.X["bmi"])
    for name in ("crp", "esr"):
        values[name] = np.log(many.truth[name])
    values["msasss"] = np.log1p(values["msasss"])
    rows = many.targets["diagnosis"] == "AS"
    found = values.loc[rows, names].corr().to_numpy()
    kept = [list(COPULA).index(name) for name in names]
    assert np.abs(found - CORRELATION[np.ix_(kept, kept)]).max() < 0.1


def test_criteria_come_out_as_defined(many: AxSpaCohort) -> None:
    positive = np.asarray(
        mny_radiographic(many.targets["mny_right"].to_numpy(), many.targets["mny_left"].to_numpy())
    )
    diagnosis = many.targets["diagnosis"]
    assert positive[diagnosis == "AS"].all()
    assert not positive[diagnosis == "nr-axSpA"].any()
    assert 0.005 < positive[diagnosis == "back pain"].mean() < 0.035  # published: 1.9 %
    assert (many.targets["as_vs_nr"].isna() == (diagnosis == "back pain")).all()


def test_inflammatory_back_pain_is_as_frequent_as_published(many: AxSpaCohort) -> None:
    told = many.truth
    met = np.asarray(
        ibp_asas(
            (told["onset_age"] < 40).to_numpy(),
            told["history_insidious"].to_numpy(),
            told["history_better_exercise"].to_numpy(),
            told["history_no_better_rest"].to_numpy(),
            told["history_night_pain"].to_numpy(),
        ),
        dtype=bool,
    )
    assert abs(met[many.y == 1].mean() - 0.734) < 0.08
    assert abs(met[many.y == 0].mean() - 0.446) < 0.08


def test_progression_is_as_frequent_as_published(many: AxSpaCohort) -> None:
    share = many.targets.groupby("diagnosis")["progression_2y"].mean()
    assert abs(share["AS"] - 0.20) < 0.05
    assert abs(share["nr-axSpA"] - 0.074) < 0.03
    assert share["back pain"] < 0.02
    corners = many.targets.filter(like="corner_")
    assert list(corners) == [f"corner_{c}" for c in (*CERVICAL_CORNERS, *LUMBAR_CORNERS)]
    assert (corners.sum(axis=1) == many.targets["msasss"]).all()


def test_men_are_damaged_more(many: AxSpaCohort) -> None:
    rows = many.targets[many.targets["diagnosis"] == "AS"]
    mean = rows["msasss"].groupby(many.X["sex"]).mean()
    assert mean["male"] > 1.3 * mean["female"]


def test_erap1_acts_in_carriers_alone(many: AxSpaCohort) -> None:
    X, case = many.X, pd.Series(many.y == 1)
    for carrier, low, high in ((True, 0.02, 0.15), (False, -0.05, 0.05)):
        rows = X["hla_b27"].eq(carrier).fillna(False) & X["rs30187"].notna()
        mean = X.loc[rows, "rs30187"].groupby(case[rows]).mean() / 2
        assert low < mean[True] - mean[False] < high


# -- hospitals -----------------------------------------------------------------------------


def test_units_of_the_hospitals() -> None:
    standard, site = (
        make_axspa_cohort(800, random_state=0, modalities=["labs"], units=units)
        for units in ("standard", "site")
    )
    factor = site.X["crp_unit"].map({"mg/L": 1.0, "mg/dL": 10.0})
    difference = (site.X["crp"] * factor - standard.X["crp"]).abs()
    assert difference.max() < 0.051  # mg/dL come with two digits
    flagged = flag_site_units(site.X["crp"], site.sites, "crp", unit="mg/L")
    assert [found.site for found in flagged] == [2]
    assert not list(flag_site_units(standard.X["crp"], standard.sites, "crp", unit="mg/L"))


def test_units_of_the_hospitals_at_every_visit() -> None:
    standard, site = (
        make_axspa_cohort(
            80, random_state=0, modalities=["labs", "visits"], rows="visit", units=units
        )
        for units in ("standard", "site")
    )
    assert (site.X["crp_unit"] == "mg/dL").equals(pd.Series(site.sites == 2))
    factor = site.X["crp_unit"].map({"mg/L": 1.0, "mg/dL": 10.0})
    assert (site.X["crp"] * factor - standard.X["crp"]).abs().max() < 0.051


def test_detection_limits(many: AxSpaCohort) -> None:
    lowest = many.X["crp"].groupby(many.sites).min()
    assert lowest.tolist() == [0.3, 1.0, 0.5, 2.0]


def test_gaps_scale_with_missing() -> None:
    none = make_axspa_cohort(200, random_state=0, modalities=TABLES, missing=0.0)
    dosages = [c for c in none.X if c.startswith(("rs", "syn"))]
    assert none.X.drop(columns=dosages).notna().all().all()
    some, more = (
        make_axspa_cohort(200, random_state=0, modalities=TABLES, missing=m).X.isna().mean().mean()
        for m in (1.0, 2.0)
    )
    assert 0 < some < more


# -- notes and visits ------------------------------------------------------------------------


def test_notes_name_neither_diagnosis_nor_results() -> None:
    cohort = make_axspa_cohort(300, random_state=3, modalities=["notes"])
    text = " ".join(cohort.X["clinical_note"].dropna()).lower()
    assert not [term for term in NOTE_FORBIDDEN if f" {term.lower()} " in text]


def test_visits_end_at_the_index_date(few: AxSpaCohort) -> None:
    visits = few.visits
    assert visits is not None
    assert (visits["day"] <= 0).all()
    by_patient = visits.groupby("patient")["day"]
    assert (by_patient.max() == 0).all()
    assert by_patient.size().between(3, 8).all()
    last = visits[visits["day"] == 0].reset_index(drop=True)
    assert (last["basdai"] - few.targets["basdai"]).abs().max() < 0.15


def test_rows_can_be_visits() -> None:
    by_patient = make_axspa_cohort(30, random_state=0, modalities=TABLES)
    by_visit = make_axspa_cohort(30, random_state=0, modalities=TABLES, rows="visit")
    assert by_visit.visits is not None
    assert len(by_visit.X) == len(by_visit.visits) == len(by_visit.y) == len(by_visit.targets)
    last = by_visit.X["day"] == 0
    pd.testing.assert_frame_equal(
        by_visit.X[last].drop(columns="day").reset_index(drop=True), by_patient.X
    )
    assert by_visit.X.loc[~last, "clinical_note"].isna().all()
    assert set(by_visit.groups) == set(range(30))


# -- files ---------------------------------------------------------------------------------


def test_radiographs_read_as_dicom(few: AxSpaCohort) -> None:
    paths = few.X["pelvis_xray"].dropna()
    assert len(paths) >= 8
    assert few.segmentations is not None
    for row, path in paths.items():
        image = read_image(path)
        mask = read_image(few.segmentations[row])
        assert image.shape[-2:] == mask.shape[-2:]
        assert image.std() > 10
    assert few.X[["cervical_xray", "lumbar_xray"]].notna().any().all()


def test_lesion_masks_show_where_sacroiliitis_changed_the_film(few: AxSpaCohort) -> None:
    assert few.lesions is not None and few.segmentations is not None
    assert list(few.lesions.notna()) == list(few.X["pelvis_xray"].notna())
    worst = few.targets[["mny_right", "mny_left"]].max(axis=1)
    area: dict[str, list[float]] = {"sound": [0.0], "mild": [0.0], "sick": []}
    for row, path in few.lesions.dropna().items():
        mask = read_image(path)
        assert mask.shape == read_image(few.segmentations[row]).shape
        assert set(np.unique(mask)) <= {0, 255}
        kind = "sound" if worst[row] == 0 else "mild" if worst[row] < 3 else "sick"
        area[kind].append((mask > 0).mean())
    assert max(area["sound"]) == 0.0
    assert min(area["sick"]) > max(np.mean(area["mild"]), 0.01)


def test_mri_series_are_folders_of_slices(few: AxSpaCohort) -> None:
    rows = few.X[["mri_stir", "mri_t1"]].dropna()
    assert len(rows) >= 4
    for folder in rows.to_numpy().ravel():
        assert len(list(Path(folder).glob("*.dcm"))) == 12


def test_same_seed_same_bytes(few: AxSpaCohort, tmp_path: Path) -> None:
    again = make_axspa_cohort(
        12, random_state=1, path=tmp_path, modalities=("labs", "xray"), missing=0.5
    )
    for name in again.X:
        if name == "pelvis_xray":
            for one, other in zip(again.X[name].dropna(), few.X[name].dropna(), strict=True):
                assert Path(one).read_bytes() == Path(other).read_bytes()
        else:
            pd.testing.assert_series_equal(again.X[name], few.X[name])
    different = make_axspa_cohort(12, random_state=2, modalities=["labs"])
    assert not different.X["crp"].equals(few.X["crp"])


def test_genome_files(few: AxSpaCohort, tmp_path: Path) -> None:
    few.write_plink(tmp_path / "genome")
    few.write_vcf(tmp_path / "genome.vcf")
    assert (tmp_path / "genome.bed").read_bytes()[:3] == b"\x6c\x1b\x01"
    assert len((tmp_path / "genome.fam").read_text().splitlines()) == 12
    assert "P00012" in (tmp_path / "genome.vcf").read_text()


def test_picture_and_page(few: AxSpaCohort) -> None:
    from matplotlib import pyplot

    pyplot.close("all")
    figure = few.plot(4)
    assert len([axis for axis in figure.axes if axis.images]) == 4
    assert pyplot.get_fignums() == [figure.number]  # a script shows it by pyplot
    pyplot.close(figure)
    assert "synthetic" in few._repr_html_()
    assert "synthetic" in few.description.lower()


def test_a_notebook_draws_the_films_once(few: AxSpaCohort) -> None:
    from matplotlib import get_backend, pyplot

    pytest.importorskip("matplotlib_inline")
    before = get_backend()
    pyplot.close("all")
    pyplot.switch_backend("module://matplotlib_inline.backend_inline")
    try:
        figure = few.plot(2)
        assert pyplot.get_fignums() == []  # the notebook shows it as the value of the cell
        figure.savefig("/dev/null", format="png")
    finally:
        pyplot.close("all")
        pyplot.switch_backend(before)


# -- parts ---------------------------------------------------------------------------------


@given(st.integers(0, 72), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_corners_add_up_and_bridges_take_both(total: int, seed: int) -> None:
    corners = draw_corners(np.array([total]), np.random.default_rng(seed))[0]
    assert corners.sum() in (total, total - 1)  # a point that cannot close a bridge is dropped
    assert ((corners >= 0) & (corners <= 3)).all()
    for disc in corners.reshape(12, 2):
        assert (disc == 3).sum() in (0, 2)


@given(st.floats(0, 10), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_items_have_the_mean_asked_for(total: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.array([0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
    items = spread(np.array([total]), rng.normal(0, 3, (1, 6)), weights, 0.0, 10.0)
    assert abs(float((items @ weights)[0]) - total) < 1e-6
    assert ((items >= 0) & (items <= 10)).all()


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"n": 0}, "n: expected"),
        ({"missing": 3.0}, "missing: expected"),
        ({"rows": "film"}, "rows: expected"),
        ({"units": "imperial"}, "units: expected"),
        ({"modalities": "labs"}, "modalities: expected a sequence"),
        ({"modalities": []}, "modalities: expected a sequence"),
        ({"modalities": ["pet"]}, "modalities: expected"),
        ({"rows": "visit", "modalities": ["labs"]}, "expected 'visits' among modalities"),
    ],
)
def test_unusable_parameters(choice: dict, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make_axspa_cohort(**({"n": 5, "modalities": ["labs"]} | choice))


def test_what_a_cohort_lacks(tmp_path: Path) -> None:
    cohort = make_axspa_cohort(5, modalities=["labs"])
    with pytest.raises(ConfigurationError, match="expected radiographs"):
        cohort.plot()
    for write in (cohort.write_plink, cohort.write_vcf):
        with pytest.raises(ConfigurationError, match="expected a genome"):
            write(tmp_path / "x.vcf")


@pytest.mark.parametrize("rows", ["patient", "visit"])
def test_mentions_point_at_their_words_in_the_note(rows):
    made = make_axspa_cohort(30, random_state=0, modalities=["labs", "notes", "visits"], rows=rows)
    assert made.mentions is not None
    assert set(made.mentions["concept"]) >= {"uveitis", "morning_stiffness", "family_history"}
    for row, start, end in made.mentions[["row", "start", "end"]].itertuples(index=False):
        words = made.X["clinical_note"].iloc[row][start:end]
        assert words.strip() == words != ""
    assert make_axspa_cohort(5, random_state=0, modalities=["labs"]).mentions is None
