"""What the documentation shows, runs: README, every page, every example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXAMPLE_TIMEOUT_S = 180  # they take seconds; a busy machine is slower

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
    namespace = {"__name__": "__main__"}
    for block in python_blocks(page):
        # Blank lines in front give tracebacks the line numbers of the page.
        source = "\n" * block.line + block.code
        exec(compile(source, relative(page), "exec"), namespace)


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=dict(os.environ),  # one thread, no display, no hub: see conftest.py
        capture_output=True,
        text=True,
        check=False,
        timeout=EXAMPLE_TIMEOUT_S,
    )
    assert run.returncode == 0, run.stderr[-3000:]


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
