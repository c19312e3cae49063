"""Run the scripts of ``examples/`` as notebooks, and make a page of each with what it shows.

A hook of MkDocs. Scripts are in the percent format (``# %%`` begins a cell), read by jupytext and
run by nbclient, each in a folder of its own. A kernel runs several of them and forgets every name
in between, because imports take as long as many a script. A script that fails ends the build: this
is the test of the examples. What ran is kept in ``.examples_cache/`` until the script or the
package changes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".examples_cache"
CELL_TIMEOUT_S = 600  # whole scripts take seconds; a busy machine is slower

_log = logging.getLogger("mkdocs.hooks.run_examples")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_SHARED: dict[str, Any] = {"html": {}}


@dataclass
class Page:
    """One example as Markdown, with its pictures, and the HTML that Markdown must not touch."""

    title: str
    summary: str
    text: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    html: dict[str, str] = field(default_factory=dict)


# -- what MkDocs calls -------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Put a page for each script below the entry ``examples/index.md`` of the navigation."""
    pages = ["examples/index.md", *(f"examples/{s.stem}.md" for s in scripts())]
    for entry in config.nav or []:
        if isinstance(entry, dict) and entry.get("Examples") == "examples/index.md":
            entry["Examples"] = pages
    return config


def on_files(files: Files, config: Any) -> Files:
    """Run the scripts, several at once, and add their pages to the site."""
    found = scripts()
    CACHE.mkdir(exist_ok=True)
    notebooks = all_executed(found)
    rows = []
    for script, notebook in zip(found, notebooks, strict=True):
        page = page_of(notebook, script)
        rows.append(f"| [{page.title}]({script.stem}.md) | {page.summary} |")
        _SHARED["html"].update(page.html)
        added: dict[str, str | bytes] = {
            f"examples/{script.stem}.md": page.text,
            f"examples/{script.name}": script.read_text(encoding="utf-8"),
            f"examples/{script.stem}.ipynb": nbformat.writes(notebook),
            **{f"examples/{name}": picture for name, picture in page.pictures.items()},
        }
        for name, content in added.items():
            files.append(File.generated(config, name, content=content))
    _SHARED["rows"] = "\n".join(rows)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the table of examples where a page asks for it."""
    return markdown.replace("<!-- examples -->", _SHARED["rows"])


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Put what notebooks draw as HTML where its place was kept."""
    for place, shown in _SHARED["html"].items():
        content = content.replace(f"<!-- {place} -->", f'<div class="output">{shown}</div>')
    return content


# -- parts -------------------------------------------------------------------------------


def scripts() -> list[Path]:
    """Return the examples in the order of their numbers."""
    return sorted((ROOT / "examples").glob("*.py"))


def all_executed(found: list[Path]) -> list[nbformat.NotebookNode]:
    """Return scripts as notebooks that ran, those from the cache that have not changed."""
    notebooks = {script: _kept(script) for script in found}
    waiting = [script for script, notebook in notebooks.items() if notebook is None]
    n_kernels = min(4, os.cpu_count() or 1, len(waiting))
    with ThreadPoolExecutor(max(n_kernels, 1)) as pool:
        for ran in pool.map(_run_while_some_wait, [iter(waiting)] * n_kernels):
            notebooks |= ran
    return [notebooks[script] for script in found]


def _kept(script: Path) -> nbformat.NotebookNode | None:
    kept = _place(script)
    return nbformat.read(kept, as_version=4) if kept.exists() else None


def _place(script: Path) -> Path:
    return CACHE / f"{script.stem}-{_digest(script)}.ipynb"


def _run_while_some_wait(waiting: Iterator[Path]) -> dict[Path, nbformat.NotebookNode]:
    """Run scripts that other threads take from the same iterator, and keep what they show."""
    ran = {}
    with a_kernel() as run_one:
        for script in waiting:
            begun = time.perf_counter()
            ran[script] = run_one(script)
            _log.info("examples/%s ran in %.0f s", script.name, time.perf_counter() - begun)
            for old in CACHE.glob(f"{script.stem}-*.ipynb"):
                old.unlink()
            nbformat.write(ran[script], _place(script))
    return ran


def run(script: Path) -> nbformat.NotebookNode:
    """Run one script, cell by cell, in an empty folder."""
    with a_kernel() as run_one:
        return run_one(script)


