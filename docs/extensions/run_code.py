"""Run the examples and the blocks of every page, and show what they print and draw.

A hook of MkDocs. Code that fails ends the build: this is the test of the documentation, and
``tests/test_docs.py`` takes what ran from where it is kept (see ``_notebooks.py``). Each example
and each page with code can be downloaded as a notebook.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _examples
import _gallery
import _notebooks
import _pages
import nbformat
from _outputs import Shown
from mkdocs.structure.files import File, Files

DOCS = _notebooks.ROOT / "docs"
_EXAMPLES = "examples/index.md"
_JOBS: dict[str, _notebooks.Job] = {}
_HTML: dict[str, str] = {}
_CARDS: dict[str, _gallery.Card] = {}
_GROUPS: dict[str, list[str]] = {}


def on_config(config: Any) -> Any:
    """Put a page for each script below the entry ``examples/index.md`` of the navigation."""
    pages = [_EXAMPLES, *(f"examples/{s.stem}.md" for s in _examples.scripts())]
    for entry in config.nav or []:
        if isinstance(entry, dict) and entry.get("Examples") == _EXAMPLES:
            entry["Examples"] = pages
    _GROUPS.update(_gallery.groups_of(config.nav or []))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Run everything, several at once, and add pages, pictures and notebooks to the site."""
    examples = [_examples.job_of(script) for script in _examples.scripts()]
    pages = page_jobs()
    _notebooks.run_all([*examples, *pages])
    added: dict[str, str | bytes] = {}
    for job in examples:
        added |= _example(job)
    for job in pages:
        if job.name.startswith("docs/"):
            added |= _page(job)
    for card in _CARDS.values():
        added |= _thumb(card)
    for name, content in added.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show outputs below their blocks, and cards where a page asks for them."""
    uri = page.file.src_uri
    if uri in _JOBS:
        job = _JOBS[uri]
        markdown = _pages.with_outputs(markdown, job, Shown(_pages.title_of(markdown), uri))
    if "<!-- gallery -->" in markdown:
        markdown = markdown.replace("<!-- gallery -->", _gallery.gallery(_GROUPS, _CARDS))
    if "<!-- examples -->" in markdown:
        cards = [card for uri, card in _CARDS.items() if uri.startswith("examples/")]
        markdown = markdown.replace("<!-- examples -->", _gallery.rows(cards, up="../"))
    return markdown


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Put what notebooks draw as HTML where its place was kept."""
    for place, shown in _HTML.items():
        content = content.replace(f"<!-- {place} -->", shown)
    return content


def page_jobs() -> list[_notebooks.Job]:
    """Return the pages with code that runs, the README first."""
    pages = [_notebooks.ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [job for page in pages if (job := _pages.job_of(page)) is not None]


def _example(job: _notebooks.Job) -> dict[str, str | bytes]:
    page, script = _examples.page_of(job), Path(job.name)
    uri = f"examples/{script.stem}.md"
    source = (_notebooks.ROOT / job.name).read_text(encoding="utf-8")
    added: dict[str, str | bytes] = {uri: page.text, job.name: source}
    return added | _shown(uri, job, page.shown, page.summary)


def _page(job: _notebooks.Job) -> dict[str, str | bytes]:
    uri = job.name.removeprefix("docs/")
    text = (_notebooks.ROOT / job.name).read_text(encoding="utf-8")
    shown = Shown(_pages.title_of(text), uri)
    _pages.with_outputs(text, job, shown)
    _JOBS[uri] = job
    return _shown(uri, job, shown, _pages.summary_of(text))


def _shown(uri: str, job: _notebooks.Job, shown: Shown, summary: str) -> dict[str, str | bytes]:
    """Return the notebook and the pictures of a page, and note its HTML and its card."""
    folder = Path(uri).parent
    _HTML.update({place: f'<div class="output">{part}</div>' for place, part in shown.html.items()})
    if folder.name in ("how-to", "examples") or uri == "getting-started.md":
        _CARDS[uri] = _gallery.card_of(uri, shown, summary)
    added: dict[str, str | bytes] = {
        (folder / name).as_posix(): picture for name, picture in shown.pictures.items()
    }
    added[Path(uri).with_suffix(".ipynb").as_posix()] = nbformat.writes(job.notebook)
    return added


def _thumb(card: _gallery.Card) -> dict[str, str | bytes]:
    if card.picture is not None:
        return {f"thumbs/{card.name}": card.picture[1]}
    _HTML[f"thumb-{card.name}"] = card.text_thumb()
    return {}
