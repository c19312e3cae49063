"""A look before the first fit: what it says, what it hides, and what auto leaves out by it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.cli.commands import main
from asfusion.encoders import infer
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.overview._columns import quantity_of
from asfusion.overview._sample_size import needed_for_classes, needed_for_numbers, needed_for_times

N = 120


def patients(seed: int = 0, n: int = N) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return columns, classes and the patient of each of n visits, two of each patient."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n // 2), 2)
    columns = {
        "age": rng.integers(18, 90, n // 2)[group],
        "sex": rng.choice(["f", "m"], n // 2)[group],
        "crp": rng.gamma(2.0, 6.0, n).round(1),
        "city": rng.choice(["hip", "heel", "neck"], n),
    }
    y = np.where(columns["crp"] + rng.normal(0, 6, n) > 12, "yes", "no")
    return columns, y, group


# -- sample size ---------------------------------------------------------------------------


def test_sample_sizes_are_those_of_the_papers() -> None:
    """Pre-eclampsia in BMJ 2020, Chagas in Part II, fat-free mass in BMJ 2020, and pmsampsize."""
    asked = needed_for_classes(0.05, 30, 0.05)
    assert (asked["shrinkage"], asked["overall"], asked["error"]) == (5249, 73, 544)
    asked = needed_for_classes(0.174, 24, 0.288)
    assert (asked["shrinkage"], asked["optimism"], asked["overall"]) == (623, 662, 221)
    asked = needed_for_numbers(26.7, 8.7, 20, 0.9)
    assert (asked["shrinkage"], asked["optimism"], asked["spread"]) == (68, 41, 254)
    asked = needed_for_numbers(1.9, 0.6, 25, 0.2)
    assert (asked["shrinkage"], asked["optimism"], asked["spread"]) == (918, 401, 259)
    assert "overall" not in needed_for_numbers(0.01, 1.0, 5)


def test_sample_sizes_for_times_are_those_of_the_papers() -> None:
    """Recurrence of thrombosis in BMJ 2020, the tests of pmsampsize, and the risk by a horizon."""
    for n_candidates, rate, r2, expected in (
        (30, 0.065, 0.051, (5143, 1039)),
        (25, 0.065, 0.051, (4286, 866)),
        (25, 0.065, 0.065, (3335, 859)),
        (50, 0.065, 0.051, (8572, 1731)),
        (25, 0.1, 0.051, (4286, 731)),
    ):
        # The package counts the events of 10,000 patients, and rounds them up.
        rounded = np.ceil(np.round(1e4 * rate * 2.07, 6)) / 1e4 / 2.07
        asked = needed_for_times(rounded, 2.07, 2.0, n_candidates, r2)
        assert (asked["shrinkage"], asked["optimism"]) == expected
    # A rate of 0.1 for ten years: 2366 years of follow-up.
    assert needed_for_times(0.1, 1.0, 10.0, 5)["overall"] == 2366
    for rate, follow_up, horizon in ((0.065, 2.07, 2.0), (0.5, 0.4, 3.0), (2.0, 0.5, 0.1)):
        n = needed_for_times(rate, follow_up, horizon, 5)["overall"]
        for enough, people in ((True, n), (False, n - 1)):
            half = 1.959963984540054 * np.sqrt(rate / (people * follow_up))
            risks = 1.0 - np.exp(-(rate + half * np.asarray([-1, 0, 1])) * horizon)
            assert (np.abs(risks - risks[1]).max() <= 0.05) is np.bool_(enough)


def test_times_are_counted_by_patient_and_as_they_are() -> None:
    columns, y, group = patients()
    rng = np.random.default_rng(0)
    event = y == "yes"
    for time in (rng.exponential(2.0, N), rng.integers(1, 7, N)):
        told = pd.DataFrame({"time": time, "event": event.astype(int)})
        (size,) = af.look(pd.DataFrame(columns), told, group).sample_sizes
        ever = np.bincount(group, event) > 0
        longest = np.maximum(time[::2], time[1::2])
        assert (size.n_patients, size.n_events) == (N // 2, ever.sum())
        rate = ever.sum() / longest.sum()
        assert size.needed == needed_for_times(rate, longest.mean(), np.median(longest[ever]), 5)
        text = repr(af.look(pd.DataFrame(columns), told, group))
        assert (
            f"For the time to the event there are 60 patients, {ever.sum()} with the event" in text
        )
    gaps = pd.DataFrame({"time": [None, -1.0, *time[2:]], "event": [True, True, *event[2:]]})
    (size,) = af.look(pd.DataFrame(columns), gaps, group).sample_sizes
    assert size.n_patients == N // 2 - 1
    assert af.look(pd.DataFrame(columns), gaps.assign(event=False), group).sample_sizes == ()


def test_patients_are_counted_not_visits() -> None:
    columns, y, group = patients()
    (size,) = af.look(pd.DataFrame(columns), y, group).sample_sizes
    assert (size.n_patients, size.n_candidates) == (N // 2, 5)
    assert size.minimum == max(size.needed.values())
    assert size.per_candidate == size.n_events / 5
    for target in (columns["crp"] + 0.5, pd.DataFrame({"a": columns["crp"], "b": y})):
        found = af.look(pd.DataFrame(columns).drop(columns="crp"), target, group).sample_sizes
        assert [size.n_events is None for size in found] == [True, False][: len(found)]


# -- what is seen --------------------------------------------------------------------------


def test_an_overview_says_what_a_table_holds(df_module: ModuleType, tmp_path: Path) -> None:
    columns, y, group = patients()
    columns["esr"] = np.where(np.arange(N) % 4 == 0, np.nan, columns["crp"] * 0 + 20.5)
    columns["note"] = [f"Stiff for {i} minutes in the morning, better later." for i in range(N)]
    columns["note"][:40] = [None] * 40
    columns["ward_nr"] = [f"w{i}" for i in range(N)]
    overview = af.look(df_module.DataFrame(columns), y, group, verbose=0)
    facts = {facts.name: facts for facts in overview.columns}
    assert {name: f.taken_for for name, f in facts.items()} == {
        **{"age": "number", "sex": "category", "crp": "number", "city": "category"},
        **{"esr": "number", "note": "note", "ward_nr": "identifier"},
    }
    assert (facts["crp"].unit, facts["age"].unit, facts["sex"].unit) == ("mg/L", "years", "")
    assert (facts["esr"].missing, facts["esr"].remark) == (0.25, "constant")
    assert facts["crp"].median == np.median(columns["crp"])
    assert list(overview.modalities) == ["table", "note"]
    assert [subset.present for subset in overview.subsets] == [("table", "note"), ("table",)]
    assert sum(overview.classes.values()) == N
    (line,) = [line for line in overview.lines if line.column == "crp"]
    halves = [columns["crp"][y == label] for label in ("no", "yes")]
    assert [s.median for s in line.classes] == [np.median(half) for half in halves]
    pooled = np.sqrt(sum(half.var(ddof=1) for half in halves) / 2)
    assert line.difference == pytest.approx((halves[1].mean() - halves[0].mean()) / pooled)
    text = repr(overview)
    assert text.startswith(f"Look at {N} rows of {N // 2} patients, 7 columns")
    for title in ("Leak candidates", "Columns", "Modalities", "By class", "Sample size"):
        assert f"\n{title}\n" in text and f"<h2>{title}</h2>" in overview._repr_html_()
    assert overview.to_html(tmp_path / "o.html").read_text().startswith("<!DOCTYPE html>")
    assert overview.to_frame().loc["ward_nr", "suspect"] == overview.evidence("ward_nr") != ""
    assert overview.to_frame("suspects")["column"].tolist() == ["ward_nr"]
    assert set(overview.to_frame("classes")["class"]) == {"no", "yes"}
    assert overview.to_frame("modalities")["note"].tolist() == [True, False]
    assert overview.plot()[1].get_xlabel().startswith("rows")
    with pytest.raises(ConfigurationError, match="axes: expected 2 matplotlib Axes, got 1"):
        overview.plot(overview.plot()[:1])
    with pytest.raises(ConfigurationError, match="part: expected one of 'columns', 'suspects'"):
        overview.to_frame("rows")


def test_pandas_polars_and_shuffled_rows_say_the_same() -> None:
    columns, y, group = patients(1)
    told = repr(af.look(pd.DataFrame(columns), y, group))
    assert repr(af.look(pl.DataFrame(columns), pl.Series(y), pl.Series(group))) == told
    order = np.random.default_rng(0).permutation(N)
    shuffled = pd.DataFrame(columns).iloc[order].reset_index(drop=True)
    assert repr(af.look(shuffled, y[order], group[order])) == told


@pytest.mark.parametrize("kind", ["none", "numbers", "several", "survival", "packed", "missing"])
def test_every_target_is_looked_at(kind: str) -> None:
    columns, y, group = patients()
    rng = np.random.default_rng(0)
    event, time = y == "yes", rng.exponential(2.0, N)
    targets = {
        "none": None,
        "numbers": pd.Series(time, name="progress"),
        "several": np.stack([time, time**2 + rng.normal(size=N)], axis=1),
        "survival": pd.DataFrame({"event": event, "time": time}),
        "packed": np.array(list(zip(event, time, strict=True)), dtype=[("e", bool), ("t", float)]),
        "missing": pd.Series(np.where(np.arange(N) % 3 == 0, None, y), name="flare"),
    }
    overview = af.look(pd.DataFrame(columns), targets[kind], group)
    counted = {"none": 0, "several": 2}.get(kind, 1)
    assert len(overview.sample_sizes) == counted
    two = kind in ("survival", "packed", "missing")
    assert len(overview.classes) == (2 if two else 1)
    assert overview.suspects == ()
    assert overview._repr_html_() and repr(overview)


def test_an_array_is_looked_at_and_fitted_as_it_is() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    y = (X[:, 0] + rng.normal(size=N) > 0).astype(int)
    with_copy = np.column_stack([X, y])
    assert [s.column for s in af.look(with_copy, y).suspects] == ["x3"]
    assert list(af.infer_encoders(with_copy, y)) == ["table"]


def test_films_and_notes_that_patients_share_are_told() -> None:
    columns, y, group = patients()
    note = [f"Pain number {i} in the back since {i} weeks, worse at night and rest." for i in group]
    note[0], note[1] = note[10], note[10]
    X = pd.DataFrame(columns | {"note": note})
    told = af.look(X, y, group, verbose=0).to_frame("suspects")
    assert told[told["kind"] == "duplicates"]["evidence"].tolist() == [
        "fewer than 10 pairs of patients share a content"
    ]
    assert af.look(X, y, group, duplicates=False).duplicates is None


def test_dates_after_the_index_date_are_told() -> None:
    columns, y, group = patients()
    day = pd.Timestamp("2022-05-01")
    columns["called"] = day + pd.to_timedelta(np.arange(N), unit="D")
    columns["born"] = day - pd.to_timedelta(np.arange(N) + 9000, unit="D")
    X = pd.DataFrame(columns)
    for index in ("2022-05-01", pd.Series([day] * N)):
        (suspect,) = af.look(X, y, group, index_date=index).suspects
        assert (suspect.column, suspect.kind) == ("called", "after_index")
    X["seen"] = day
    assert [s.column for s in af.look(X, y, group, index_date="seen").suspects] == ["called"]


def test_notes_that_name_a_later_day_are_told() -> None:
    columns, y, group = patients()
    day = pd.Timestamp("2022-05-01")
    ahead = [(day + pd.Timedelta(days=int(i) - 60)).date() for i in range(N)]
    columns["note"] = [f"Seen on {d}, pain in the back, number {i}." for i, d in enumerate(ahead)]
    columns["early"] = [f"First seen in 2019, pain in the heel, number {i}." for i in range(N)]
    X, options = pd.DataFrame(columns), {"index_date": "2022-05-01", "duplicates": False}
    (suspect,) = af.look(X, y, group, **options).suspects
    assert (suspect.column, suspect.kind) == ("note", "after_index")
    assert suspect.evidence == "49 % of its notes name a day after the index date"


def test_pictures_and_visits_in_cells_are_looked_at(df_module: ModuleType) -> None:
    columns, y, group = patients()
    rng = np.random.default_rng(0)
    visits = [[{"day": -30.0, "crp": float(c)}, {"day": 0.0, "crp": 1.0}] for c in columns["crp"]]
    X = df_module.DataFrame(columns | {"visits": visits})
    overview = af.look(X, y, group, verbose=0)
    assert list(overview.modalities) == ["table", "visits"]
    if df_module is pd:
        X["film"] = [rng.integers(0, 255, (4, 4)).astype(np.uint8) for _ in range(N)]
        overview = af.look(X, y, group, duplicates=False)
        assert list(overview.modalities) == ["table", "visits", "film"]
    assert overview.suspects == () and repr(overview)


def test_a_note_that_names_the_target_is_told_and_one_that_always_does_is_not() -> None:
    columns, y, group = patients()
    said = np.where(y == "yes", "Flare for a week, raised the dose.", "Quiet, same dose as ever.")
    columns["note"] = [f"{text} Seen by {i}." for i, text in enumerate(said)]
    columns["letter"] = [f"Is this a flare? Please see patient {i} soon." for i in range(N)]
    named = pd.Series(y, name="label_flare")
    found = af.look(pd.DataFrame(columns), named, group, verbose=0, duplicates=False).suspects
    assert [(s.column, s.kind) for s in found] == [("note", "note_tells")]


# -- what is hidden ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_few_patients_are_not_told_on(seed: int) -> None:
    columns, y, group = patients(seed)
    rng = np.random.default_rng(seed)
    columns["rare"] = np.where(np.arange(N) < 7, "Huntington", rng.choice(["c", "d"], N))
    columns["lab"] = np.where(np.arange(N) < 9, 987_654.5, np.nan)
    columns["alone"] = np.where(group < 9, 123_456.5 + np.arange(N), np.nan)
    columns["note"] = [None] * (N - 5) + ["A secret word stands in this very note."] * 5
    overview = af.look(pd.DataFrame(columns), y, group, verbose=0)
    frames = [overview.to_frame(part) for part in ("columns", "suspects", "classes", "modalities")]
    told = repr(overview) + overview._repr_html_() + "".join(f.to_string() for f in frames)
    for secret in ("Huntington", "987654", "98765", "123456", "12346", "secret"):
        assert secret not in told
    counts = overview.to_frame("classes")["count"].dropna()
    assert (counts >= 10).all()
    for subset in overview.subsets:
        assert all(count is None or count >= 10 for count in subset.counts)
    for name in overview.classes:
        lines = overview.to_frame("classes")
        shown = lines[(lines["class"] == name) & (lines["level"] != "")]
        hidden = shown.groupby("column")["count"].apply(lambda c: int(c.isna().sum()))
        assert (hidden != 1).all()  # one alone would follow from the others


# -- auto ----------------------------------------------------------------------------------


def traps(seed: int = 0) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    columns, y, group = patients(seed)
    traps = {"flare_score": y == "yes", "drug": np.where(y == "yes", "a", "b"), "chart": group}
    traps["link"] = [f"https://example.org/{i % 7}" for i in range(N)]
    return pd.DataFrame(columns | traps), pd.Series(y, name="label_flare"), group


WARNING = (
    r"encoders='auto' leaves out .*'chart' \(it has one value for each of 60 patients, .*"
    r"'link' \(.*"
    r"'flare_score' \(it is named after the target 'label_flare'\).*'drug' \(alone it tells "
    r"'label_flare'.*name it in an encoder, for example .*TabularEncoder\(\['chart', ...\]\)"
)


@pytest.mark.parametrize("family", ["early", "joint", "late"])
def test_estimators_leave_out_what_look_finds(family: str) -> None:
    X, y, group = traps()
    training = {"max_epochs": 1} if family == "joint" else {}
    cls = {
        "early": af.EarlyFusionClassifier,
        "joint": af.JointFusionClassifier,
        "late": af.LateFusionClassifier,
    }[family]
    model = cls(verbose=0, random_state=0, **training)
    with pytest.warns(AsfusionWarning, match=WARNING) as told:
        model.fit(X, y, groups=group)
    assert len(told) == 1
    (encoder,) = model._modality_encoders().values()
    assert list(encoder.columns_) == ["age", "sex", "crp", "city"]
    named = cls({"t": af.TabularEncoder(["drug"])}, verbose=0, random_state=0, **training)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AsfusionWarning)
        named.fit(X, y, groups=group)


def test_a_name_that_y_inherits_from_a_column_says_nothing() -> None:
    columns, _, group = patients()
    X = pd.DataFrame(columns).assign(crp_before=columns["crp"], crp_ratio=columns["age"] / 3)
    computed = X["crp"] + np.random.default_rng(0).normal(0, 6, N) > 12
    assert af.look(X, computed, group).suspects == ()
    table = X.assign(icu=computed, icu_days=columns["age"] * 2)
    found = af.look(table, table["icu"], group).suspects
    assert {(s.column, s.kind) for s in found} == {
        ("icu", "sibling"),
        ("icu", "determines"),
        ("icu_days", "sibling"),
    }


def test_inner_folds_leave_out_what_the_whole_table_does() -> None:
    """Of 24 patients a fold has too few to judge by."""
    columns, y, _ = patients(n=24)
    X = pd.DataFrame(columns | {"drug": np.where(y == "yes", "a", "b")})
    options = {"threshold": "youden", "max_epochs": 2, "verbose": 0, "random_state": 0}
    model = af.JointFusionClassifier(**options)
    with pytest.warns(AsfusionWarning, match="'drug' .alone it tells the target"):
        model.fit(X, y)
    honest = af.JointFusionClassifier({"table": af.TabularEncoder(list(columns))}, **options)
    assert model.threshold_ == honest.fit(X, y).threshold_


def test_infer_encoders_judges_where_it_is_told_the_target(df_module: ModuleType) -> None:
    X, y, group = traps()
    table = df_module.DataFrame(X.to_dict("list"))
    assert set(af.infer_encoders(table)["table"].columns) == set(X.columns)
    with pytest.warns(AsfusionWarning, match=WARNING):
        encoders = af.infer_encoders(table, y, group)
    assert encoders["table"].columns == ["age", "sex", "crp", "city"]
    leaks = table[["drug", "chart"]]
    with pytest.raises(InputError, match=r"at least one column to learn from that does not give"):
        af.infer_encoders(leaks, y, group)


def test_compare_and_folds_keep_the_name_of_the_target() -> None:
    X, y, group = traps()
    X["note"] = [f"Pain number {i} in the back since {i} weeks." for i in range(N)]
    with pytest.warns(AsfusionWarning, match="'flare_score' .it is named after the target"):
        af.compare(X, y, groups=group, families=["late"], cv=2, n_bootstrap=20, verbose=0)
    model = af.EarlyFusionClassifier(verbose=0, random_state=0)
    with pytest.warns(AsfusionWarning, match="'flare_score' .it is named after the target"):
        found = af.cross_validate(model, X, y, groups=group, cv=2, n_bootstrap=20, verbose=0)
    assert found.report.scores["auc"].estimate < 0.95


def test_a_text_id_is_left_out_rather_than_advised_on(capsys: pytest.CaptureFixture[str]) -> None:
    columns, y, group = patients()
    X = pd.DataFrame(columns | {"code": [str(70_000 + g) for g in group]})
    with pytest.warns(AsfusionWarning, match="'code' .it has one value for each of 60 patients"):
        af.EarlyFusionClassifier(random_state=0).fit(X, y, groups=group)
    told = capsys.readouterr().out
    assert "to_numeric" not in told
    assert "'code' (they may give the target away: see the warning)" in told


def test_columns_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a column is taken for is handed on: to find out reads every cell."""
    asked = []
    roles = infer._plain_roles
    monkeypatch.setattr(infer, "_plain_roles", lambda frame: asked.append(1) or roles(frame))
    X, y, group = traps()
    X["note"] = [f"Pain number {i} in the back since {i} weeks, worse at night." for i in range(N)]
    overview = af.look(X, y, group, verbose=0)
    assert len(asked) == 1
    assert overview.duplicates is not None and "note" in overview.modalities
    with pytest.warns(AsfusionWarning):
        af.EarlyFusionClassifier(verbose=1).fit(X.drop(columns="note"), y, groups=group)
    assert len(asked) == 2


