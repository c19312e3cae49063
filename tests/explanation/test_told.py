"""Explanations in sentences: points and units first, no sum of others and no stray word ahead."""

import os
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest

from asfusion.exceptions import ConfigurationError
from asfusion.explanation._attribution import GAP, PRESENCE, Attribution, PerRow
from asfusion.explanation._text_words import find_words, group_words
from asfusion.explanation._trust import Check
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.regions import RegionAttribution
from asfusion.explanation.result import Explanation
from asfusion.explanation.spans import Span
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution
from asfusion.imaging.extent import Extent
from asfusion.show.page import fragment
from tests.browser import NO_BROWSER, find_chromium, screenshot

FOLDER = os.environ.get("SCREENSHOTS")  # where to leave pictures for somebody to look at
NOTE = "Back pain at night. She has never had uveitis. The plan: call again."


class Plain(Attribution):
    def __init__(self, pairs):
        self.pairs = pairs

    def _named_parts(self, row):
        return self.pairs

    def _missed(self, totals, present):
        return 0.0


def note(text=NOTE, value=0.003):
    spans = tuple(Span(*place, value * (1 + k)) for k, place in enumerate(find_words(text)))
    total = sum(span.value for span in spans)
    return TextAttribution(text, spans, total + 0.05, 0.0, "shapley", elsewhere=0.05)


@pytest.fixture
def explained():
    labs = TableAttribution(
        [[0.09, -0.02, 0.0]],
        0.3,
        [[16.0, None, True]],
        ["crp", "esr", "b27"],
        units={"crp": "mg/L"},
    )
    notes = PerRow([note()])
    values = np.array([[0.07, notes[0].total, 0.0]])
    return Explanation(
        names=("labs", "notes", "film"),
        values=values,
        errors=None,
        interactions=None,
        base_values=np.array([0.32]),
        predictions=0.32 + values.sum(axis=1),
        present=np.array([[True, True, False]]),
        output_names=("probability of class AS",),
        absence="missing",
        details=SimpleNamespace(verbose=0, has_background=True),
        _known={"labs": labs, "notes": notes, "film": PerRow([None])},
    )


def test_a_lab_value_has_its_unit_and_its_points(explained):
    told = explained.sentences(0)
    percent = f"{100 * explained.predictions[0]:.0f}\N{NO-BREAK SPACE}%"
    assert told[0] == (
        f"Probability of class AS is {percent}, against 32\N{NO-BREAK SPACE}% for the average "
        "patient of training."
    )
    assert "labs raised it by 7 points." in told
    assert "  crp 16 mg/L raised it by 9 points." in told
    assert "  That esr is missing lowered it by 2 points." in told
    assert not any("film" in line or "b27" in line for line in told)
    with pytest.raises(ConfigurationError, match="row: expected a position from 0 to 0"):
        explained.sentences(1)


def test_notes_are_told_by_sentences_and_findings(explained):
    told = "\n".join(explained.sentences())
    assert "no uveitis: “She has never had uveitis.” raised it by 11 points." in told
    assert re.search(r"pain.*: “Back pain at night.” raised", told)
    assert "plan: “" not in told, "a plan is no finding"
    parts = dict(explained["notes"]._read_parts(0))
    assert sum(parts.values()) == pytest.approx(explained["notes"][0].total)


def test_regions_of_a_film_are_named(explained):
    heat = np.zeros((4, 4))
    joint = ImageAttribution(heat, heat, "occlusion")
    regions = {"right_sij": 0.25, "left_hip": -0.02}
    film = RegionAttribution(
        regions, dict.fromkeys(regions, joint), np.zeros((40, 60), np.uint8), Extent(40, 60)
    )
    explained._known["notes"] = PerRow([film])
    told = explained.sentences()
    assert "  right sacroiliac joint raised it by 25 points." in told
    assert "  left hip lowered it by 2 points." in told


def test_the_printed_form_begins_with_sentences(explained):
    lines = repr(explained).splitlines()
    assert lines[1].startswith("Row 0: probability of class AS is ")
    assert "  notes raised it by" in lines[2]


