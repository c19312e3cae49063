"""What the documentation shows, runs; examples run when the site is built."""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block of Python and the line of the page that it starts on."""

    code: str
    line: int


def python_blocks(page: Path) -> list[Block]:
    """Return the blocks marked ``python`` that are not marked ``.no-run``, in order."""
    text = page.read_text()
    blocks = []
    for match in _FENCE.finditer(text):
        words = match["info"].replace("{", " ").replace("}", " ").split()
        if words[:1] in (["python"], ["py"]) and ".no-run" not in words:
            line = text[: match.start("code")].count("\n")
            blocks.append(Block(textwrap.dedent(match["code"]), line))
    return blocks


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=relative)
def test_code_of_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is read from top to bottom: its blocks share one namespace and one folder."""
    monkeypatch.chdir(tmp_path)
    # Where a page does not say how long a network trains, it is to run, not to learn.
    monkeypatch.setattr("asfusion.estimators._joint._EPOCHS", 5)
    namespace = {"__name__": "__main__"}
    for block in python_blocks(page):
        # Blank lines in front give tracebacks the line numbers of the page.
        source = "\n" * block.line + block.code
        exec(compile(source, relative(page), "exec"), namespace)


def load_hook() -> ModuleType:
    """Return the hook of MkDocs that runs the examples."""
    file = ROOT / "docs" / "extensions" / "run_examples.py"
    spec = importlib.util.spec_from_file_location("run_examples", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_examples"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_example_is_a_numbered_notebook(example: Path) -> None:
    """Run and shown when the site is built (``make docs``), and so not once more here."""
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", example.stem)
    assert [e.name for e in EXAMPLES if e.name[:2] == example.name[:2]] == [example.name]
    notebook = jupytext.read(example)
    page = load_hook().page_of(notebook, example)
    assert page.title
    assert page.summary.endswith(".")
    assert sum(cell.cell_type == "code" for cell in notebook.cells) >= 2


def test_example_is_shown_with_what_it_prints_and_draws(tmp_path: Path) -> None:
    hook = load_hook()
    script = tmp_path / "01_tiny.py"
    script.write_text(
        "# %% [markdown]\n# # Tiny\n#\n# Says so.\n\n"
        "# %%\nimport warnings\nfrom pathlib import Path\n\n"
        "import asfusion as af\n\nPath('here').touch()\nprint('six', 6)\n"
        "warnings.warn('little', af.exceptions.AsfusionWarning)\nwarnings.warn('noise')\n\n"
        "# %%\nimport pandas as pd\n\npd.DataFrame({'crp': [1.5]})\n\n"
        "# %%\nfrom matplotlib import pyplot\n\nline = pyplot.plot([1, 2])\n"
    )
    page = hook.page_of(hook.run(script), script)
    assert (page.title, page.summary) == ("Tiny", "Says so.")
    assert "\nsix 6\n" in page.text
    assert "AsfusionWarning: little" in page.text
    assert "noise'" in page.text  # the code
    assert "UserWarning" not in page.text
    assert "[Script](01_tiny.py)" in page.text
    (place,) = page.html
    assert f"<!-- {place} -->" in page.text
    assert "<td>1.5</td>" in page.html[place]
    (picture,) = page.pictures
    assert page.pictures[picture].startswith(b"\x89PNG")
    assert f"]({picture})" in page.text
    assert not (tmp_path / "here").exists()  # it ran in a folder of its own


def test_example_that_fails_is_named(tmp_path: Path) -> None:
    hook = load_hook()
    script = tmp_path / "02_wrong.py"
    script.write_text("# %% [markdown]\n# # Wrong\n\n# %%\n1 / 0\n")
    with pytest.raises(PluginError, match=r"examples/02_wrong\.py failed:(.|\n)*ZeroDivisionError"):
        hook.run(script)
    script.write_text("# %%\n1\n")
    with pytest.raises(PluginError, match="expected a first cell"):
        hook.page_of(jupytext.read(script), script)


def test_examples_stand_in_the_navigation() -> None:
    class Config:
        nav: Any = ({"Examples": "examples/index.md"}, {"Home": "index.md"})

    entry = load_hook().on_config(Config()).nav[0]["Examples"]
    assert entry[0] == "examples/index.md"
    assert len(entry) == 1 + len(EXAMPLES)


def test_newcomer_needs_fifteen_lines() -> None:
    """From a table and DICOM files to a fused, explained and saved prediction."""
    _, path = python_blocks(ROOT / "README.md")
    lines = [line for line in path.code.splitlines() if line.strip()]
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 100
    for step in ("read_csv", "ImageEncoder", "fit", "predict_proba", "explain", "save"):
        assert step in path.code


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


def test_blocks_are_found_where_they_are(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n```python\na = 1\n```\n\n"
        '=== "Tab"\n\n    ```python title="x.py"\n    b = 2\n    ```\n\n'
        "```python { .no-run }\nc = 3\n```\n\n```bash\nls\n```\n"
    )
    blocks = python_blocks(page)
    assert [(b.code, b.line) for b in blocks] == [("a = 1\n", 3), ("b = 2\n", 9)]
