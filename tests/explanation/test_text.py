from __future__ import annotations

import itertools
import math
import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation.text import (
    Span,
    TextAttribution,
    attribute_tokens,
    attribute_words,
    words_of,
)
from asfusion.nn.pretrained_text import PretrainedTextBackbone, build_text_model
from asfusion.nn.text import TransformerBackbone
from asfusion.notes.tokenizer import encode_notes, train_tokenizer, vocabulary_size
from tests.browser import NO_BROWSER, find_chromium, rendered

NOTE = "Morning stiffness, no uveitis.\nCRP 12.5 mg/L (high), HLA-B27 positive"
WEIGHTS = {"stiffness": 2.0, "no": -1.0, "uveitis": 0.5, "12.5": 0.25, "HLA-B27": 3.0}
HOSTILE = (
    "<script>alert(1)</script> \" onmouseover='x' &amp; </mark></div> \x1b[31m\x00 pain \u202e"
)
TEXTS = st.text(max_size=60)


def words(text):
    return [text[start:end] for start, end in words_of(text)]


def bag_of_words(texts):
    return np.asarray([0.7 + sum(WEIGHTS.get(w, 0.0) for w in words(text)) for text in texts])


def crossed(texts):
    """A score in which words act together, in threes too."""
    out = []
    for text in texts:
        seen = set(words(text))
        together = {"stiffness", "HLA-B27", "positive"} <= seen
        out.append(math.tanh(bag_of_words([text])[0]) + together - 0.1 * len(seen) ** 1.5)
    return np.asarray(out)


def values_by_word(attribution):
    return {attribution.word(span): span.value for span in attribution.spans}


# --- words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HLA-B27 positive, BASDAI 3.5.", ["HLA-B27", "positive", "BASDAI", "3.5"]),
        ("Crohn's and Crohn\u2019s -- 'none'", ["Crohn's", "and", "Crohn\u2019s", "none"]),
        ("CRP 1,200 mg/L,high", ["CRP", "1,200", "mg", "L", "high"]),
        ("end.Next 5.x a_b", ["end", "Next", "5", "x", "a", "b"]),
        ("Sjo\u0308gren Bechterew-Krankheit", ["Sjo\u0308gren", "Bechterew-Krankheit"]),
        ("\u5f3a\u76f4\u6027\u810a\u67f1\u708e", ["\u5f3a\u76f4\u6027\u810a\u67f1\u708e"]),
        ("\u0915\u094d\u200d\u0937 \u0915\u093f", ["\u0915\u094d\u200d\u0937", "\u0915\u093f"]),
        (" -- \n", []),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.one_of(TEXTS, st.text("aB3\u0308.,-'\u2019_ \n\u200d", max_size=40)))
def test_words_are_in_order_and_hold_every_letter_and_digit(text):
    found = words_of(text)
    edges = [place for word in found for place in word]
    assert edges == sorted(edges)
    assert all(start < end for start, end in found)
    covered = {place for start, end in found for place in range(start, end)}
    assert {i for i, sign in enumerate(text) if sign.isalnum()} <= covered
    for start, end in found:
        assert text[start].isalnum()
        assert text[end - 1].isalnum() or unicodedata.category(text[end - 1])[0] == "M"
        assert not any(sign.isspace() for sign in text[start:end])


def test_words_of_something_else():
    with pytest.raises(InputError, match="expected a note as str, got NoneType"):
        words_of(None)


# --- black boxes


@pytest.mark.parametrize("method", ["shapley", "deletion"])
@pytest.mark.parametrize("n_samples", [4, 256])
def test_linear_words_get_their_weights(method, n_samples):
    attribution = attribute_words(bag_of_words, NOTE, method=method, n_samples=n_samples)
    assert [attribution.word(span) for span in attribution.spans] == words(NOTE)
    for word, value in values_by_word(attribution).items():
        assert value == pytest.approx(WEIGHTS.get(word, 0.0), abs=1e-12)
    assert attribution.total == pytest.approx(sum(WEIGHTS.values()))
    assert attribution.gap == pytest.approx(0.0, abs=1e-12)
    assert attribution.method == method


