"""Figures of binary tests: real tables are believed, impossible ones are not."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.clinical.coherence import (
    binary_test,
    check_metric_coherence,
    cohen_kappa,
    f1,
    net_benefit,
    net_benefit_treat_all,
    wilson_ci,
)
from asfusion.exceptions import ConfigurationError

FIGURES = ("sensitivity", "specificity", "accuracy", "ppv", "npv", "f1", "prevalence")
Table = tuple[int, int, int, int]


def exact_figures(table: Table) -> dict[str, Fraction]:
    """Return the figures that a table defines."""
    tp, fp, fn, tn = table
    ratios = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "prevalence": (tp + fn, tp + fp + fn + tn),
    }
    return {name: Fraction(*ratio) for name, ratio in ratios.items() if ratio[1]}


def printed(table: Table, names: Any, decimals: int) -> dict[str, float]:
    exact = exact_figures(table)
    return {name: float(round(exact[name], decimals)) for name in names if name in exact}


def all_tables(n: int) -> list[Table]:
    cells = itertools.product(range(n + 1), repeat=3)
    return [(a, b, c, n - a - b - c) for a, b, c in cells if a + b + c <= n]


def fits(table: Table, figures: dict[str, float], decimals: int) -> bool:
    """Return whether a table rounds to the figures, by definition and not by algebra."""
    exact, half = exact_figures(table), Fraction(1, 2 * 10**decimals)
    return all(
        name in exact and abs(exact[name] - Fraction(str(value))) <= half
        for name, value in figures.items()
    )


cells = st.integers(0, 400)
tables = st.tuples(cells, cells, cells, cells).filter(lambda t: sum(t) > 0)
subsets = st.lists(st.sampled_from(FIGURES), min_size=1, max_size=7, unique=True)


# --- published lines ------------------------------------------------------------------


def test_accuracy_outside_sensitivity_and_specificity() -> None:
    found = check_metric_coherence(sensitivity=1.0, specificity=0.956, accuracy=0.847)
    assert not found.coherent
    assert found.implied == {}
    assert found.reasons[0] == (
        "No table of counts, of any size, gives sensitivity 1, specificity 0.956 and "
        "accuracy 0.847."
    )
    assert "allow accuracy 0.9555 to 1, got 0.847" in found.reasons[-1]


def test_predictive_values_that_belong_to_another_prevalence() -> None:
    line = {"sensitivity": 0.69, "specificity": 0.904, "prevalence": 0.01}
    found = check_metric_coherence(**line, ppv=0.746, npv=0.879, accuracy=0.902)
    assert not found.coherent
    alone = check_metric_coherence(**line)
    low, high = alone.implied["ppv"]
    assert alone.coherent
    assert low <= 0.0677 <= high < 0.15
    other = check_metric_coherence(sensitivity=0.69, specificity=0.904, ppv=0.746)
    low, high = other.implied["prevalence"]
    assert other.coherent
    assert 0.28 < low < high < 0.30


def test_test_set_of_ten_is_one_table() -> None:
    found = check_metric_coherence(sensitivity=1.0, specificity=0.667, accuracy=0.8, n=10)
    assert found.tables == ((4, 2, 0, 4),)
    assert found.n_tables == 1
    assert found.implied["prevalence"] == (0.4, 0.4)


# --- real tables are believed ---------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(tables, subsets, st.integers(2, 5))
def test_figures_of_a_table_are_coherent(table: Table, names: list[str], decimals: int) -> None:
    figures = printed(table, names, decimals)
    if not figures:
        return
    found = check_metric_coherence(**figures, decimals=decimals)
    assert found.coherent, found.reasons
    exact = exact_figures(table)
    for name, (low, high) in found.implied.items():
        assert name not in exact or low - 1e-9 <= exact[name] <= high + 1e-9
    # Without the decimals said, as much is taken as the figures show.
    assert check_metric_coherence(**figures).coherent


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any), subsets, st.integers(2, 4), st.booleans())
def test_figures_of_a_table_are_coherent_with_n(
    table: Table, names: list[str], decimals: int, tell_positives: bool
) -> None:
    figures = printed(table, names, decimals)
    if not figures:
        return
    positives = table[0] + table[2] if tell_positives else None
    found = check_metric_coherence(**figures, n=sum(table), n_positive=positives, decimals=decimals)
    assert found.coherent, found.reasons
    assert found.n_tables is not None
    assert len(found.tables) == min(found.n_tables, 1000)
    if found.n_tables <= 1000:
        assert table in found.tables
    assert all(fits(t, figures, decimals) for t in found.tables[:20])


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(0, 10**6)] * 4).filter(any))
def test_unrounded_figures_are_coherent(table: Table) -> None:
    exact = {name: float(value) for name, value in exact_figures(table).items()}
    assert check_metric_coherence(**exact, decimals=16).coherent
    positives = table[0] + table[2]
    found = check_metric_coherence(**exact, n=sum(table), n_positive=positives, decimals=16)
    assert found.coherent
    assert table in found.tables


# --- impossible ones are not ----------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), subsets, st.data())
def test_verdict_with_n_is_that_of_trying_every_table(
    n: int, names: list[str], data: st.DataObject
) -> None:
    figures = {name: data.draw(st.integers(0, 100), name) / 100 for name in names}
    found = check_metric_coherence(**figures, n=n, decimals=2)
    expected = {table for table in all_tables(n) if fits(table, figures, 2)}
    assert set(found.tables) == expected
    assert found.coherent == bool(expected)
    assert bool(found.reasons) != found.coherent
    if found.coherent:
        values = [exact_figures(table) for table in expected]
        for name, (low, high) in found.implied.items():
            known = [float(v[name]) for v in values if name in v]
            assert (low, high) == pytest.approx((min(known), max(known)))
        # Tables of any size include those of n.
        assert check_metric_coherence(**figures, decimals=2).coherent


@settings(deadline=None, max_examples=80)
@given(tables, st.integers(2, 4), st.sampled_from([-1, 1]), st.floats(2.5, 50))
def test_accuracy_moved_off_its_mean_is_refused(
    table: Table, decimals: int, sign: int, steps: float
) -> None:
    """Sensitivity, specificity and prevalence leave accuracy one value, up to rounding."""
    names = ("sensitivity", "specificity", "accuracy", "prevalence")
    figures = printed(table, names, decimals)
    if len(figures) < 4:
        return
    # Rounding of the three moves their mean by up to 1.5 steps, that of accuracy by 0.5.
    moved = round(figures["accuracy"] + sign * steps / 10**decimals, decimals)
    figures["accuracy"] = moved
    if not 0.0 <= moved <= 1.0:
        return
    found = check_metric_coherence(**figures, decimals=decimals)
    assert not found.coherent
    assert "accuracy" in found.reasons[0]


@settings(deadline=None, max_examples=80)
@given(st.integers(10, 99), st.integers(10, 99), st.integers(-9, 9).filter(lambda k: abs(k) > 1))
def test_f1_is_the_harmonic_mean(ppv: int, sensitivity: int, steps: int) -> None:
    middle = round(f1(ppv / 100, sensitivity / 100), 2)
    figures = {"ppv": ppv / 100, "sensitivity": sensitivity / 100, "decimals": 2}
    assert check_metric_coherence(**figures, f1=middle).coherent
    moved = round(middle + steps / 100, 2)
    if 0 <= moved <= 1:
        # F1 changes by at most two steps for one of each, so that only more is provable.
        low, high = check_metric_coherence(**figures).implied["f1"]
        possible = low - 0.005 <= moved <= high + 0.005
        assert check_metric_coherence(**figures, f1=moved).coherent == possible


def test_perfect_sensitivity_means_perfect_npv() -> None:
    found = check_metric_coherence(
        sensitivity=1.0, npv=0.8, specificity=0.5, prevalence=0.3, decimals=4
    )
    assert not found.coherent
    assert set(found.reasons[0].split()) >= {"sensitivity", "npv"}


def test_sensitivity_must_be_a_count_of_the_positives() -> None:
    assert check_metric_coherence(sensitivity=0.857, n_positive=7).coherent
    found = check_metric_coherence(sensitivity=0.9, n_positive=7)
    assert not found.coherent
    assert found.reasons == ("No count of 7 positive rows gives sensitivity 0.9.",)
    # One of two is no share of seven, although some of the seven are two.
    assert not check_metric_coherence(sensitivity=0.5, n_positive=7).coherent


def test_figures_of_another_n_are_refused() -> None:
    found = check_metric_coherence(accuracy=0.847, n=10)
    assert (found.coherent, found.n_tables) == (False, 0)
    assert found.reasons == (
        "No table of 10 rows gives accuracy 0.847, although tables of other sizes do.",
    )
    found = check_metric_coherence(sensitivity=0.75, specificity=0.5, n=12, n_positive=6)
    (reason,) = found.reasons
    assert reason.startswith("No table of 12 rows, 6 of them positive, gives sensitivity 0.75,")


def test_reasons_name_no_figure_that_can_be_spared() -> None:
    given = {"sensitivity": 1.0, "specificity": 0.956, "accuracy": 0.847, "f1": 0.7, "npv": 1.0}
    reasons = check_metric_coherence(**given).reasons
    named = {name: value for name, value in given.items() if name in reasons[0]}
    assert list(named) == ["specificity", "accuracy", "npv"]
    assert not check_metric_coherence(**named).coherent
    for spared in named:
        rest = {name: value for name, value in named.items() if name != spared}
        assert check_metric_coherence(**rest, decimals=3).coherent


# --- counts ---------------------------------------------------------------------------


def counted(table: Table, names: Any = ("tp", "fp", "fn", "tn")) -> dict[str, int]:
    pairs = zip(("tp", "fp", "fn", "tn"), table, strict=True)
    return {name: count for name, count in pairs if name in names}


def test_counts_of_a_published_table() -> None:
    """Four of four, and four of six, as a paper prints them beside its shares."""
    table = {"tp": 4, "fp": 2, "fn": 0, "tn": 4}
    found = check_metric_coherence(**table, sensitivity=1.0, specificity=0.667, accuracy=0.8)
    assert (found.coherent, found.n_tables, found.tables) == (True, 1, ((4, 2, 0, 4),))
    assert found.implied["ppv"] == (4 / 6, 4 / 6)
    wrong = check_metric_coherence(**table, sensitivity=1.0, specificity=0.667, accuracy=0.9)
    assert not wrong.coherent
    assert wrong.reasons[-1] == "tp 4, fp 2 and tn 4 allow accuracy 0 to 0.8, got 0.9."
    assert wrong.implied == {} and wrong.tables == ()
    assert check_metric_coherence(**table).implied["sensitivity"] == (1.0, 1.0)


def test_counts_that_are_not_those_of_the_rows() -> None:
    table = {"tp": 40, "fp": 10, "fn": 5, "tn": 45}
    (reason,) = check_metric_coherence(**table, n=110).reasons
    assert reason.startswith("No table of 110 rows gives tp 40, fp 10, fn 5 and tn 45, although")
    assert not check_metric_coherence(**table, n_positive=50).coherent
    assert check_metric_coherence(**table, n=100, n_positive=45, prevalence=0.45).coherent
    (reason,) = check_metric_coherence(tp=12, n_positive=10).reasons
    assert reason == "No count of 10 positive rows gives tp 12."
    (reason,) = check_metric_coherence(tp=7, fn=2, n_positive=10).reasons
    assert reason == "No count of 10 positive rows gives tp 7 and fn 2."


def test_two_counts_are_the_share_that_they_make() -> None:
    found = check_metric_coherence(tp=30, fn=10, sensitivity=0.8)
    assert found.reasons == (
        "No table of counts, of any size, gives sensitivity 0.8, tp 30 and fn 10.",
        "tp 30 and fn 10 allow sensitivity 0.75 to 0.75, got 0.8.",
    )
    low, high = check_metric_coherence(tp=30, fn=10, specificity=0.9, accuracy=0.88).implied["ppv"]
    from_shares = check_metric_coherence(
        sensitivity=0.75, specificity=0.9, accuracy=0.88, decimals={"sensitivity": 9}
    )
    assert (low, high) == pytest.approx(from_shares.implied["ppv"], abs=1e-6)
    assert not check_metric_coherence(fp=0, ppv=0.9).coherent
    assert not check_metric_coherence(fp=1, ppv=1.0, decimals=9, n=10**6, n_positive=10).coherent
    assert check_metric_coherence(tp=1, ppv=0.5).coherent
    assert not check_metric_coherence(tp=0, ppv=0.5).coherent


@settings(deadline=None, max_examples=100)
@given(tables, subsets, st.integers(2, 4), st.sampled_from([-0.01, -0.001, 0.0, 0.001, 0.01]))
def test_all_counts_decide_what_their_figures_are(
    table: Table, names: list[str], decimals: int, off: float
) -> None:
    figures = printed(table, names, decimals)
    if figures:
        name = names[0] if names[0] in figures else next(iter(figures))
        figures[name] = round(min(max(figures[name] + off, 0.0), 1.0), decimals)
    found = check_metric_coherence(**counted(table), **figures, decimals=decimals)
    assert found.coherent == fits(table, figures, decimals)
    assert found.tables == ((table,) if found.coherent else ())
    assert bool(found.reasons) != found.coherent


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(0, 8)] * 4).filter(any),
    subsets,
    st.lists(st.sampled_from(["tp", "fp", "fn", "tn"]), min_size=1, max_size=3, unique=True),
)
def test_some_counts_leave_the_tables_that_have_them(
    table: Table, names: list[str], cells: list[str]
) -> None:
    figures, n = printed(table, names, 2), sum(table)
    counts = counted(table, cells)
    found = check_metric_coherence(**figures, **counts, n=n)
    expected = [
        other
        for other in all_tables(n)
        if counted(other, cells) == counts and fits(other, figures, 2)
    ]
    assert found.coherent and sorted(found.tables) == sorted(expected)
    assert check_metric_coherence(**figures, **counts).coherent


# --- decimals and sizes ---------------------------------------------------------------


def test_decimals_say_how_far_a_figure_may_move() -> None:
    line: dict[str, Any] = {"sensitivity": 0.9, "specificity": 0.8, "accuracy": 0.93}
    assert not check_metric_coherence(**line).coherent
    assert check_metric_coherence(**line, decimals=1).coherent
    assert check_metric_coherence(**line, decimals={"sensitivity": 1}).coherent
    whole = {"sensitivity": 1.0, "specificity": 0.0, "accuracy": 1.0}
    assert check_metric_coherence(**whole, decimals=0).coherent
    assert check_metric_coherence(**whole, decimals=dict.fromkeys(whole, 0)).coherent


def test_prevalence_has_decimals_of_its_own() -> None:
    """It often stands in another table, and says nothing of how the figures were rounded."""
    figures = {"sensitivity": 0.88, "specificity": 0.64, "accuracy": 0.74}  # 7/8, 7/11, 14/19
    assert check_metric_coherence(**figures, prevalence=0.4211).coherent
    found = check_metric_coherence(**figures, prevalence=0.4211, decimals=4)
    assert "accuracy 0.74" in found.reasons[0]


def test_many_rows_are_judged_by_shares_in_time() -> None:
    found = check_metric_coherence(sensitivity=0.88, specificity=0.71, accuracy=0.75, n=10**7)
    assert (found.coherent, found.n_tables, found.tables) == (True, None, ())
    low, high = found.implied["prevalence"]
    assert 0.17 < low < high < 0.30
    assert not check_metric_coherence(
        ppv=0.9, n=10**7, accuracy=0.2, prevalence=0.9, npv=0.9
    ).coherent


def test_tables_found_in_many_blocks_are_those_found_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {"sensitivity": 0.8, "specificity": 0.7, "n": 600}
    at_once = check_metric_coherence(**figures)
    monkeypatch.setattr("asfusion.clinical._confusion_tables._N_PAIRS_AT_ONCE", 50)
    assert check_metric_coherence(**figures) == at_once
    assert at_once.n_tables is not None
    assert at_once.n_tables > 1000 == len(at_once.tables)


def test_up_to_a_limit_tables_are_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asfusion.clinical._confusion_tables._N_ROWS_AT_MOST", 40)
    found = [check_metric_coherence(accuracy=0.75, n=n).n_tables for n in (40, 41)]
    assert found[0] is not None and found[1] is None


def test_thousands_of_rows_are_gone_through() -> None:
    table = (1200, 300, 200, 4300)
    figures = printed(table, FIGURES, 3)
    found = check_metric_coherence(**figures, n=6000)
    assert found.n_tables is not None
    assert 1 <= found.n_tables < 2000
    assert all(fits(t, figures, 3) for t in found.tables[:50])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "expected at least one of 'sensitivity', .*, 'f1', 'prevalence', .*, got none"),
        ({"tp": -1}, "tp: expected an integer of at least 0"),
        ({"fn": 1.5}, "fn: expected an integer of at least 0"),
        ({"tp": 0, "fp": 0, "fn": 0, "tn": 0}, "Counts: expected at least one row, got none"),
        ({"accuracy": 84.7}, r"accuracy: expected a number in \[0, 1\]"),
        ({"ppv": math.nan}, "ppv: expected a number"),
        ({"accuracy": 0.8, "n": 0}, "n: expected an integer of at least 1"),
        ({"accuracy": 0.8, "n_positive": -1}, "n_positive: expected an integer"),
        ({"accuracy": 0.8, "n": 10, "n_positive": 11}, "n_positive: expected at most n=10"),
        ({"accuracy": 0.8, "decimals": -1}, "decimals: expected an integer"),
        ({"accuracy": 0.8, "decimals": {"auc": 2}}, "decimals: expected one of"),
        ({"accuracy": 0.8, "decimals": {"ppv": -1}}, r"decimals\['ppv'\]: expected an integer"),
    ],
)
def test_unusable_arguments(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        check_metric_coherence(**arguments)


# --- the figures themselves -----------------------------------------------------------


def test_binary_test_at_a_prior() -> None:
    test = binary_test(sensitivity=0.8233, specificity=0.9152, prevalence=0.1)
    assert test.auc == pytest.approx(0.8693, abs=5e-4)
    assert test.ppv == pytest.approx(0.5189, abs=5e-4)
    assert test.npv == pytest.approx(0.979, abs=5e-4)


@settings(deadline=None)
@given(tables)
def test_binary_test_is_that_of_the_table(table: Table) -> None:
    exact = {name: float(value) for name, value in exact_figures(table).items()}
    if len(exact) < len(FIGURES):
        return
    test = binary_test(exact["sensitivity"], exact["specificity"], exact["prevalence"])
    assert (test.ppv, test.npv, test.accuracy) == pytest.approx(
        (exact["ppv"], exact["npv"], exact["accuracy"])
    )
    if table[1]:
        odds_before, odds_after = (p / (1 - p) for p in (exact["prevalence"], exact["ppv"]))
        assert odds_before * test.lr_positive == pytest.approx(odds_after)


def test_binary_test_where_nothing_is_called() -> None:
    never = binary_test(0.0, 1.0, 0.2)
    assert math.isnan(never.ppv) and math.isnan(never.lr_positive)
    assert binary_test(0.5, 1.0, 0.2).lr_positive == math.inf
    with pytest.raises(ConfigurationError, match="prevalence: expected a number in"):
        binary_test(0.5, 0.5, 10)


def test_wilson_interval_of_six() -> None:
    assert wilson_ci(4, 6) == pytest.approx((0.3, 0.9032), abs=1e-3)
    assert wilson_ci(4, 4)[1] == 1.0
    assert wilson_ci(0, 4)[0] == 0.0


@settings(deadline=None)
@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_wilson_interval_solves_its_equation(n: int, data: st.DataObject, level: float) -> None:
    """Its ends are the shares at which the observed one is just at the critical value."""
    k = data.draw(st.integers(0, n))
    low, high = wilson_ci(k, n, confidence=level)
    assert 0.0 <= low <= k / n <= high <= 1.0
    mirrored = wilson_ci(n - k, n, confidence=level)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    scores = [abs(k / n - p) / math.sqrt(p * (1 - p) / n) for p in (low, high) if 0 < p < 1]
    assert len(scores) == (1 if k in (0, n) else 2)
    assert scores == pytest.approx([NormalDist().inv_cdf(0.5 + level / 2)] * len(scores), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"k": 7, "n": 6}, "k: expected at most n=6"),
        ({"k": 1, "n": 0}, "n: expected an integer of at least 1"),
        ({"k": -1, "n": 6}, "k: expected an integer of at least 0"),
        ({"k": 1, "n": 6, "confidence": 95}, r"confidence: expected a number in \(0, 1\)"),
    ],
)
def test_wilson_arguments(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        wilson_ci(**arguments)


def test_f1_of_a_published_line() -> None:
    assert f1(precision=0.9, recall=0.89) == pytest.approx(0.894972, abs=1e-6)
    assert f1(0.0, 0.0) == 0.0
    with pytest.raises(ConfigurationError, match="recall: expected a number"):
        f1(0.5, 1.5)


def test_net_benefit() -> None:
    assert net_benefit(80, 30, 400, 0.2) == pytest.approx(0.18125, abs=1e-12)
    assert net_benefit_treat_all(0.3, 0.2) == pytest.approx(0.125, abs=1e-12)
    # Treating all calls every row positive.
    assert net_benefit(120, 280, 400, 0.2) == pytest.approx(net_benefit_treat_all(0.3, 0.2))
    # At the prevalence itself, treating all is worth nothing.
    assert net_benefit_treat_all(0.3, 0.3) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ConfigurationError, match="tp: expected an integer of at least 0"):
        net_benefit(-1, 3, 10, 0.2)
    with pytest.raises(ConfigurationError, match="fp: expected an integer of at least 0"):
        net_benefit(1, -3, 10, 0.2)
    with pytest.raises(ConfigurationError, match="tp, fp: expected at most n=10"):
        net_benefit(8, 3, 10, 0.2)
    with pytest.raises(ConfigurationError, match="threshold: expected below 1"):
        net_benefit(1, 1, 10, 1.0)


def test_kappa_of_two_readers() -> None:
    assert cohen_kappa(90, 55, 53, 490) == pytest.approx(0.525741, abs=1e-6)
    assert cohen_kappa(10, 0, 0, 5) == 1.0
    assert cohen_kappa(0, 5, 5, 0) == -1.0
    assert cohen_kappa(25, 25, 25, 25) == 0.0
    assert math.isnan(cohen_kappa(10, 0, 0, 0))
    with pytest.raises(ConfigurationError, match="Counts: expected at least one row"):
        cohen_kappa(0, 0, 0, 0)
    with pytest.raises(ConfigurationError, match="r1_only: expected an integer"):
        cohen_kappa(1, -1, 0, 0)
