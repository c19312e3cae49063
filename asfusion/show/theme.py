"""Colours of pages in light and in dark, as the notebook, the site or the system has it.

A panel brings its own paper: a notebook that stays white while the system is dark is legible, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Each ink reads on each paper: a test holds their contrast.
INKS: Final = ("ink", "quiet", "set", "raises", "lowers", "held", "failed")
PAPERS: Final = ("paper", "panel")

LIGHT: Final[Mapping[str, str]] = {
    "paper": "#ffffff",
    "panel": "#f4f6f9",
    "line": "#c3cad3",
    "ink": "#1d2229",
    "quiet": "#56606c",
    "set": "#0b4f9c",
    "raises": "#a84300",
    "lowers": "#5e3c99",
    "held": "#116b34",
    "failed": "#ab1b2d",
}
DARK: Final[Mapping[str, str]] = {
    "paper": "#14181e",
    "panel": "#1e242c",
    "line": "#4a5461",
    "ink": "#e8ecf1",
    "quiet": "#a6b0bc",
    "set": "#85beff",
    "raises": "#ffab66",
    "lowers": "#c3abff",
    "held": "#6fd694",
    "failed": "#ff9095",
}

# Where a page says which it is: JupyterLab, VS Code, MkDocs Material, Sphinx themes.
_IS_LIGHT = (
    '[data-jp-theme-light="true"]',
    ".vscode-light",
    '[data-md-color-scheme="default"]',
    'html[data-theme="light"]',
)
_IS_DARK = (
    '[data-jp-theme-light="false"]',
    ".vscode-dark",
    ".vscode-high-contrast:not(.vscode-high-contrast-light)",
    '[data-md-color-scheme="slate"]',
    'html[data-theme="dark"]',
)


def variables(selector: str) -> str:
    """Return the style that gives a selector its colours, as variables ``--af-ink`` and so on."""
    dark = _rule(selector, DARK)
    return "\n".join(
        [
            _rule(selector, LIGHT),
            f"@media (prefers-color-scheme: dark) {{ {dark} }}",
            _rule(", ".join(f"{where} {selector}" for where in _IS_LIGHT), LIGHT),
            _rule(", ".join(f"{where} {selector}" for where in _IS_DARK), DARK),
        ]
    )


def _rule(selector: str, colours: Mapping[str, str]) -> str:
    given = " ".join(f"--af-{name}: {colour};" for name, colour in colours.items())
    scheme = "dark" if colours is DARK else "light"
    return f"{selector} {{ color-scheme: {scheme}; {given} }}"