def test_names_of_event_and_time_find_their_relatives() -> None:
    columns, y, group = patients()
    time = np.random.default_rng(0).exponential(2.0, N)
    own = np.array(list(zip(y == "yes", time, strict=True)), dtype=[("icu", bool), ("days", float)])
    X = pd.DataFrame(columns).assign(icu_stay=np.random.default_rng(1).integers(0, 2, N))
    assert [s.column for s in af.look(X, own, group).suspects] == ["icu_stay"]
    with pytest.warns(AsfusionWarning, match="'icu_stay' .it is named after the target 'icu'"):
        af.EarlyFusionSurvival(verbose=0).fit(X, own, groups=group)
    plain = pd.DataFrame({"time": time, "event": y == "yes"})  # in another order than ours
    X = X.drop(columns="icu_stay").assign(seen=np.where(y == "yes", "a", "b"))
    with pytest.warns(AsfusionWarning, match="'seen' .alone it tells 'event'"):
        af.EarlyFusionSurvival(verbose=0).fit(X, plain, groups=group)


# -- the command line ----------------------------------------------------------------------


def test_look_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y, group = traps()
    day = pd.Timestamp("2022-05-01")
    X["called"] = [str((day + pd.Timedelta(days=i)).date()) for i in range(N)]
    table = X.assign(label_flare=y, patient=group)
    table.loc[3, "label_flare"] = None
    table.to_csv("p.csv", index=False)
    look = ["look", "p.csv", "--target", "label_flare", "--group", "patient"]
    assert main([*look, "--index-date", "2022-05-01", "--out", "pages/o.html"]) == 0
    told = capsys.readouterr().out
    for column in ("chart", "link", "drug", "flare_score", "called"):
        assert re.search(
            rf"^{column} +(identifier|provenance|determines|sibling|later) ", told, re.M
        )
    assert Path("pages/o.html").read_text().count("drug")
    assert main([*look, "--index-date", "seen"]) == 1
    assert "index_date: expected the column 'seen'" in capsys.readouterr().err
    table.drop(index=3).to_csv("p.csv", index=False)
    fit = ["fit", "p.csv", "--target", "label_flare", "--group", "patient"]
    with pytest.warns(AsfusionWarning, match="'flare_score' .it is named after the target"):
        assert main(fit) == 0