@pytest.mark.parametrize("n_samples", [4, 7, 256])
@pytest.mark.parametrize("max_players", [1, 3, 40])
def test_shapley_values_add_up(n_samples, max_players):
    note = NOTE + ", fatigue, weight loss, night pain and a family history of psoriasis"
    attribution = attribute_words(crossed, note, n_samples=n_samples, max_players=max_players)
    full, empty = crossed([note, ""])
    values = math.fsum(span.value for span in attribution.spans)
    assert values == pytest.approx(full - empty, abs=1e-9)
    assert attribution.total == pytest.approx(full - empty, abs=1e-12)
    assert abs(attribution.gap) < 1e-9


@settings(max_examples=40)
@given(st.text("ab1 .-<\n\u00df", max_size=30), st.sampled_from(["shapley", "deletion"]))
def test_values_gap_and_the_rest_are_the_total(text, method):
    def score(texts):
        return [math.sin(len(t)) + t.count("a") * t.count("b") for t in texts]

    found = attribute_words(score, text, method=method, n_samples=4)
    parts = [*(span.value for span in found.spans), found.gap, found.elsewhere]
    assert math.fsum(parts) == pytest.approx(score([text])[0] - score([""])[0], abs=1e-9)


def shapley_by_orders(score, pieces):
    orders = list(itertools.permutations(range(len(pieces))))
    values = np.zeros(len(pieces))
    for order in orders:
        kept, before = set(), score([""])[0]
        for player in order:
            kept.add(player)
            after = score(["".join(pieces[i] for i in sorted(kept))])[0]
            values[player] += (after - before) / len(orders)
            before = after
    return values


def test_short_notes_are_exact():
    text = "stiffness HLA-B27 positive no"
    pieces = ["stiffness ", "HLA-B27 ", "positive ", "no"]
    attribution = attribute_words(crossed, text)
    expected = shapley_by_orders(crossed, pieces)
    assert [span.value for span in attribution.spans] == pytest.approx(expected, abs=1e-12)
    assert attribution.standard_errors == (0.0,) * 4


def test_standard_errors_are_honest():
    rest = " fatigue weight loss night pain family history psoriasis iritis"
    text = "stiffness HLA-B27 positive no" + rest  # 14 words: exact only with many samples
    exact = attribute_words(crossed, text, n_samples=1200)
    assert set(exact.standard_errors) == {0.0}
    expected = np.asarray([span.value for span in exact.spans])
    scaled = []
    for seed in range(20):
        drawn = attribute_words(crossed, text, n_samples=160, seed=seed)
        errors = np.asarray(drawn.standard_errors)
        assert (errors > 0).any()
        missed = np.asarray([span.value for span in drawn.spans]) - expected
        scaled.append((missed / np.maximum(errors, 1e-12))[errors > 1e-6])
    spread = np.concatenate(scaled).std()
    assert 0.9 < spread < 1.1  # one, if the stated error is the true one


def test_equal_seeds_give_equal_values():
    note = NOTE + " fatigue weight loss"
    one, two, other = (attribute_words(crossed, note, n_samples=8, seed=s) for s in (1, 1, 2))
    assert one.spans == two.spans
    assert one.spans != other.spans


def test_planted_words_come_first():
    note = " ".join(f"filler{i}" for i in range(30)) + " sacroiliitis on MRI, denies psoriasis"

    def score(texts):
        noise = (0.01 * math.sin(len(t)) for t in texts)
        return [4 * ("sacroiliitis" in t) - 3 * ("psoriasis" in t) + n
                for t, n in zip(texts, noise, strict=True)]  # fmt: skip

    for method in ("shapley", "deletion"):
        attribution = attribute_words(score, note, method=method, n_samples=16)
        assert [attribution.word(s) for s in attribution.top(2)] == ["sacroiliitis", "psoriasis"]


