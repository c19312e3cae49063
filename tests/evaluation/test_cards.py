"""Cards and checklists say nothing that the evaluation did not measure or its authors wrote."""

import json
import re

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import asfusion as af
from asfusion.exceptions import ConfigurationError

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.fixture(scope="module")
def reports():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 3))
    y = (X[:, 0] + rng.logistic(size=160) > 0).astype(int)
    site = np.repeat(["a", "b", "c|<i>*"], [76, 76, 8])
    sets = {"n_bootstrap": 60, "groups": np.arange(160) // 2}
    early = af.EarlyFusionClassifier(threshold=0.4, verbose=0, random_state=0).fit(X, y)
    names = np.array(["well", "ill"])[y]
    spoken = LogisticRegression().fit(X, names)
    three = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    return {
        "binary": af.evaluate(early, X, y, subgroups={"site": site}, **sets),
        "named": af.evaluate(spoken, X, names, n_bootstrap=50),
        "multiclass": af.evaluate(LogisticRegression().fit(X, three), X, three, **sets),
        "regression": af.evaluate(
            LinearRegression().fit(X, X[:, 0]), X, 1e4 * X[:, 1], subgroups={"site": site}, **sets
        ),
    }


def numbers_of(value):
    """Yield every number of a JSON document, also those in its texts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_of(key)
            yield from numbers_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, str):
        yield from map(float, NUMBER.findall(value))
    elif value is not None and not isinstance(value, bool):
        yield float(value)


@pytest.mark.parametrize("task", ["binary", "named", "multiclass", "regression"])
def test_every_number_of_a_card_is_in_the_report(task, reports):
    report = reports[task]
    known = np.asarray(list(numbers_of(json.loads(report.to_json()))))
    text = str(report.model_card())
    told = NUMBER.findall(text.replace("asfusion 0.1.0", "").replace("\\", ""))
    assert len(told) > 10
    for number in told:
        mantissa = number.partition("e")[0]
        digits = len(mantissa.partition(".")[2])
        scale = 10.0 ** float(number.partition("e")[2] or 0)
        # Rounded to as many digits as are shown; large numbers to four.
        step = max(
            0.5 * 10.0**-digits * scale,
            5e-4 * abs(float(number)) if abs(float(number)) >= 100 else 0,
        )
        whole = digits == 0 and abs(float(number)) < 1000
        assert np.abs(known - float(number)).min() <= (1e-12 if whole else step * 1.000001), number


def test_what_people_must_say_is_not_invented(reports):
    card = reports["binary"].model_card()
    people = [row for section in card.sections[:3] for row in section.rows]
    people += list(card.sections[-1].rows)
    assert len(people) == 14
    assert {row[-1] for row in people} == {"not provided"}
    told = reports["binary"].model_card(intended_use="To plan | a <script>visit</script>.\n* No")
    assert "To plan \\| a \\<script\\>visit\\</script\\>. \\* No" in str(told)
    assert "<script>" not in told._repr_html_()
    assert "&lt;script&gt;visit" in told._repr_html_()
    assert "site = c\\|\\<i\\>\\*" in str(told)
    assert "not provided" in str(reports["named"].model_card().sections[-2])
    with pytest.raises(ConfigurationError, match="model_card: expected some of 'name', .* Did you"):
        reports["binary"].model_card(intended_user="x")
    with pytest.raises(ConfigurationError, match="expected a text for 'ethics', got another type"):
        reports["binary"].model_card(ethics=3)


@pytest.mark.parametrize(("name", "n_items", "n_all"), [("tripod+ai", 27, 52), ("claim", 44, 44)])
def test_checklists_have_every_item_once(name, n_items, n_all, reports):
    for report in reports.values():
        sheet = report.checklist(name)
        items = [row[0] for section in sheet.sections for row in section.rows]
        assert len(items) == len(set(items)) == n_all
        whole = [int(item.rstrip("abcdefg")) for item in items]
        assert whole == sorted(whole)
        assert list(dict.fromkeys(whole)) == list(range(1, n_items + 1))


def test_answers_are_measured_provided_or_absent(reports):
    report = reports["binary"]
    answers = {
        row[0]: row[2]
        for section in report.checklist("tripod+ai", {"3a": "page 2", "15": "See S1."}).sections
        for row in section.rows
    }
    assert answers["3a"] == "page 2"
    assert answers["15"] == "See S1. (measured) Threshold 0.4, stored in the model."
    assert answers["17"] == "not provided"
    assert "80 patients" in answers["21"]
    assert f"AUC {report.scores['auc'].estimate:.3f}" in answers["23a"]
    assert answers["14"] == "(measured) Scores were compared by site."
    assert answers["23b"].startswith("(measured) See the subgroups by site")
    measured = {item for item, text in answers.items() if text.startswith("(measured)")}
    assert measured == {"12e", "14", "21", "23a", "23b", "27a"}
    plain = reports["regression"].checklist("claim")
    filled = {r[0] for s in plain.sections for r in s.rows if r[2] != "not provided"}
    assert filled == {"23", "28", "29", "30", "35", "36", "38"}
    with pytest.raises(ConfigurationError, match="name: expected one of 'tripod"):
        report.checklist("stard")
    with pytest.raises(ConfigurationError, match="checklist 'claim': expected some of"):
        report.checklist("claim", {"3a": "x"})


def test_sheets_are_written(reports, tmp_path):
    card = reports["binary"].model_card()
    assert card.to_markdown(tmp_path / "card.md").read_text() == str(card) == repr(card)
    page = card.to_html(tmp_path / "card.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "http" not in page.replace("http-equiv", "")
