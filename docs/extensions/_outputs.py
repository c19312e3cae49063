"""Write what a cell has printed, returned and drawn as Markdown."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass, field
from typing import Any

from _notebooks import ESCAPES

_ADDRESS = re.compile(r"<[\w.]+ (?:object )?at 0x[0-9a-f]+>")


@dataclass
class Shown:
    """What the cells of one page show: text, pictures, and HTML that is not for Markdown."""

    title: str
    page: str = ""  # where it stands; two pages may have one file name
    pictures: dict[str, bytes] = field(default_factory=dict)
    html: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)  # of texts and tables, as text

    def of(self, cell: Any, name: str) -> str:
        """Return the outputs of one cell as Markdown; ``name`` is that of its files."""
        parts = (self._one(out, f"{name}-{place}") for place, out in enumerate(cell.outputs))
        return "\n\n".join(part for part in parts if part)

    def _one(self, output: Any, name: str) -> str:
        if output.output_type == "stream":
            return self._text(output.text)
        data = output.get("data", {})
        if "text/html" in data:
            place = f"{self.page}:{name}"
            self.html[place] = data["text/html"]
            if 'class="dataframe"' in data["text/html"]:
                self.previews.append(data.get("text/plain", ""))
            return f"<!-- {place} -->"
        if "image/png" in data:
            self.pictures[f"{name}.png"] = base64.b64decode(data["image/png"])
            width = output.get("metadata", {}).get("image/png", {}).get("width")
            size = f" width={width}" if width else ""
            words = html.escape(f"Figure of the page: {self.title}")
            return f'![{words}]({name}.png){{ .output loading="lazy"{size} }}'
        return self._text(data.get("text/plain", ""))

    def _text(self, text: str) -> str:
        text = ESCAPES.sub("", text).rstrip()
        if not text or _ADDRESS.fullmatch(text):  # an object that says where it lies
            return ""
        self.texts.append(text)
        self.previews.append(text)
        return f"```{{ .text .output }}\n{text}\n```"
