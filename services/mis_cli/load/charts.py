"""The geometry of the report's charts; the page's template draws them as SVG."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 760
LABELS: Final = 150
# Room for a number at the right of the longest bar.
_RIGHT: Final = 70
_ROW: Final = 24
_TOP: Final = 8
_AXIS: Final = 26
_CURVE_HEIGHT: Final = 180
_CURVE_LEFT: Final = 50
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A value in a row, or None's absence: where it is, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row of marks, from the smallest to the largest value."""

    label: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A chart of rows over one axis."""

    height: int
    bottom: int
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over time, with its ticks on both axes; `area` is the curve closed to the ground."""

    height: int
    bottom: int
    left: int
    line: str
    area: str
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]


def rows_of(given: Iterable[tuple[str, Sequence[float | None]]], digits: int = 0) -> Rows:
    """Return a chart of a row for each label and its values, which may be missing."""
    labelled = list(given)
    most = max((value for _, values in labelled for value in values if value is not None), default=0.0)
    steps = steps_to(most)
    scale = (WIDTH - LABELS - _RIGHT) / steps[-1]
    rows = tuple(
        Row(label, _TOP + _ROW * (number + 0.5), tuple(_marks(values, scale, digits)))
        for number, (label, values) in enumerate(labelled)
    )
    bottom = _TOP + _ROW * len(rows)
    ticks = tuple(Tick(LABELS + step * scale, f"{step:,.10g}") for step in steps)
    return Rows(bottom + _AXIS, bottom, rows, ticks)


def curve_of(values: Sequence[int]) -> Curve:
    """Return the curve of a value for each second."""
    bottom, left = _CURVE_HEIGHT - _AXIS, _CURVE_LEFT
    upward = steps_to(max(values, default=0))
    across = steps_to(max(len(values) - 1, 1))
    up, along = (bottom - _TOP) / upward[-1], (WIDTH - left - _RIGHT) / across[-1]
    points = [f"{left + second * along:.1f},{bottom - value * up:.1f}" for second, value in enumerate(values)]
    last = left + max(len(values) - 1, 0) * along
    return Curve(
        _CURVE_HEIGHT,
        bottom,
        left,
        "M" + " L".join(points) if points else "",
        f"M{left},{bottom} L{' L'.join(points)} L{last:.1f},{bottom} Z" if points else "",
        tuple(Tick(left + step * along, f"{step:g} s") for step in across),
        tuple(Tick(bottom - step * up, f"{step:,.10g}") for step in upward),
    )


def steps_to(most: float) -> list[float]:
    """Return even, round steps from 0 to the first one that is not below `most`: three to six of them."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / 5
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in _STEPS if size * factor >= rough)
    return [step * number for number in range(ceil(most / step) + 1)]


def _marks(values: Sequence[float | None], scale: float, digits: int) -> Iterable[Mark]:
    for value in values:
        if value is not None:
            yield Mark(LABELS + value * scale, f"{value:,.{digits}f}")
