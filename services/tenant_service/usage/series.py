"""The points of a usage series, written as JSON straight from the ledger's numbers.

They say what `PointOut` says (a test compares the two). A year has hundreds of points, so numbers stay in
columns and hours are counted since 1970 until the points are made: building models, or a row for each day on
the way, would cost more than all the rest of the request.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tenant_service.usage.history import History
from tenant_service.usage.ranges import HOUR, TimeRange
from tenant_service.usage.repository import Tallies
from tenant_service.usage.schemas import UsageSummary

_ENCODER: Final = msgspec.json.Encoder()


class Point(msgspec.Struct, rename="camel", gc=False):
    """One point, whose moment is in UTC and on the hour."""

    start: datetime
    requests: int
    errors: int
    users: int
    storage_bytes: int


def series(asked: TimeRange, tallies: Tallies, history: History) -> list[Point]:
    """Return the range's points."""
    edges = asked.edges()
    starts, ends = edges[:-1], edges[1:]
    places = _places(asked, edges[0], tallies.starts)
    held = list(history.before(ends))
    return list(
        map(
            Point,
            [asked.start + (start - edges[0]) * HOUR for start in starts],
            _filled(places, tallies.requests, len(starts)),
            _filled(places, tallies.errors, len(starts)),
            [level.users for level in held],
            [level.storage_bytes for level in held],
        )
    )


def encoded(summary: UsageSummary, points: Sequence[Point]) -> bytes:
    """Return both as the one body that `UsageOut` describes."""
    return _ENCODER.encode(summary.wire() | {"series": points})


def _places(asked: TimeRange, first: int, starts: Sequence[int]) -> list[int]:
    """Return the number of the point that each tally belongs to.

    A day is a point, and so is each part of one that the range begins or ends with.
    """
    step = 1 if asked.interval == "hour" else 24
    return [start // step - first // step for start in starts]


def _filled(places: Sequence[int], counts: Sequence[int], length: int) -> list[int]:
    """Return the sums of counts by place, 0 where there are none."""
    found = [0] * length
    for place, count in zip(places, counts, strict=True):
        found[place] += count
    return found
