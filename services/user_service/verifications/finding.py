"""Finds the machine-readable zone among the lines that were read off a document."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from user_service.verifications.mrz import FILLER, SHAPES, Mrz, parse

# What readers take the filler for.
_LIKE_FILLERS: Final = str.maketrans(
    {"«": "<<", "\u2039": "<", "\uff1c": "<", "\u2264": "<", "(": "<", "{": "<", "[": "<"}
)
_OTHER: Final = re.compile(r"[^A-Z0-9<]")
_FILLERS: Final = re.compile(r"<+")
# So many fillers in a row are easily read as more or fewer.
_SLACK: Final = 4
_SHORTEST: Final = min(length for _, length in SHAPES.values()) // 2


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read, from top to bottom of the picture; `score` says how sure, from 0 to 1."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """A zone, and how surely its lines were read."""

    mrz: Mrz
    score: float


def find(lines: Sequence[Line], today: date) -> Found | None:
    """Return the zone with the fewest check digits that do not fit, or None where there is none."""
    cleaned = [Line(_cleaned(line.text), line.score) for line in lines]
    found = list(_candidates([line for line in cleaned if len(line.text) >= _SHORTEST], today))
    return min(found, key=lambda one: (len(one.mrz.failed), -one.score), default=None)


def _candidates(lines: Sequence[Line], today: date) -> Iterator[Found]:
    for count, length in SHAPES.values():
        for start in range(len(lines) - count + 1):
            chosen = lines[start : start + count]
            fitted = [_fitted(line.text, length) for line in chosen]
            if all(fitted):
                texts = [text for text in fitted if text is not None]
                yield Found(parse(texts, today), sum(line.score for line in chosen) / count)


def _cleaned(text: str) -> str:
    return _OTHER.sub("", text.upper().translate(_LIKE_FILLERS))


def _fitted(text: str, length: int) -> str | None:
    """Return the line with so many fillers in its longest run that it fits; None where that is far."""
    missing = length - len(text)
    # What follows the names is fillers alone, and few of them may have been read.
    most = length // 2 if text.endswith(FILLER * 2) else _SLACK
    if missing > most or -missing > _SLACK:
        return None
    if missing == 0:
        return text
    run = max(_FILLERS.finditer(text), key=lambda one: len(one[0]), default=None)
    if run is None or len(run[0]) + missing < 1:
        return None
    return text[: run.start()] + FILLER * (len(run[0]) + missing) + text[run.end() :]