def test_long_notes_are_cut_into_chunks_of_neighbours():
    note = " ".join(f"w{i}" for i in range(103)) + " sacroiliitis."
    attribution = attribute_words(lambda texts: ["sacro" in t for t in texts], note, n_samples=4,
                                  max_players=10)  # fmt: skip
    sizes = [len(attribution.word(span).split()) for span in attribution.spans]
    assert len(sizes) == 10
    assert sum(sizes) == 104
    assert set(sizes) == {10, 11}
    assert attribution.top(1)[0] == attribution.spans[-1]
    assert attribution.word(attribution.spans[-1]).endswith("w102 sacroiliitis")


def test_only_texts_with_words_left_out_are_asked_for_in_batches():
    asked = []

    def score(texts):
        asked.append(list(texts))
        return bag_of_words(texts)

    attribute_words(score, "CRP (high), no pain", method="deletion", batch_size=4)
    assert [len(batch) for batch in asked] == [4, 2]
    assert [text for batch in asked for text in batch] == [
        "CRP (high), no pain", "", "(high), no pain", "CRP no pain", "CRP (high), pain",
        "CRP (high), no ",
    ]  # fmt: skip


def test_a_text_without_words_is_elsewhere():
    attribution = attribute_words(lambda texts: [float(len(t)) for t in texts], "?!")
    assert attribution.spans == ()
    assert (attribution.total, attribution.elsewhere, attribution.gap) == (2.0, 2.0, 0.0)
    assert "outside words +2" in attribution.to_html()
    assert attribution.to_frame().empty


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"method": "lime"}, ConfigurationError, "method: expected one of 'shapley', 'deletion'"),
        ({"n_samples": 3}, ConfigurationError, "n_samples: expected an integer of at least 4"),
        ({"batch_size": 0}, ConfigurationError, "batch_size: expected an integer of at least 1"),
        ({"max_players": 0}, ConfigurationError, "max_players: expected an integer"),
        ({"seed": -1}, ConfigurationError, "seed: expected an integer of at least 0"),
        ({"text": 3.5}, InputError, "text: expected a note as str, got float"),
        ({"score": lambda t: np.zeros((len(t), 2))}, ShapeError, "one number per text.*, 2"),
        ({"score": lambda t: 1.0}, ShapeError, "one number per text"),
        ({"score": lambda t: [math.nan] * len(t)}, InputError, "finite numbers, got NaN"),
    ],
)
def test_unusable_words(options, error, match):
    with pytest.raises(error, match=match):
        attribute_words(**{"score": bag_of_words, "text": "secret pain", **options})


def test_errors_say_nothing_of_the_note():
    with pytest.raises(InputError) as caught:
        attribute_words(lambda texts: [math.inf for _ in texts], "secret pain")
    assert "secret" not in str(caught.value)


# --- word pieces


def linear(weights):
    return lambda embeddings: (embeddings * weights).sum(dim=(1, 2)) + 0.3


def test_linear_networks_have_a_closed_form():
    generator = torch.Generator().manual_seed(0)
    embeddings, weights, baseline = torch.randn(3, 1, 5, 4, generator=generator).double()
    offsets = [(0, 0), (0, 2), (2, 7), (7, 12), (0, 0)]  # two pieces of one word, one word
    found = attribute_tokens(
        linear(weights), embeddings, offsets, "uveitis pain", baseline=baseline
    )
    by_token = ((embeddings - baseline) * weights).sum(dim=2)[0].tolist()
    assert values_by_word(found) == {
        "uveitis": pytest.approx(by_token[1] + by_token[2], abs=1e-6),
        "pain": pytest.approx(by_token[3], abs=1e-6),
    }
    assert found.elsewhere == pytest.approx(by_token[0] + by_token[4], abs=1e-6)
    assert found.total == pytest.approx(sum(by_token), abs=1e-6)
    assert abs(found.gap) < 1e-6
    assert found.method == "integrated_gradients"


