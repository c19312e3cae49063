"""Draw the gallery: a card for each how-to and example, with the first thing that it shows."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from _outputs import Shown
from PIL import Image

WIDTH, HEIGHT = 480, 300  # of a thumbnail, which is shown at half of it
ICON = 4_000  # bytes; what is smaller is no plot
N_LINES = 11  # of text in place of a picture
_EMBEDDED = re.compile(r"data:image/(png|svg)[+xml]*;base64,([A-Za-z0-9+/=]+)")


@dataclass
class Card:
    """One page of the gallery; ``uri`` is that of its Markdown."""

    uri: str
    title: str
    summary: str
    picture: tuple[str, bytes] | None
    text: str

    @property
    def name(self) -> str:
        """Return what its thumbnail is called."""
        name = self.uri.removesuffix(".md").replace("/", "-")
        return f"{name}.{self.picture[0]}" if self.picture else name

    def markdown(self, up: str) -> str:
        """Return the card as Markdown, for a page ``up`` from the root of the site."""
        thumb = f"<!-- thumb-{self.name} -->"
        if self.picture is not None:
            thumb = f'![]({up}thumbs/{self.name}){{ .thumb loading="lazy" }}'
        title, summary = html.escape(self.title), html.escape(self.summary)
        words = f'<strong>{title}</strong><span class="summary">{summary}</span>'
        return f"[{thumb} {words}]({up}{self.uri}){{ .card }}"

    def text_thumb(self) -> str:
        """Return the first lines that the page prints, in place of a picture."""
        lines = "\n".join(self.text.splitlines()[:N_LINES])
        return f'<span class="thumb" aria-hidden="true">{html.escape(lines)}</span>'


def card_of(uri: str, shown: Shown, summary: str) -> Card:
    """Return the card of a page that ran."""
    text = max(shown.previews[:3], key=len, default="")
    return Card(uri, shown.title, summary, _thumbnail(shown), text)


def _thumbnail(shown: Shown) -> tuple[str, bytes] | None:
    """Return the first picture of a page and its kind; pixels are made few."""
    kind, found = next(_pictures(shown), ("", b""))
    return (kind, _small(found) if kind == "png" else found) if kind else None


def _small(png: bytes) -> bytes:
    """Return a picture in the size of a card; a tall one is cut below."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH, 4 * HEIGHT))
    picture = picture.crop((0, 0, picture.width, min(picture.height, HEIGHT)))
    written = io.BytesIO()
    picture.quantize(96, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return written.getvalue()


def _pictures(shown: Shown) -> Iterator[tuple[str, bytes]]:
    """Find pictures of their own and those within HTML, icons excepted."""
    yield from (("png", picture) for picture in shown.pictures.values())
    for page in shown.html.values():
        found = ((kind, base64.b64decode(text)) for kind, text in _EMBEDDED.findall(page))
        yield from ((kind, picture) for kind, picture in found if len(picture) > ICON)


def groups_of(nav: list[Any]) -> dict[str, list[str]]:
    """Return the pages of each entry of the navigation, in order."""
    found: dict[str, list[str]] = {}
    for entry in nav:
        for title, below in entry.items() if isinstance(entry, dict) else ():
            found[title] = list(_leaves(below))
    return found


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
        return
    for below in entry.values() if isinstance(entry, dict) else entry:
        yield from _leaves(below)


def gallery(groups: dict[str, list[str]], cards: dict[str, Card]) -> str:
    """Return the whole gallery, group by group."""
    shown = {title: [cards[p] for p in pages if p in cards] for title, pages in groups.items()}
    parts = [f"## {title}\n\n{rows(found)}" for title, found in shown.items() if found]
    return "\n\n".join(parts)


def rows(cards: Iterable[Card], up: str = "") -> str:
    """Return cards side by side."""
    inner = "\n".join(card.markdown(up) for card in cards)
    return f'<div class="gallery" markdown>\n\n{inner}\n\n</div>'
