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