def test_gap_shrinks_with_steps():
    embeddings = torch.tensor([[[3.0, -1.0], [2.0, 0.5]]], dtype=torch.float64)

    def forward(embeddings):
        return torch.sigmoid(4 * embeddings.sum(dim=(1, 2)) ** 2 - 6)

    found = [
        attribute_tokens(forward, embeddings, [(0, 4), (5, 9)], "back pain", n_steps=n)
        for n in (4, 64)
    ]
    gaps = [abs(one.gap) for one in found]
    assert gaps[1] < 1e-3 < gaps[0]
    for one in found:
        assert math.fsum([*(s.value for s in one.spans), one.gap]) == pytest.approx(one.total)


def test_pieces_are_merged_by_their_places():
    text = "Temp 38\u00b0C, a/b end"
    #        bytes of one sign; a piece over two words and their sign; a space; nothing
    offsets = [(0, 4), (5, 7), (7, 8), (7, 8), (8, 9), (9, 10), (10, 14), (14, 15), (0, 0)]
    ones = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 9, 1)
    found = attribute_tokens(linear(torch.ones(1)), ones, offsets, text)
    assert [found.word(span) for span in found.spans] == [
        "Temp", "38", "\u00b0", "C", ",", "a", "b",
    ]  # fmt: skip
    values = [1.0, 2.0, 3.0 + 4.0, 5.0, 6.0, 3.5, 3.5]
    assert [span.value for span in found.spans] == pytest.approx(values)
    assert found.elsewhere == pytest.approx(8.0 + 9.0)  # the space and the closing token


@settings(max_examples=60)
@given(st.data())
def test_merging_loses_nothing(data):
    text = data.draw(TEXTS)
    place = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(place, place).map(sorted), min_size=1, max_size=12))
    values = torch.arange(1.0, len(pairs) + 1, dtype=torch.float64).reshape(1, -1, 1)
    found = attribute_tokens(linear(torch.ones(1)), values, pairs, text, n_steps=2)
    parts = [*(span.value for span in found.spans), found.elsewhere]
    assert math.fsum(parts) == pytest.approx(float(values.sum()))


def test_gradients_work_where_the_caller_has_switched_them_off():
    with torch.no_grad():
        found = attribute_tokens(linear(torch.ones(1)), torch.ones(1, 1, 2), [(0, 4)], "pain")
    assert found.spans[0].value == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"text": b"x"}, InputError, "text: expected a note as str, got bytes"),
        ({"n_steps": 0}, ConfigurationError, "n_steps: expected an integer of at least 1"),
        ({"embeddings": torch.ones(2, 2, 3)}, ShapeError, r"shape \(1, T, D\)"),
        ({"embeddings": torch.ones(2, 3)}, ShapeError, r"shape \(1, T, D\)"),
        ({"embeddings": torch.ones(1, 2, 3).long()}, ShapeError, "floating tensor"),
        ({"baseline": torch.ones(1, 1, 3)}, ShapeError, "baseline: expected the shape"),
        ({"offsets": [(0, 4)]}, ShapeError, "one pair per token, 2, got 1"),
        ({"offsets": [(0, 4), (5, 99)]}, InputError, "the first of them token 1"),
        ({"offsets": [(0, 4), (3, 2)]}, InputError, "0 <= start <= end <= 9"),
        ({"forward_embeddings": lambda e: e.sum(dim=2)}, ShapeError, "one number per row"),
        (
            {"forward_embeddings": lambda e: e.detach().sum(dim=(1, 2))},
            ConfigurationError,
            "an output with a gradient",
        ),
        (
            {"forward_embeddings": lambda e: e.sum(dim=(1, 2)) / 0.0},
            InputError,
            "finite outputs and gradients",
        ),
    ],
)
def test_unusable_tokens(options, error, match):
    usable = {
        "forward_embeddings": linear(torch.ones(1)),
        "embeddings": torch.ones(1, 2, 3),
        "offsets": [(0, 4), (5, 9)],
        "text": "back pain",
    }
    with pytest.raises(error, match=match):
        attribute_tokens(**{**usable, **options})


