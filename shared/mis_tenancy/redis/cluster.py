"""A Redis Cluster in one Redis' place: each command goes to the node that answers for its key.

A node says so itself where it does not answer for a key (MOVED, ASK), and has not run the command then. While
a node is away its keys are, and no others: what asks for them fails at once, as with one Redis, until a
replica has taken them over (docs/decisions/0042-a-redis-cluster-by-tenant.md).
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from mis_tenancy.redis.address import Address
from mis_tenancy.redis.link import Link
from mis_tenancy.redis.slots import SLOTS, key_of, slot_of
from mis_tenancy.redis.view import Node, View, moved_to, seen_by
from mis_tenancy.redis.wire import (
    Argument,
    RedisError,
    RedisReplyError,
    RedisUnavailable,
    Wire,
    WrongRedis,
    connect,
)
from mis_tenancy.settings import SettingsError

# Seconds between looks at who answers for what: while all is well, while something is away, and at least.
_CALM: Final = 5.0
_ALERT: Final = 0.5
_PAUSE: Final = 0.2
# A look over a connection of its own is nobody's request, and may take longer than one.
_PATIENCE: Final = 1.0

_log = structlog.get_logger(__name__)


class Cluster:
    """A link to each node that answers for keys, all found through any of the `seeds`."""

    def __init__(self, seeds: Sequence[Address], timeout: float) -> None:
        self.redirections = 0
        self._seeds = seeds
        self._timeout = timeout
        self._links: dict[Node, Link] = {}
        self._owners: list[Link | None] = [None] * SLOTS
        self._replicas: frozenset[Node] = frozenset()
        self._turn = 0
        # Why nobody tells of the others, by whom was asked; empty while somebody does.
        self._unseen: Mapping[str, str] = {}
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn the nodes and connect, or begin trying to.

        Raises SettingsError where a seed is no node of a cluster, or a node is not to be trusted.
        """
        if self._task is None:
            try:
                await self._look()
                self._task = asyncio.create_task(self._keep())
                await asyncio.gather(*(link.start() for link in self._links.values()))
            except (WrongRedis, SettingsError) as error:
                await self.stop()
                raise SettingsError(str(error)) from error

    async def stop(self) -> None:
        """Close every connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    @property
    def is_complete(self) -> bool:
        """Whether each key's node can be sent commands now."""
        return None not in self._owners and all(link.is_up for link in self._links.values())

    @property
    def nodes(self) -> Mapping[str, bool]:
        """Every node that answers for keys, and whether it can be sent commands now."""
        return {f"{host}:{port}": link.is_up for (host, port), link in self._links.items()}

    @property
    def failures(self) -> Mapping[str, str]:
        """Why nodes cannot be sent commands, by `host:port`; those named, where none tells of any other."""
        links = {f"{host}:{port}": link.failure for (host, port), link in self._links.items()}
        return {**self._unseen, **{name: failure for name, failure in links.items() if failure is not None}}

    def where(self) -> Address:
        """Return a node to listen for messages at, another one each time."""
        up = [node for node, link in self._links.items() if link.is_up]
        self._turn += 1
        if not up:
            return self._seeds[self._turn % len(self._seeds)]
        return self._address(up[self._turn % len(up)])

    def knows(self, address: Address) -> bool:
        """Return whether an address is still a node's, so that it is told of every message."""
        node = (address.host, address.port)
        return node in self._links or node in self._replicas

    def generation(self, key: Argument) -> int:
        """Return the run of the server that a key is on; 0 while there is none."""
        link = self._owners[slot_of(key)]
        return 0 if link is None or link.wire is None else link.wire.generation

    def wire_of(self, key: Argument) -> Wire:
        """Return the wire to a key's node; raise RedisUnavailable while there is none."""
        link = self._owners[slot_of(key)]
        if link is None or link.wire is None:
            self._stale.set()
            raise RedisUnavailable("The node of the Redis Cluster that answers for this key is away.")
        return link.wire

    def wire_for(self, command: Sequence[Argument]) -> Wire:
        """Return the wire that a command goes over; raise RedisUnavailable while there is none."""
        key = key_of(command)
        if key is not None:
            return self.wire_of(key)
        for link in self._links.values():
            if link.is_up and link.wire is not None:
                return link.wire
        self._stale.set()
        raise RedisUnavailable("Every node of the Redis Cluster is away.")

    def wires(self) -> Mapping[str, Wire]:
        """Return the wire to every node, by its name; raise RedisUnavailable while one is away."""
        found = {f"{host}:{port}": link.wire for (host, port), link in self._links.items()}
        if None in self._owners or None in found.values():
            self._stale.set()
            away = {name for name, wire in found.items() if wire is None} | self.failures.keys()
            raise RedisUnavailable(f"{', '.join(sorted(away)) or 'A node'} of the Redis Cluster is away.")
        return {name: wire for name, wire in found.items() if wire is not None}

    def redirected(self, error: RedisReplyError) -> tuple[Wire, bool]:
        """Return the wire to send a command over instead, and whether as ASKING; raise what is final."""
        if error.code not in ("MOVED", "ASK"):
            if error.code == "CLUSTERDOWN":
                self._stale.set()
            raise error
        slot, node = moved_to(error)
        link = self._links.get(node)
        if error.code == "MOVED":
            self._stale.set()
            if link is not None:
                self._owners[slot] = link
        if link is None or link.wire is None:
            self._stale.set()
            raise RedisUnavailable("The node that a key has moved to is not connected yet.") from error
        self.redirections += 1
        return link.wire, error.code == "ASK"

    def _address(self, node: Node) -> Address:
        # Every node is entered with the same user, password and certificates.
        return replace(self._seeds[0], host=node[0], port=node[1])

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CALM if self.is_complete else _ALERT):
                    await self._stale.wait()
            self._stale.clear()
            try:
                await self._look()
            except Exception:
                # Whatever a node answered, the next look may fare better.
                _log.exception("redis_cluster_unreadable")
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> None:
        """Ask until a node says who answers for what, and go by it; one that is cut off counts last."""
        view = await self._seen_by_the_connected() or await self._seen_by_any()
        # One that was reset knows of nothing, which is no reason to forget the others.
        if view is not None and view.ranges:
            await self._follow(view)

    async def _seen_by_the_connected(self) -> View | None:
        wires = [(node, link.wire) for node, link in self._links.items()]
        self._turn += 1
        at = self._turn % max(len(wires), 1)
        second_best = None
        # Another one first each time, as one that has been cut off tells what was.
        for node, wire in wires[at:] + wires[:at]:
            if wire is None:
                continue
            with suppress(RedisError):
                view = await seen_by(wire, node[0])
                if view.is_of_majority:
                    return view
                second_best = second_best or view
        return second_best

    async def _seen_by_any(self) -> View | None:
        """Ask over connections of their own: where primaries are away, replicas know as well as seeds."""
        failures: dict[str, str] = {}
        second_best = None
        for address in (*self._seeds, *map(self._address, self._replicas)):
            try:
                wire = await connect(address, _PATIENCE, to_any=True)
                try:
                    view = await seen_by(wire, address.host)
                finally:
                    wire.close()
                if view.is_of_majority:
                    return view
                second_best = second_best or view
            except RedisError as error:
                if self._task is None and isinstance(error, WrongRedis):
                    raise
                failures[str(address)] = str(error)
        if second_best is None:
            if failures != self._unseen:
                _log.warning("redis_cluster_unavailable", reasons=failures)
            self._unseen = failures
        return second_best

    async def _follow(self, view: View) -> None:
        nodes, self._unseen = view.nodes, {}
        gone = [self._links.pop(node) for node in [*self._links] if node not in nodes]
        for node in nodes - self._links.keys():
            self._links[node] = Link(partial(self._address, node), self._timeout)
            self._links[node].open()
        owners: list[Link | None] = [None] * SLOTS
        for first, last, node in view.ranges:
            owners[first : last + 1] = [self._links[node]] * (last - first + 1)
        self._owners, self._replicas = owners, view.replicas
        if gone:
            _log.info("redis_cluster_changed", nodes=[*self.nodes])
        await asyncio.gather(*(link.stop() for link in gone))
