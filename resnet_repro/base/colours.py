"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

from __future__ import annotations

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "OF_CLASSES",
    "ORANGE",
    "PURPLE",
    "SKY_BLUE",
    "VERMILLION",
    "YELLOW",
]

BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

OF_CLASSES = (ORANGE, SKY_BLUE, GREEN, YELLOW, PURPLE, VERMILLION, BLUE)  # boxes of objects
