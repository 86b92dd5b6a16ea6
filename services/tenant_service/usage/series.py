"""The points of a usage series, written as JSON straight from the ledger's numbers.

They say what `PointOut` says (a test compares the two); building models and letting them be serialised would
cost more for the points of a year than all the rest of the request.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from tenant_service.usage.history import History
from tenant_service.usage.ranges import TimeRange, day_of
from tenant_service.usage.repository import Tally
from tenant_service.usage.schemas import UsageSummary

_ENCODER: Final = msgspec.json.Encoder()


class Point(msgspec.Struct, rename="camel", gc=False):
    """One point, whose moment is in UTC and on the hour."""

    start: datetime
    requests: int
    errors: int
    users: int
    storage_bytes: int


def series(asked: TimeRange, tallies: Sequence[Tally], history: History) -> list[Point]:
    """Return the range's points."""
    requests: dict[datetime, int] = {}
    errors: dict[datetime, int] = {}
    for start, tally in _placed(asked, tallies):
        requests[start] = requests.get(start, 0) + tally.requests
        errors[start] = errors.get(start, 0) + tally.errors
    spans = list(asked.points())
    held = history.before(end for _, end in spans)
    return [
        Point(start, requests.get(start, 0), errors.get(start, 0), users, storage_bytes)
        for (start, _), (_, users, storage_bytes) in zip(spans, held, strict=True)
    ]


def encoded(summary: UsageSummary, points: Sequence[Point]) -> bytes:
    """Return both as the one body that `UsageOut` describes."""
    return _ENCODER.encode(summary.wire() | {"series": points})


def _placed(asked: TimeRange, tallies: Sequence[Tally]) -> Iterator[tuple[datetime, Tally]]:
    """Yield each tally with the beginning of its point."""
    by_hour, first_day = asked.interval == "hour", day_of(asked.start)
    for tally in tallies:
        start = tally.start
        if not by_hour:
            # A day is a point, and so is each part of one that the range begins or ends with.
            start = start.replace(hour=0) if start.hour else start
            start = asked.start if start == first_day else start
        yield start, tally