# -- real tables ---------------------------------------------------------------------------

LEAKS = {"label_covid", "label_intubated", "label_died", "finding"}
LEAKS |= {"doi", "license", "url", "source_domain", "notes"}
KEPT = {"age", "sex", "view", "temperature", "pO2_saturation", "neutrophil_count"}
KEPT |= {"lymphocyte_count", "offset", "is_frontal"}


def test_the_exported_chest_table(shared_data: Path) -> None:
    cohort = pd.read_csv(shared_data / "cxr" / "cohort.csv")
    cohort = cohort[cohort["label_icu"].notna()].reset_index(drop=True)
    X, y, group = cohort.drop(columns=["label_icu", "group"]), cohort["label_icu"], cohort["group"]
    overview = af.look(X, y, group, duplicates=False)
    assert {s.column for s in overview.suspects} == LEAKS
    with pytest.warns(AsfusionWarning):
        encoders = af.infer_encoders(X, y, group)
    assert list(encoders) == ["table", "image", "notes_masked"]
    assert set(encoders["table"].columns) >= KEPT
    assert not set(encoders["table"].columns) & LEAKS


@pytest.mark.parametrize(
    ("name", "quantity"),
    [("CRP (mg/L)", "crp"), ("leukocyte_count", "white_cells"), ("Hb", "haemoglobin"),
     ("hip_height", None), ("crp_text", None), ("weight_kg", "weight"), ("length", None)],
)  # fmt: skip
def test_units_are_those_of_the_name(name: str, quantity: str | None) -> None:
    assert quantity_of(name) == quantity


