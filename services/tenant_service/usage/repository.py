"""What the database tells of a range of usage, taken from the arrays that its statement answers with."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from mis_tenancy.replicas.reads import Reads
from tenant_service.usage import range_repository as statements
from tenant_service.usage.ranges import TimeRange

# Decoded here, because the statement door leaves JSON as text.
_COUNTS: Final = msgspec.json.Decoder(dict[str, int])
_LEVELS: Final = msgspec.json.Decoder(dict[str, tuple[int, int]])


class Maps(NamedTuple):
    """Counts by name of some hour, day or month."""

    latency: dict[str, int]
    features: dict[str, int]


class Month(NamedTuple):
    """A month's maps as they were when its days had so many requests."""

    requests: int
    maps: Maps


class Level(NamedTuple):
    """What the tenant held in the hour `start` and from then on, until the next level."""

    start: int
    users: int
    storage_bytes: int


class Holding(NamedTuple):
    """What the tenant holds now, when it began, and what the ledger has seen.

    That is how much of today's quota was used, and how many users asked anything in the range.
    """

    created_at: datetime
    users: int
    storage_bytes: int
    files: int
    counted_today: int
    active: int


class Tallies(NamedTuple):
    """What the ledger counted in the hours or days from each of `starts` on; empty times have none."""

    starts: list[int]
    requests: list[int]
    errors: list[int]
    client_errors: list[int]
    rejected: list[int]


@dataclass(frozen=True, slots=True)
class Found:
    """What the database tells of a range, whose hours are numbered since 1970.

    `months` are those added up, by their beginnings; `maps` those of what lies outside of whole months.
    """

    holding: Holding
    tallies: Tallies
    maps: list[Maps]
    months: Mapping[int, Month]
    levels: list[Level]


async def found(reads: Reads, tenant_id: UUID, asked: TimeRange, now: datetime) -> Found:
    """Read all of a range at one moment: a row for each of its hours or days, and of its whole months."""
    (row,) = await reads.fetch(
        statements.reading(asked, now), tenant_id, statements.values(tenant_id, asked, now)
    )
    columns = iter(row)
    holding = Holding(*(next(columns) for _ in Holding._fields))
    # Postgres makes null of the array of no rows at all.
    days, hours, months, levels = ([next(columns) or [] for _ in range(width)] for width in statements.WIDTHS)
    *counts, latency, features = (of_days + of_hours for of_days, of_hours in zip(days, hours, strict=True))
    return Found(
        holding,
        Tallies(*counts),
        [_decoded(*maps) for maps in zip(latency, features, strict=True) if maps[0] is not None],
        {start: Month(requests, _decoded(*maps)) for start, requests, *maps in zip(*months, strict=True)},
        _levels(tuple(columns), levels),
    )


async def maps_of_days(reads: Reads, tenant_id: UUID, months: Collection[datetime]) -> list[Maps]:
    """Return the maps of each day of the months that begin at `months`."""
    return [_decoded(*row) for row in await reads.fetch(statements.days_of(months), tenant_id)]


def _levels(before: tuple[Any, ...], columns: Sequence[Sequence[Any]]) -> list[Level]:
    """Return the last level from before the range, where one was noted, and those in it, oldest first."""
    levels = [] if before[0] is None else [Level(*before)]
    for start, users, storage_bytes, hours in zip(*columns, strict=True):
        if hours is None:
            levels.append(Level(start, users, storage_bytes))
        else:
            levels += [Level(start + int(hour), *held) for hour, held in _LEVELS.decode(hours).items()]
    return sorted(levels)


def _decoded(latency: str, features: str) -> Maps:
    return Maps(_COUNTS.decode(latency), _COUNTS.decode(features))