def test_the_page_tells_before_it_draws(explained):
    page = explained._repr_html_()
    assert page.index("raised it by 9 points") < page.index("<img")
    assert '<li class="lowered">That esr is missing' in page
    assert "All rows" not in page, "one row is drawn once"
    forged = note("<b>x</b> pain\u202e. </ul><script>")
    explained._known["notes"] = PerRow([forged])
    page = explained._repr_html_()
    assert "<script" not in page and "<b>" not in page and "\u202e" not in page


def test_log_odds_are_no_points(explained):
    explained = Explanation(
        **{
            name: getattr(explained, name)
            for name in Explanation.__dataclass_fields__
            if not name.startswith("_") and name != "output_names"
        },
        output_names=("log odds of class AS",),
        _known=explained._known,
    )
    told = "\n".join(explained.sentences())
    assert "points" not in told and "%" not in told
    assert "crp 16 mg/L raised it by 0.09." in told


@pytest.mark.parametrize("seed", range(5))
def test_no_sum_of_others_and_nothing_special_leads(seed):
    rng = random.Random(seed)
    pairs = [(f"c{i}", rng.uniform(-1, 1)) for i in range(rng.randint(8, 60))]
    pairs += [(PRESENCE, 50.0), (GAP, -40.0)]
    shown = Plain(pairs)._shown_parts(0)
    assert [name for name, _ in shown[-2:]] == [PRESENCE, GAP]
    assert shown[-3][0].startswith("everything else")
    assert sum(value for _, value in shown) == pytest.approx(sum(value for _, value in pairs))
    own = [abs(value) for _, value in shown[:-3]]
    assert own == sorted(own, reverse=True)


@pytest.mark.parametrize("seed", range(30))
def test_runs_of_words_stay_in_their_sentence(seed):
    rng = random.Random(seed)
    pieces = ["pain ", "no ", "HLA-B27, ", "Stiff ", "ends. ", "Night. ", "\n", "1.5 mg; "]
    text = "".join(rng.choice(pieces) for _ in range(rng.randint(0, 250)))
    words, most = find_words(text), rng.randint(1, 45)
    runs = group_words(text, words, most)
    assert len(runs) == min(most, len(words))
    assert [w for start, end in runs for w in words if start <= w[0] < end] == words
    n_sentences = len([part for part in re.split(r"[.!?]\s+|\n", text) if find_words(part)])
    if n_sentences <= most:
        assert not any(re.search(r"[.!?]\s+[A-Z]", text[start:end]) for start, end in runs)


def test_failed_checks_are_a_table_in_words(explained):
    failed = [
        Check("deletion", -0.2, 0.0, False, "area", "Labs: they move it no sooner.", at_most=False),
        Check("sums", 0.0, 1e-5, True, "gap", "They do not add up."),
    ]
    explained._checks.extend(failed)
    page = explained._repr_html_()
    assert "Not to be trusted: 1 check failed" in page
    assert "<td>Labs: they move it no sooner.</td><td>-0.2</td><td>at least 0</td>" in page
    assert "They do not add up." not in page
    assert page.index("no sooner") < page.index("raised it by")


def test_an_overlay_is_quiet_where_little_is():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.05, (64, 64))
    values[20:30, 20:30] = 1.0
    axes = ImageAttribution(values, np.zeros((64, 64)), "occlusion").plot()
    alpha = axes.images[1].get_alpha()
    assert (alpha == 0).mean() > 0.9 and alpha[25, 25] > 0.8


def test_pages_ask_for_no_colour_of_their_own_text():
    style = fragment([]).partition("</style>")[0]
    inks = re.findall(r"(?<![-\w])color: ([^;]+);", style)
    assert len(set(inks)) == 2, "of the marks that raise and lower, which stand beside words"


@pytest.mark.skipif(FOLDER is None, reason="name a folder in $SCREENSHOTS")
@pytest.mark.skipif(find_chromium() is None, reason=NO_BROWSER)
@pytest.mark.parametrize("width", [390, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_an_explanation(explained, tmp_path, width, scheme):
    explained._checks.append(Check("sums", 0.2, 1e-5, False, "gap", "They do not add up."))
    page = explained.to_html(tmp_path / "explained.html")
    shot = screenshot(page, f"{FOLDER}/explained-{width}-{scheme}.png", tmp_path, width, scheme)
    assert shot[0] >= width
