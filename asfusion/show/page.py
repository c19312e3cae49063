"""Pages that need nothing but themselves: no script, no request, every text escaped."""

from __future__ import annotations

import base64
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from pathlib import Path

from asfusion._files import write_file
from asfusion.show.colours import LOWERS_ON_FILM, RAISES, RED

RESEARCH_TOOL = "asfusion is a research tool, not a medical device."

_STYLE = f"""
.asfusion {{ font: 14px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; max-width: 62rem; }}
.asfusion h1, .asfusion h2 {{ font-weight: 600; line-height: 1.2; }}
.asfusion h1 {{ font-size: 1.5rem; margin: 0 0 .3rem; }}
.asfusion h2 {{ font-size: 1.05rem; margin: 1.4rem 0 .4rem; }}
.asfusion table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
.asfusion th, .asfusion td {{ padding: .15rem .9rem .15rem 0; text-align: right; }}
.asfusion th, .asfusion td {{ white-space: nowrap; }}
.asfusion th:first-child, .asfusion td:first-child {{ text-align: left; }}
.asfusion thead th {{ border-bottom: 1px solid currentColor; font-weight: 600; }}
.asfusion tbody tr:nth-child(even) {{ background: rgb(127 127 127 / 8%); }}
.asfusion .prose th, .asfusion .prose td {{ text-align: left; white-space: normal; }}
.asfusion .prose td {{ vertical-align: top; max-width: 30rem; }}
.asfusion p {{ margin: .3rem 0; max-width: 46rem; }}
.asfusion .note {{ opacity: .75; font-size: 12.5px; }}
.asfusion .verdict {{ font-weight: 600; }}
.asfusion .lead {{ font-size: 16px; }}
.asfusion ul.told, .asfusion ul.told ul {{ list-style: none; margin: .3rem 0; padding: 0; }}
.asfusion ul.told ul {{ margin: .1rem 0 .5rem; }}
.asfusion ul.told li {{ margin: .12rem 0; padding-left: 1.2rem; position: relative; }}
.asfusion ul.told strong {{ font-weight: 600; }}
.asfusion ul.told li.raised::before {{ content: "\\25B2"; color: {RAISES}; }}
.asfusion ul.told li.lowered::before {{ content: "\\25BC"; color: {LOWERS_ON_FILM}; }}
.asfusion ul.told li::before {{ position: absolute; left: 0; top: .15rem; font-size: 11px; }}
.asfusion .scroll {{ overflow-x: auto; margin: .4rem 0; }}
.asfusion .failed {{ border-left: 4px solid {RED}; padding-left: .8rem; margin: .8rem 0; }}
.asfusion img {{ max-width: 100%; background: white; border-radius: 3px; }}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>body {{ margin: 2rem auto; padding: 0 1rem; max-width: 64rem; }}</style>
</head>
<body>
{body}
</body>
</html>
"""


class Page(ABC):
    """A result that prints, shows itself in a notebook, and is written as a page of its own.

    A result says what the page is called (`_title`), what it is as text (`_text`) and the parts
    of the page, which are HTML already (`_body`). As a data class it needs ``repr=False``, or
    its fields are printed instead.
    """

    def __repr__(self) -> str:
        """Return the result as text."""
        return self._text()

    def _repr_html_(self) -> str:
        """Return the result as HTML, to stand in a notebook."""
        return fragment(self._body())

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as one page that needs no other file and no network.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced.

        Returns
        -------
        Path
            The file.
        """
        text = page(self._title(), self._whole())
        write_file(Path(path), text.encode("utf-8"))
        return Path(path)

    @abstractmethod
    def _title(self) -> str:
        """Return the title of the window."""

    @abstractmethod
    def _text(self) -> str:
        """Return what stands in a terminal."""

    def _whole(self) -> str:
        """Return what a page of its own holds: what a notebook shows."""
        return self._repr_html_()

    @abstractmethod
    def _body(self) -> list[str]:
        """Return the parts of the page."""


def page(title: str, body: str) -> str:
    """Return a whole page around a fragment that is HTML already."""
    return _PAGE.format(title=escape(title), body=body)


def fragment(parts: Sequence[str]) -> str:
    """Return parts that are HTML already, with their style, to stand in a notebook."""
    return f'<style>{_STYLE}</style>\n<div class="asfusion">\n' + "\n".join(parts) + "\n</div>"


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is a class of the style."""
    attribute = f' class="{escape(kind)}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain texts."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def picture(svg: bytes, description: str) -> str:
    """Return an SVG picture inside the page; as an image, nothing in it can run."""
    data = base64.b64encode(svg).decode("ascii")
    return f'<img alt="{escape(description)}" src="data:image/svg+xml;base64,{data}">'


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for the terminal, the first column to the left, others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
