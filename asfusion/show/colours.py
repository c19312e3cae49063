"""Colours that stay apart for colour-blind eyes and in grey print."""

from __future__ import annotations

# Okabe and Ito's palette, without its yellow, which is too light for lines.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
GREY = "#767676"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
LINES = ("-", "--", "-.", ":")

# What raises an output and what lowers it: the ends of ColorBrewer's PuOr, which is `DIVERGING`
# in between. A brighter pair stands on dark films.
RAISES, LOWERS = "#E66101", "#5E3C99"
RAISES_ON_FILM, LOWERS_ON_FILM = "#F07A10", "#8B6CF0"
DIVERGING = "PuOr_r"
DARK_GREY, PALE_GREY = "#5A5A5A", "#B0B0B0"