def test_numbers_of_another_unit_are_told() -> None:
    columns, y, group = patients()
    columns["crp"] = columns["crp"] / 10
    facts = {f.name: f for f in af.look(pd.DataFrame(columns), y, group).columns}
    assert facts["crp"].remark == "not like mg/L: check its unit"


def test_what_cannot_be_looked_at_is_refused() -> None:
    columns, y, group = patients()
    with pytest.raises(InputError, match="y: expected 120 entries, one per row of X, got 119"):
        af.look(pd.DataFrame(columns), y[1:])
    with pytest.raises(InputError, match="groups: expected 120 entries"):
        af.look(pd.DataFrame(columns), y, group[1:])
    with pytest.raises(InputError, match=r"X: expected at least 1 row and 1 column, got shape=\(0"):
        af.look(pd.DataFrame())
    with pytest.raises(ConfigurationError, match="encoders: expected 'auto' or a dict of name"):
        af.look(pd.DataFrame(columns), y, encoders="all")


def test_a_wide_table_that_a_site_parts_is_told():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 60)), columns=[f"gene_{i}" for i in range(60)])
    site = np.repeat(["north", "south", "east"], 20)
    parted = X + 3.0 * (site == "south")[:, None]
    told = {
        name: af.look(table.assign(**{column: site}), verbose=0).advice
        for name, table, column in (
            ("parted", parted, "study_site"),
            ("alike", X, "site"),
            ("no site", parted, "opposite"),
            ("narrow", parted[["gene_0", "gene_1"]], "site"),
        )
    }
    assert [name for name, advice in told.items() if advice] == ["parted"]
    assert "'study_site' parts the 60 numbers" in told["parted"][0]
    few = np.where(np.arange(60) < 5, "north", "south")
    assert not af.look((X + 9.0 * (few == "north")[:, None]).assign(site=few), verbose=0).advice
    assert "rank_within_row" in af.look(parted.assign(site=site), verbose=0).verdict
