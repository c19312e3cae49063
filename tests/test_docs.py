"""What the documentation shows, runs, and is shown with what it prints and draws."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SITE = ROOT / "site"

sys.path.insert(0, str(ROOT / "docs" / "extensions"))
_examples, _notebooks, _pages, reference_pages, run_code = map(
    importlib.import_module, ("_examples", "_notebooks", "_pages", "reference_pages", "run_code")
)
sys.path.pop(0)
JOBS = run_code.page_jobs()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def page_at(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a page with a text, as if the folder were the repository."""
    monkeypatch.setattr(_pages, "ROOT", folder)
    page = folder / "page.md"
    page.write_text(text)
    return page


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[[Any], None]]:
    """Return what runs a notebook, in a kernel that starts when the first one asks for it."""
    kernels: list[Any] = []

    def run_one(job: Any) -> None:
        if not kernels:
            kernel = _notebooks.a_kernel()
            kernels.extend((kernel, kernel.__enter__()))
        kernels[1](job)

    yield run_one
    if kernels:
        kernels[0].__exit__(None, None, None)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_code_of_page_runs_and_shows(job: Any, run: Callable[[Any], None]) -> None:
    """A page is read from top to bottom: its blocks share one namespace and one folder.

    What the site has run (``make docs``) is taken from where it is kept, and does not run again.
    """
    _notebooks.run_or_recall(job, run)
    text = (ROOT / job.name).read_text()
    shown = run_code.Shown(job.name)
    page = _pages.with_outputs(text, job, shown)
    for cell in job.code:
        printed = "".join(out.text for out in cell.outputs if out.output_type == "stream")
        assert all(line.strip() in page for line in printed.splitlines())
        assert printed or "print(" not in re.sub(r"(?m)^\s.*|^def .*", "", cell.source)
    drawn = [out for c in job.code for out in c.outputs if "image/png" in out.get("data", {})]
    assert len(shown.pictures) == sum("text/html" not in out["data"] for out in drawn)


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_example_is_a_numbered_notebook(example: Path) -> None:
    """Run and shown when the site is built (``make docs``), and so not once more here."""
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", example.stem)
    assert [e.name for e in EXAMPLES if e.name[:2] == example.name[:2]] == [example.name]
    job = _examples.job_of(example)
    page = _examples.page_of(job)
    assert page.title
    assert page.summary.endswith(".")
    assert len(job.code) >= 2


TINY = """# %% [markdown]
# # Tiny
#
# Says so.

# %%
import warnings
from pathlib import Path

import asfusion as af

Path('here').touch()
print('six', 6)
warnings.warn('little', af.exceptions.AsfusionWarning)
warnings.warn('noise')

# %%
import pandas as pd

pd.DataFrame({'crp': [1.5]})

# %%
from matplotlib import pyplot

line = pyplot.plot([1, 2])
"""


def test_example_is_shown_with_what_it_prints_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None]
) -> None:
    monkeypatch.setattr(_notebooks, "CACHE", tmp_path / "cache")
    script = tmp_path / "01_tiny.py"
    script.write_text(TINY)
    job = _examples.job_of(script)
    run(job)
    page = _examples.page_of(job)
    assert (page.title, page.summary) == ("Tiny", "Says so.")
    assert "\nsix 6\n" in page.text
    assert "AsfusionWarning: little" in page.text
    assert "noise'" in page.text  # the code
    assert "UserWarning" not in page.text
    assert "[Script](01_tiny.py)" in page.text
    (place,) = page.shown.html
    assert f"<!-- {place} -->" in page.text
    assert "<td>1.5</td>" in page.shown.html[place]
    (picture,) = page.shown.pictures
    assert page.shown.pictures[picture].startswith(b"\x89PNG")
    assert f"]({picture})" in page.text
    assert not (tmp_path / "here").exists()  # it ran in a folder of its own
    again = _examples.job_of(script)
    _notebooks.run_or_recall(again, pytest.fail)
    assert _examples.page_of(again).text == page.text
    script.write_text(TINY.replace("six", "seven"))
    with pytest.raises(LookupError):
        _notebooks.run_or_recall(_examples.job_of(script), lambda job: [][0])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('not told of')", "UserWarning: not told of"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "open a network connection"),
    ],
)
def test_page_that_fails_is_named(
    code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]
) -> None:
    page = page_at(tmp_path, f"# Wrong\n\n```python\n{code}\n```\n", monkeypatch)
    with pytest.raises(PluginError, match=rf"page\.md failed:(.|\n)*{told}"):
        run(_pages.job_of(page))


