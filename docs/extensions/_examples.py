"""Make a page of each script of ``examples/``, in the percent format, with what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jupytext
from _notebooks import ROOT, Job
from _outputs import Shown
from mkdocs.exceptions import PluginError


@dataclass
class Page:
    """One example as Markdown, with what its cells show."""

    title: str
    summary: str
    text: str
    shown: Shown


def scripts() -> list[Path]:
    """Return the examples in the order of their numbers."""
    return sorted((ROOT / "examples").glob("*.py"))


def job_of(script: Path) -> Job:
    """Return the notebook of a script."""
    return Job(f"examples/{script.name}", jupytext.read(script))


def page_of(job: Job) -> Page:
    """Return the page of a notebook that ran."""
    cells = job.notebook.cells
    title, _, rest = (cells[0].source if cells else "").partition("\n")
    if not title.startswith("# ") or cells[0].cell_type != "markdown":
        msg = f"{job.name}: expected a first cell '# %% [markdown]' with '# # Title'."
        raise PluginError(msg)
    script = Path(job.name)
    shown = Shown(title.removeprefix("# "), job.name)
    parts = [
        title,
        f"[Script]({script.name}) · [Notebook]({script.stem}.ipynb)\n{{ .downloads }}",
        rest.strip(),
    ]
    for number, cell in enumerate(cells[1:], start=1):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```" if cell.source.strip() else "")
        parts.append(shown.of(cell, f"{script.stem}-{number}"))
    summary = rest.strip().split("\n\n")[0].replace("\n", " ")
    text = "\n\n".join(part for part in parts if part) + "\n"
    return Page(shown.title, summary, text, shown)