@contextmanager
def a_kernel() -> Iterator[Callable[[Path], nbformat.NotebookNode]]:
    """Give what runs a script in a kernel that lives as long as the block."""
    with tempfile.TemporaryDirectory() as sockets:
        settings = Config()
        settings.KernelManager.transport = "ipc"  # no port is opened
        settings.KernelManager.ip = f"{sockets}/kernel"  # the kernel has another working folder
        environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
        environment |= {
            "IPYTHONDIR": sockets,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        client = NotebookClient(
            nbformat.v4.new_notebook(),
            timeout=CELL_TIMEOUT_S,
            startup_timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            config=settings,
        )
        with client.setup_kernel(env=environment):
            yield functools.partial(_run_in, client)


def _run_in(client: NotebookClient, script: Path) -> nbformat.NotebookNode:
    """Run one script where others may have run, as if it were the first."""
    notebook = jupytext.read(script)
    with tempfile.TemporaryDirectory() as folder:
        begin = f"import os; os.chdir({folder!r}); get_ipython().reset(new_session=True)"
        first = nbformat.v4.new_code_cell(begin)
        client.nb = nbformat.v4.new_notebook(cells=[first])
        try:
            client.execute_cell(first, 0, store_history=False)
            client.nb = notebook
            client.execute(cleanup_kc=False)
        except (CellExecutionError, CellTimeoutError) as error:
            told = _ESCAPES.sub("", str(error))
            raise PluginError(f"examples/{script.name} failed:\n{told[-3000:]}") from None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_noise(output)]
    return notebook


def _is_noise(output: Any) -> bool:
    """Tell progress bars, and warnings about them, from what a reader should see."""
    if output.get("name") != "stderr":
        return False
    warned = re.findall(r"AsfusionWarning: .*", output.text)
    output.text = "\n".join(warned)
    return not warned


def page_of(notebook: nbformat.NotebookNode, script: Path) -> Page:
    """Return the page of a notebook that ran."""
    first = notebook.cells[0].source if notebook.cells else ""
    title, _, rest = first.partition("\n")
    if notebook.cells[0].cell_type != "markdown" or not title.startswith("# "):
        msg = f"examples/{script.name}: expected a first cell '# %% [markdown]' with '# # Title'."
        raise PluginError(msg)
    summary = rest.strip().split("\n\n")[0].replace("\n", " ")
    page = Page(title.removeprefix("# "), summary, "")
    parts = [title, f"[Script]({script.name}) · [Notebook]({script.stem}.ipynb)\n{{ .downloads }}"]
    if rest.strip():
        parts.append(rest.strip())
    for number, cell in enumerate(notebook.cells[1:], start=1):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        if cell.source.strip():
            parts.append(f"```python\n{cell.source}\n```")
        for place, output in enumerate(cell.outputs):
            parts.append(_shown(output, f"{script.stem}-{number}-{place}", page))
    page.text = "\n\n".join(part for part in parts if part) + "\n"
    return page


def _shown(output: Any, name: str, page: Page) -> str:
    """Return one output as Markdown; what Markdown cannot hold goes to the page."""
    if output.output_type == "stream":
        return _text_block(output.text)
    data = output.get("data", {})
    if "text/html" in data:
        page.html[name] = data["text/html"]
        return f"<!-- {name} -->"
    if "image/png" in data:
        page.pictures[f"{name}.png"] = base64.b64decode(data["image/png"])
        words = html.escape(f"Figure of the example: {page.title}")
        return f'![{words}]({name}.png){{ .output loading="lazy" }}'
    return _text_block(data.get("text/plain", ""))


def _text_block(text: str) -> str:
    text = _ESCAPES.sub("", text).rstrip()
    return f"```{{ .text .output }}\n{text}\n```" if text else ""


def _digest(script: Path) -> str:
    """Return a hash of the script and of every module that it could import."""
    hashed = hashlib.sha256()
    package = ROOT / "asfusion"  # where caches of what was compiled come and go, too
    modules = [*package.rglob("*.py"), *package.rglob("*.pyi")]
    for file in (script, ROOT / "constraints.txt", *sorted(modules)):
        hashed.update(file.read_bytes())
    return hashed.hexdigest()[:16]