def test_example_without_a_title_is_named(tmp_path: Path) -> None:
    script = tmp_path / "02_wrong.py"
    script.write_text("# %%\n1\n")
    with pytest.raises(PluginError, match="expected a first cell"):
        _examples.page_of(_examples.job_of(script))


def test_examples_stand_in_the_navigation() -> None:
    class Config:
        nav: Any = ({"Examples": "examples/index.md"}, {"Home": "index.md"})

    entry = run_code.on_config(Config()).nav[0]["Examples"]
    assert entry[0] == "examples/index.md"
    assert len(entry) == 1 + len(EXAMPLES)


def test_newcomer_needs_fifteen_lines() -> None:
    """From a table and DICOM files to a fused, explained and saved prediction."""
    _, path = (match["code"] for match in _pages.blocks((ROOT / "README.md").read_text()))
    lines = [line for line in path.splitlines() if line.strip()]
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 100
    for step in ("read_csv", "ImageEncoder", "fit", "predict_proba", "explain", "save"):
        assert step in path


def test_readme_is_a_page_long() -> None:
    assert 40 <= len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_readme_says_once_what_the_library_is_not() -> None:
    assert (ROOT / "README.md").read_text().count("not a medical device") == 1


def test_pages_load_nothing_from_elsewhere() -> None:
    """Reading the documentation of a clinical tool tells no third party about it."""
    external = re.compile(r"(?:src|@import|url)\s*[=(]\s*[\"']?https?://|!\[[^\]]*\]\(https?://")
    sources = [*PAGES, ROOT / "mkdocs.yml", *(ROOT / "docs").rglob("*.css")]
    assert [relative(page) for page in sources if external.search(page.read_text())] == []
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()


def test_outputs_stand_below_their_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "---\ntitle: x\n---\n# Page\n\nText, see [other](other.md).\n\n```python\na = 1\n```\n\n"
        '=== "Tab"\n\n    ```python title="x.py"\n    b = 2\n    ```\n\n'
        "```python { .no-run }\nc = 3\n```\n\n```bash\nls\n```\n"
    )
    job = _pages.job_of(page_at(tmp_path, text, monkeypatch))
    assert [cell.source for cell in job.code] == ["a = 1", "b = 2"]
    assert "Text, see other." in job.notebook.cells[0].source  # that page is not in the notebook
    assert "c = 3" in job.notebook.cells[-1].source
    table = _notebooks.nbformat.v4.new_output("execute_result", data={"text/html": "<b>2</b>"})
    at = "<IPython.core.display at 0x7f03>"  # says nothing, and another thing each time
    for cell, said in zip(job.code, (["two\nlines", at], ["in the tab"]), strict=True):
        cell.outputs = [_stream(one) for one in said]
    job.code[1].outputs.append(table)
    shown = run_code.Shown("Page", "a/page.md")
    page = _pages.with_outputs(text, job, shown)
    (place,) = shown.html
    assert f"\n    <!-- {place} -->\n" in page
    other = run_code.Shown("Page", "b/page.md")
    assert _pages.with_outputs(text, job, other).count("<!--") == 1
    assert not set(shown.html) & set(other.html)
    assert "a = 1\n```\n\n```{ .text .output }\ntwo\nlines\n```\n" in page
    assert "    b = 2\n    ```\n\n    ```{ .text .output }\n    in the tab\n    ```\n" in page
    assert "# Page\n\n[Notebook](page.ipynb)" in page
    assert at not in page


def _stream(text: str) -> Any:
    return _notebooks.nbformat.v4.new_output("stream", name="stdout", text=text)


@pytest.mark.parametrize(
    ("text", "title", "summary"),
    [
        ("# The *one*\n\nFirst `a.b` of [x](y.md). Second.\n", "The one", "First a.b of x."),
        ("```python\n# no title\n```\n\nOnly words.\n", "", "Only words."),
        ("---\na: b\n---\n\n# Two { #two }\n\n!!! note\n    x\n\nBelow:\n", "Two", "Below"),
    ],
)
def test_cards_say_what_a_page_says_first(text: str, title: str, summary: str) -> None:
    assert (_pages.title_of(text), _pages.summary_of(text)) == (title, summary)


