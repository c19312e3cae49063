"""Run the Python blocks of a page of the documentation, and show their outputs below them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
from _notebooks import ROOT, Job
from _outputs import Shown

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.M | re.S
)
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.S)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)\s]+\)")
_TITLE = re.compile(r"^# (.+)\n", re.M)
CODE_SPAN = re.compile(r"[`*]|\{[^}]*\}|\[([^\]]+)\]\([^)]*\)")


def blocks(text: str) -> Iterator[re.Match[str]]:
    """Find the blocks marked ``python`` that are not marked ``.no-run``, in order."""
    for match in _FENCE.finditer(text):
        words = match["info"].replace("{", " ").replace("}", " ").split()
        if words[:1] in (["python"], ["py"]) and ".no-run" not in words:
            yield match


def job_of(page: Path) -> Job | None:
    """Return a page as a notebook; None if it has no block that runs."""
    text = _FRONT.sub("", page.read_text(encoding="utf-8"))
    cells, end = [], 0
    for match in blocks(text):
        cells.append(_words(text[end : match.start()]))
        cells.append(nbformat.v4.new_code_cell(textwrap.dedent(match["code"]).rstrip()))
        end = match.end()
    if not cells:
        return None
    cells.append(_words(text[end:]))
    kept = [cell for cell in cells if cell.source]
    notebook = nbformat.v4.new_notebook(cells=kept)
    for number, cell in enumerate(kept):  # else it is drawn anew at each build
        cell.id = f"cell-{number}"
    return Job(page.relative_to(ROOT).as_posix(), notebook, tested=True)


def _words(text: str) -> nbformat.NotebookNode:
    """Return what stands between blocks; a link to another page leads nowhere in a notebook."""
    return nbformat.v4.new_markdown_cell(_LINK.sub(r"\1", text).strip())


def with_outputs(text: str, job: Job, shown: Shown) -> str:
    """Return the Markdown of a page with the outputs below its blocks, and a notebook to take."""
    name, parts, end = Path(job.name).stem, [], 0
    for number, (match, cell) in enumerate(zip(blocks(text), job.code, strict=True)):
        parts += [text[end : match.start()], match[0]]
        outputs = shown.of(cell, f"{name}-{number}")
        if outputs:
            parts.append("\n\n" + textwrap.indent(outputs, match["indent"]) + "\n")
        end = match.end()
    download = f"\n[Notebook]({name}.ipynb)\n{{ .downloads }}\n"
    parts[0] = _TITLE.sub(lambda title: title[0] + download, parts[0], count=1)
    return "".join(parts) + text[end:]


def title_of(text: str) -> str:
    """Return the first heading of a page, as words."""
    found = _TITLE.search(_FENCE.sub("", text))
    return CODE_SPAN.sub(r"\1", found[1]).strip() if found else ""


def summary_of(text: str) -> str:
    """Return the first paragraph under the title of a page, its first sentence, as words."""
    words = _FENCE.sub("", _FRONT.sub("", text))
    for part in _TITLE.split(words, maxsplit=1)[-1].split("\n\n"):
        if re.match(r"\s*[\w`*\[\"]", part):
            words = " ".join(CODE_SPAN.sub(r"\1", part).split())
            return re.split(r"(?<=[.:?!]) (?=[A-Z`])", words)[0].rstrip(":")
    return ""