def backbone_and_table(kind, vocab_size):
    torch.manual_seed(0)
    if kind == "transformer":
        backbone = TransformerBackbone(vocab_size, d_model=16, n_heads=2)
        return backbone.eval(), backbone.embedding
    config = {
        "model_type": kind, "vocab_size": vocab_size, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 70,
        "pad_token_id": 0, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16,
    }  # fmt: skip
    backbone = PretrainedTextBackbone(build_text_model(config)).eval()
    return backbone, backbone.model.get_input_embeddings()


@pytest.mark.parametrize("kind", ["transformer", "bert", "roberta", "distilbert"])
def test_networks_and_tokenizers_of_the_library(kind):
    from tokenizers import Tokenizer

    source = train_tokenizer([NOTE] * 3)
    encoded = encode_notes(source, [NOTE], max_tokens=64)
    length = int(encoded.mask.sum())
    ids = torch.from_numpy(encoded.ids[:, :length])
    fast = Tokenizer.from_str(source)
    fast.encode_special_tokens = True
    offsets = fast.encode(NOTE).offsets
    backbone, table = backbone_and_table(kind, vocabulary_size(source))

    def read(ids):
        tokens = backbone({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)})
        return tokens.pool()[:, 0]

    def forward(embeddings):
        handle = table.register_forward_hook(lambda module, inputs, output: embeddings)
        try:
            return read(ids.expand(len(embeddings), -1))
        finally:
            handle.remove()

    embeddings = table(ids)
    assert torch.allclose(forward(embeddings), read(ids))
    found = attribute_tokens(forward, embeddings, offsets, NOTE, n_steps=128)
    shown = [found.word(span) for span in found.spans]
    assert [word for word in shown if word[0].isalnum()] == words(NOTE)
    with torch.no_grad():
        expected = float(read(ids) - forward(0 * embeddings))
    assert found.total == pytest.approx(expected, abs=1e-5)
    assert abs(found.gap) < 0.05 * max(abs(span.value) for span in found.spans)


# --- showing


