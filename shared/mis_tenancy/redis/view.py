"""What one node of a cluster says of all: who answers for which slots, and who stands by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mis_tenancy.redis.wire import RedisReplyError, Wire

Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """The cluster as one node sees it; one that is cut off from most others is not `of_majority`."""

    ranges: tuple[tuple[int, int, Node], ...]
    replicas: frozenset[Node]
    is_of_majority: bool

    @property
    def nodes(self) -> frozenset[Node]:
        """The nodes that answer for slots."""
        return frozenset(node for _, _, node in self.ranges)


async def seen_by(wire: Wire, host: str) -> View:
    """Ask the node at `host` how it sees the cluster; raise what `Wire.submit` and its answers raise."""
    # A node that is cut off answers for nothing any more, but still tells what it last knew.
    try:
        is_down = b"cluster_state:fail" in await wire.submit("CLUSTER", "INFO")
    except RedisReplyError:
        is_down = False
    return _view(await wire.submit("CLUSTER", "SLOTS"), host, is_of_majority=not is_down)


def moved_to(error: RedisReplyError) -> tuple[int, Node]:
    """Return the slot and the node that a redirection names; raise the error where it is none."""
    words = str(error).split(" ")
    host, _, port = words[-1].rpartition(":")
    if len(words) != 3 or not (words[1].isdigit() and port.isdigit()):
        raise error
    return int(words[1]), (host, int(port))


def _view(slots: Sequence[Any], host: str, *, is_of_majority: bool) -> View:
    ranges = tuple((first, last, _node(owner, host)) for first, last, owner, *_ in slots)
    replicas = frozenset(_node(replica, host) for _, _, _, *replicas in slots for replica in replicas)
    return View(ranges, replicas, is_of_majority)


def _node(entry: Sequence[Any], host: str) -> Node:
    # A node that does not know how others reach it is where it was asked (Redis 7: null, before: empty).
    name = entry[0].decode() if entry[0] else host
    return (host if name == "?" else name, entry[1])
