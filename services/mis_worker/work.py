"""What a worker does: jobs by their kinds, the schedules that cause some, and what runs all the time."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from mis_jobs.runs import Handler
from mis_jobs.schedules import Schedule

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Work:
    """A part of the work: `burials` tell of jobs that were given up, `loops` run beside the jobs."""

    handlers: Mapping[str, Handler] = field(default_factory=dict)
    schedules: Sequence[Schedule] = ()
    burials: Mapping[str, Handler] = field(default_factory=dict)
    loops: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)


def joined(parts: Iterable[Work]) -> Work:
    """Return the parts as one; raise ValueError where two of them lay claim to one name."""
    given = list(parts)
    return Work(
        handlers=_merged(part.handlers for part in given),
        schedules=tuple(chain.from_iterable(part.schedules for part in given)),
        burials=_merged(part.burials for part in given),
        loops=_merged(part.loops for part in given),
    )


def _merged(maps: Iterable[Mapping[str, Kind]]) -> dict[str, Kind]:
    merged: dict[str, Kind] = {}
    for one in maps:
        if twice := merged.keys() & one.keys():
            raise ValueError(f"Two features handle {', '.join(sorted(twice))}.")
        merged |= one
    return merged