class Page(HTMLParser):
    """Collects what a browser would make elements of, and what it would show."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open, self.notes = [], "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "div":
            self.notes.append(self.text)
            self.text = ""

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError("a comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


STYLE = re.compile(r"background:#[0-9a-f]{6};color:#[0-9a-f]{6}")


def check_page(page):
    """Assert that a page holds nothing but text and colours; return the note that it shows."""
    parsed = Page(page)
    assert parsed.open == []
    for tag, attributes in parsed.elements:
        assert tag in {"div", "span", "mark"}
        assert set(attributes) <= {"style", "title"}
        if tag != "div":
            assert STYLE.fullmatch(attributes["style"])
        if "title" in attributes:
            float(attributes["title"])
    return parsed.notes[0]


def attributed(text, values=None):
    places = words_of(text)
    values = values or [(-1.0) ** i * (i + 1) for i in range(len(places))]
    spans = tuple(Span(*place, value) for place, value in zip(places, values, strict=True))
    return TextAttribution(text, spans, math.fsum(values), 0.0, "shapley")


def in_one_piece(text):
    """The note without a span, and as one span: markup in it is cut nowhere."""
    yield TextAttribution(text, (), 0.0, 0.0, "deletion")
    if text:
        yield TextAttribution(text, (Span(0, len(text), 1.0),), 1.0, 0.0, "deletion")


@given(
    st.one_of(
        TEXTS,
        st.text("<>&\"'/=; script&lt;#x0\x00\x1b\x7f\x85\u202e\ud800\n\r\t", max_size=40),
    )
)
def test_any_note_is_inert_and_shown_as_it_is(text):
    shown = check_page(attributed(text).to_html())
    assert {check_page(one.to_html()) for one in in_one_piece(text)} <= {shown}
    assert len(shown) == len(text)
    for seen, sign in zip(shown, text, strict=True):
        acts = not (sign.isprintable() or sign in "\n\t\u00ad\u200c\u200d") and (
            unicodedata.category(sign) != "Zs"
        )
        assert seen != sign if acts else seen == sign
        assert seen.isprintable() or not acts
    shown.encode("utf-8")


def test_hostile_note():
    page = attributed(HOSTILE).to_html()
    shown = check_page(page)
    assert "<script" not in page
    assert "<script>alert(1)</script>" in shown
    assert "\u241b[31m\u2400" in shown
    assert "\u202e" not in page


def test_colours_are_symmetric_and_share_a_limit():
    def backgrounds(attribution, limit=None):
        found = Page(attribution.to_html(limit)).elements
        return [a["style"][11:18] for tag, a in found if tag == "mark"]

    text = "a b c d"
    full = backgrounds(attributed(text, [2.0, -2.0, 0.0, 1.0]))
    assert full[:3] == ["#e66101", "#5e3c99", "#ffffff"]
    assert backgrounds(attributed(text, [2.0, -2.0, 0.0, 1.0]), limit=4.0)[0] == full[3]
    assert backgrounds(attributed(text, [9.0, -9.0, 0.0, 0.5]), limit=2.0)[:2] == full[:2]
    assert backgrounds(attributed("a", [0.0])) == ["#ffffff"]


def test_numbers_stand_in_tooltips_and_legend():
    attribution = TextAttribution("no pain", (Span(0, 2, -1.25), Span(3, 7, 2.5)), 1.5, 0.25,
                                  "deletion", elsewhere=0.0)  # fmt: skip
    page = attribution._repr_html_()
    assert page == attribution.to_html()
    titles = [a["title"] for tag, a in Page(page).elements if tag == "mark"]
    assert titles == ["-1.25", "+2.5"]
    legend = Page(page).notes[1]
    assert "raises +2.5 lowers -2.5" in legend
    assert "total +1.5; not explained +0.25; deletion" in legend


@pytest.mark.parametrize("limit", [0, -1.0, math.nan, "1"])
def test_unusable_limit(limit):
    with pytest.raises(ConfigurationError, match="limit: expected a number in"):
        attributed("pain").to_html(limit)


ESCAPE = re.compile(r"\x1b\[(?:48;5;\d{1,3};38;5;\d{1,3}|0)m")


@given(st.one_of(TEXTS, st.text("ab \x1b[0m;]\x07\x9b\r\n", max_size=30)))
def test_terminals_get_no_control_of_the_note(text):
    attribution = attributed(text)
    coloured = attribution.render(colour=True)
    for plain in (ESCAPE.sub("", coloured), str(attribution)):
        controls = {c for c in plain if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
        assert not controls
    assert str(attribution) == attribution.render(colour=False)
    shown = check_page(attribution.to_html())
    assert ESCAPE.sub("", coloured).startswith(shown)


def test_terminal():
    attribution = attributed("no pain at\nnight", [-1.0, 2.0, 0.0, 0.5])
    first, second, _, sums, *listed = str(attribution).split("\n")
    assert first == "no{-1} pain{+2} at{+0}"
    assert second == "night{+0.5}"
    assert sums == "total +1.5; shapley"
    assert [line.split() for line in listed[:2]] == [["+2", "pain"], ["-1", "no"]]
    coloured = attribution.render().split("\n")
    orange, purple = "\x1b[48;5;202;38;5;16m", "\x1b[48;5;147;38;5;16m"
    assert coloured[0] == f"{purple}no\x1b[0m {orange}pain\x1b[0m at"
    assert coloured[1] == "\x1b[48;5;223;38;5;16mnight\x1b[0m"


def test_rounding_is_not_shown():
    attribution = attributed("no pain", [3e-17, -0.5])
    assert 'title="+0"' in attribution.to_html()
    assert str(attribution).startswith("no{+0} pain{-0.5}\n")


def test_repr_says_nothing_of_the_note():
    assert repr(attributed("secret pain")) == (
        "TextAttribution(2 spans, total=-1, gap=0, method='shapley')"
    )


def test_frame_and_top():
    attribution = attribute_words(bag_of_words, NOTE)
    frame = attribution.to_frame()
    assert list(frame) == ["word", "start", "end", "value", "standard_error"]
    assert list(frame["word"]) == words(NOTE)
    assert all(NOTE[s:e] == w for s, e, w in zip(frame["start"], frame["end"], frame["word"],
                                                 strict=True))  # fmt: skip
    assert [attribution.word(span) for span in attribution.top(3)] == ["HLA-B27", "stiffness", "no"]
    assert len(attribution.top(99)) == len(frame)
    with pytest.raises(ConfigurationError, match="n: expected an integer of at least 1"):
        attribution.top(0)
    deleted = attribute_words(bag_of_words, NOTE, method="deletion")
    assert list(deleted.to_frame()) == ["word", "start", "end", "value"]


def test_plot():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    text = "$x_ and_$ pain " + "a" * 60
    spans = (Span(0, 9, -3.0), Span(10, 14, 1.0), Span(15, 75, 2.0), Span(75, 76, 0.5))
    attribution = TextAttribution(text + "b", spans, 0.5, 0.0, "deletion")
    assert attribution.plot(axes, n=3) is axes
    figure.canvas.draw()  # a formula of this note would not be one
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["$x_ and_$", "a" * 39 + "\u2026", "pain"]
    assert [bar.get_width() for bar in axes.patches] == [-3.0, 2.0, 1.0]
    assert axes.yaxis_inverted()


def test_plot_shows_standard_errors():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    spans = (Span(0, 2, 1.0), Span(3, 7, 2.0))
    TextAttribution("no pain", spans, 3.0, 0.0, "shapley", standard_errors=(0.1, 0.25)).plot(axes)
    segments = axes.collections[0].get_segments()
    assert [line[:, 0].tolist() for line in segments] == [[1.5, 2.5], [0.8, 1.2]]


def test_plot_makes_a_figure():
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    axes = attributed("no pain").plot()
    assert len(axes.patches) == 2
    pyplot.close(axes.figure)


@pytest.mark.parametrize(
    ("spans", "errors", "match"),
    [
        ((Span(3, 7, 1.0), Span(0, 2, 1.0)), (), "in order.*got another at span 1"),
        ((Span(0, 4, 1.0), Span(3, 7, 1.0)), (), "without overlap"),
        ((Span(3, 8, 1.0),), (), "inside the 7 characters"),
        ((Span(2, 2, 1.0),), (), "got another at span 0"),
        ((Span(0, 2, math.nan),), (), "expected finite values, got nan at span 0"),
        ((Span(0, 2, 1.0),), (0.1, 0.2), "standard_errors: expected one per span, 1, got 2"),
    ],
)
def test_unusable_spans(spans, errors, match):
    with pytest.raises(InputError, match=match):
        TextAttribution("no pain", spans, 1.0, 0.0, "shapley", standard_errors=errors)


@pytest.mark.skipif(find_chromium() is None, reason=NO_BROWSER)
def test_a_browser_runs_nothing_of_a_note(tmp_path):
    hostile = "<script>document.title='RAN'</script><img src=x onerror=\"document.title='RAN'\">"
    note = f"{hostile} {HOSTILE}".replace("alert(1)", "document.title='RAN'")
    body = "".join(one.to_html() for one in (attributed(note), *in_one_piece(note)))
    page = tmp_path / "note.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>calm</title>{body}", "utf-8")
    shown = rendered(page, tmp_path / "profile")
    assert "<title>calm</title>" in shown
    assert "onmouseover" in shown  # the note is there, as text
    assert "<script" not in shown
    assert "<img" not in shown