def test_code_is_read_for_what_it_uses() -> None:
    code = (
        "import asfusion as af\nimport numpy as np\nfrom asfusion import clinical\n"
        "from asfusion.sites import Reference as R\n"
        "np.array(af.datasets.make_axspa_cohort(3))\nclinical.basdai(x)\nR.from_json(text)\n"
    )
    assert reference_pages.names_in(code) >= {
        "asfusion.datasets.make_axspa_cohort",
        "asfusion.datasets",
        "asfusion.clinical.basdai",
        "asfusion.sites.Reference",
    }
    assert not any("array" in name for name in reference_pages.names_in(code))


def test_classes_have_pages_of_their_own() -> None:
    entries = {entry.path: entry for entry in reference_pages._classes()}
    assert len({entry.uri for entry in entries.values()}) == len(entries)
    early = entries["asfusion.EarlyFusionClassifier"]
    page = reference_pages.class_page(early)
    assert "::: asfusion.EarlyFusionClassifier\n    options:\n" in page
    for alike in ("EarlyFusionRegressor", "JointFusionClassifier", "estimators/LateFusion"):
        assert alike in page
    assert "](../../how-to/explain.md)" in page
    assert "](../../examples/" in page
    assert "asfusion.evaluate" not in entries  # a function stays where it is


def test_every_name_on_the_cheat_sheet_is_there() -> None:
    sheet = (ROOT / "docs" / "extensions" / "draw_cheat_sheet.py").read_text()
    names = set(re.findall(r"\baf((?:\.[A-Za-z_]\w*)+)", sheet))
    assert len(names) > 30
    for name in names:
        reference_pages._resolved(f"asfusion{name.split('().')[0]}")


# --- the built site: `make docs`, which `make test` does before ---------------------------


built = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site: run make docs")
ASKED = (
    "survival",
    "several labels",
    "ONNX",
    "FHIR",
    "DICOMweb",
    "sample size",
    "external validation",
    "Docker",
    "learning curve",
    "LoRA",
)


@built
@pytest.mark.parametrize("asked", ASKED)
def test_search_answers(asked: str) -> None:
    """A page or section has the words in its title, and says something below."""
    index = json.loads((SITE / "search" / "search_index.json").read_text())
    found = [e for e in index["docs"] if asked.lower() in e["title"].lower()]
    assert any(len(entry["text"].split()) >= 15 for entry in found)


class _Loaded(HTMLParser):
    """Find what a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {"link": "href"}.get(tag, "src")
        self.urls += [value or "" for name, value in attrs if name in (loads, "srcset", "data")]


@built
def test_site_shows_what_ran() -> None:
    """Every output stands on its page, in HTML, and every picture beside it."""
    for job in JOBS:
        name = job.name.removeprefix("docs/").removesuffix(".md")
        if name == "README" or not _notebooks._recall(job):  # the first is no page of the site
            continue
        shown = run_code.Shown(name)
        _pages.with_outputs((ROOT / job.name).read_text(), job, shown)
        page = SITE / ("index.html" if name == "index" else f"{name}/index.html")
        found = re.findall(r'class="[^"]*\boutput\b', page.read_text())
        assert len(found) >= len(shown.texts) + len(shown.pictures) + len(shown.html), name
        assert all((SITE / Path(name).parent / picture).exists() for picture in shown.pictures)


@built
def test_site_loads_nothing_from_elsewhere() -> None:
    pages = [SITE / "index.html", *(SITE / "how-to").glob("e*/*.html"), SITE / "gallery/index.html"]
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert [u for u in loaded.urls if re.match(r"(https?:)?//", u)] == []


@built
def test_gallery_has_a_card_for_every_page_with_code() -> None:
    cards = re.findall(r'class="card" href="([^"]+)"', (SITE / "gallery/index.html").read_text())
    shown = {card.removeprefix("../").rstrip("/") for card in cards}
    pages = {job.name.removeprefix("docs/").removesuffix(".md") for job in JOBS}
    wanted = {page for page in pages if page.startswith("how-to/")}
    wanted |= {f"examples/{example.stem}" for example in EXAMPLES}
    assert wanted <= shown
