"""Colours, and whether they can be told apart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_HEX: Final = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)


class ColorRole(StrEnum):
    """What a colour is for."""

    PRIMARY = "primary"
    ACCENT = "accent"
    BACKGROUND = "background"
    TEXT = "text"


Colors = Mapping[ColorRole, str]

DEFAULTS: Final[Colors] = MappingProxyType(
    {
        ColorRole.PRIMARY: "#1d4ed8",
        ColorRole.ACCENT: "#0f766e",
        ColorRole.BACKGROUND: "#ffffff",
        ColorRole.TEXT: "#1f2937",
    }
)

# What WCAG 2.2 asks: 4.5 of text (§1.4.3), 3 of what only has to be seen (§1.4.11).
_PAIRS: Final = (
    (ColorRole.TEXT, ColorRole.BACKGROUND, 4.5),
    (ColorRole.PRIMARY, ColorRole.BACKGROUND, 3.0),
    (ColorRole.ACCENT, ColorRole.BACKGROUND, 3.0),
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """How far a colour stands out from another one, between 1 and 21, and how far it should."""

    foreground: ColorRole
    background: ColorRole
    ratio: float
    required: float

    @property
    def passes(self) -> bool:
        """Whether people with low vision can tell them apart."""
        return self.ratio >= self.required


def parse_color(text: str) -> str:
    """Return the colour as `#rrggbb` in lower case; raise ValueError where it is no hexadecimal colour."""
    if not _HEX.fullmatch(text):
        raise ValueError(text)
    digits = text[1:].lower()
    return "#" + ("".join(2 * digit for digit in digits) if len(digits) == 3 else digits)


def contrasts(colors: Colors) -> list[Contrast]:
    """Return how the colours, with the defaults for those left out, stand out from their background."""
    whole = {**DEFAULTS, **colors}
    return [
        Contrast(front, back, round(contrast_ratio(whole[front], whole[back]), 2), required)
        for front, back, required in _PAIRS
    ]


def contrast_ratio(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """Return the relative luminance (WCAG 2.2)."""
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
