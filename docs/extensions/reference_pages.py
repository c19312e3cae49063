"""Give each class of the reference a page of its own, and say where a name is used.

A hook of MkDocs. The pages of ``docs/reference/`` name what is public, one ``:::`` each. A class
moves from there to a page below, with its methods, what is like it, and the how-tos and examples
that use it; in its place stands its first sentence.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _examples
import _pages
from _notebooks import ROOT, Job
from mkdocs.structure.files import File, Files

REFERENCE = ROOT / "docs" / "reference"
_ENTRY = re.compile(r"^::: (?P<path>\S+)\n(?P<options>(?:[ ]+\S.*\n)*)", re.M)
_WORDS = re.compile(r"[A-Z][a-z0-9]*|[a-z0-9]+")


@dataclass(frozen=True)
class Entry:
    """One name on a page of the reference, and the options of how it is shown."""

    path: str
    room: str
    options: str

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def uri(self) -> str:
        """Return where its own page stands, if it is a class."""
        return f"reference/{self.room}/{self.name}.md"


# -- what MkDocs calls -------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Put the pages of classes below their room in the navigation."""
    for entry in config.nav or []:
        for title, below in entry.items() if isinstance(entry, dict) else ():
            if title == "Reference":
                entry[title] = [_with_classes(room) for room in below]
    return config


def _with_classes(room: Any) -> Any:
    if isinstance(room, str):
        return room
    ((title, page),) = room.items()
    found = [entry.uri for entry in _classes() if entry.room == Path(page).stem]
    return {title: [{"Overview": page}, *found]} if found else room


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each class."""
    for entry in _classes():
        files.append(File.generated(config, entry.uri, content=class_page(entry)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show the first sentence of a class in its place, and below a function who uses it."""
    path = Path(page.file.src_uri)
    if path.parent.as_posix() != "reference":
        return markdown
    text = _ENTRY.sub(functools.partial(_in_room, room=path.stem), f"{markdown}\n")
    return re.sub(r"(?m)^(- \[`.*)\n\n(?=- \[`)", r"\1\n", text)  # one list, not several


def _in_room(match: re.Match[str], room: str) -> str:
    entry = Entry(match["path"], room, match["options"])
    if entry in _classes():
        return f"- [`{entry.name}`]({room}/{entry.name}.md): {_first_sentence(entry)}\n"
    used = _links(entry, up="../")
    return f"{match[0]}\n*Used in* {used}.\n{{ .used }}\n" if used else match[0]


# -- parts -------------------------------------------------------------------------------


@functools.cache
def _entries() -> tuple[Entry, ...]:
    pages = sorted(REFERENCE.glob("*.md"))
    texts = ((page.stem, f"{page.read_text(encoding='utf-8')}\n") for page in pages)
    return tuple(
        Entry(match["path"], room, match["options"])
        for room, text in texts
        for match in _ENTRY.finditer(text)
    )


@functools.cache
def _classes() -> tuple[Entry, ...]:
    return tuple(entry for entry in _entries() if inspect.isclass(_resolved(entry.path)))


def _resolved(path: str) -> Any:
    """Return what a dotted path names: a module, or something in one."""
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(_resolved(module), name)


def _first_sentence(entry: Entry) -> str:
    return (inspect.getdoc(_resolved(entry.path)) or "").split("\n\n")[0].replace("\n", " ")


def class_page(entry: Entry) -> str:
    """Return the page of one class as Markdown."""
    options = entry.options or "    options:\n"
    parts = [
        f"---\ntitle: {entry.name}\n---\n",
        f"::: {entry.path}\n{options}      heading_level: 1",
    ]
    alike = ", ".join(f"[`{e.name}`](../../{e.uri})" for e in _alike(entry))
    used = _links(entry, up="../../")
    parts += [f"## See also {{ #see-also }}\n\n{alike}"] if alike else []
    parts += [f"## Used in {{ #used-in }}\n\n{used}"] if used else []
    return "\n\n".join(parts) + "\n"


def _alike(entry: Entry) -> Iterator[Entry]:
    """Find classes whose names differ in one word: another family, another kind of target."""
    words = _WORDS.findall(entry.name)
    for other in _classes():
        theirs = _WORDS.findall(other.name)
        if len(theirs) == len(words) > 1:
            differ = sum(a != b for a, b in zip(words, theirs, strict=True))
            if differ == 1:
                yield other


def _links(entry: Entry, up: str) -> str:
    """Return links to the pages that use a name."""
    return ", ".join(f"[{title}]({up}{uri})" for uri, title in sorted(_uses()[entry.path]))


@functools.cache
def _uses() -> defaultdict[str, set[tuple[str, str]]]:
    """Return for each dotted name the pages whose code has it, with their titles."""
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for job, uri, title in _read():
        for name in names_in("\n".join(cell.source for cell in job.code)):
            found[name].add((uri, title))
    return found


def _read() -> Iterator[tuple[Job, str, str]]:
    docs = ROOT / "docs"
    for page in [docs / "getting-started.md", *sorted((docs / "how-to").glob("*.md"))]:
        job = _pages.job_of(page)
        if job is not None:
            title = _pages.title_of(page.read_text(encoding="utf-8"))
            yield job, page.relative_to(docs).as_posix(), title
    for script in _examples.scripts():
        job = _examples.job_of(script)
        yield job, f"examples/{script.stem}.md", _examples.page_of(job).title


def names_in(code: str) -> set[str]:
    """Return what code uses of asfusion, as dotted names."""
    tree, known, found = ast.parse(code), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname or a.name: a.name for a in node.names if a.name == "asfusion"}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asfusion"):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        first, _, rest = _dotted(node).partition(".")
        if first in known:
            found.add(".".join(filter(None, (known[first], rest))))
    return found


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""
