"""The Redis client of the middleware: commands, scripts and channels over connections that all callers share.

It stays connected by itself. While Redis is away, hangs or answers too slowly there is no connection, so a
command fails at once instead of waiting out its timeout, and a background probe finds out when Redis is back:
the connection is the circuit breaker. Of a cluster this holds for each node by itself.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from mis_tenancy.redis.address import addresses_of
from mis_tenancy.redis.alone import Alone
from mis_tenancy.redis.cluster import Cluster
from mis_tenancy.redis.subscriber import Subscriber
from mis_tenancy.redis.wire import Argument, RedisReplyError, RedisUnavailable, Wire, forget

_MOST_REDIRECTIONS: Final = 5
_KEYS_AT_ONCE: Final = 1_000

Submit = Callable[..., asyncio.Future[Any]]
Sending = Callable[[Wire, Submit], asyncio.Future[Any]]


class Redis:
    """A client over one pipelined connection to each server, and another one for subscriptions.

    `timeout` is how long a command may take, in seconds. Use it from one event loop, between `start()` and
    `stop()`. A malformed URL raises SettingsError.
    """

    def __init__(self, url: str, timeout: float):
        first, *others = addresses_of(url)
        self._nodes: Alone | Cluster = (
            Cluster((first, *others), timeout) if first.is_of_cluster else Alone(first, timeout)
        )
        self._subscriber = Subscriber(self._nodes.where, timeout, self._nodes.knows)

    async def start(self) -> None:
        """Connect, or begin trying to: a Redis that is away is no error.

        Raises SettingsError where the URL says a cluster and leads to one Redis, or the other way round, and
        where a certificate is not to be trusted.
        """
        await self._nodes.start()

    async def stop(self) -> None:
        """Close all connections; what still waits for an answer gets RedisUnavailable."""
        await self._nodes.stop()
        await self._subscriber.stop()

    @property
    def available(self) -> bool:
        """Whether commands on any key can be sent now."""
        return self._nodes.is_complete

    @property
    def nodes(self) -> Mapping[str, bool]:
        """The servers that keys are on, by `host:port`, and whether each can be sent commands now."""
        return self._nodes.nodes

    @property
    def failures(self) -> Mapping[str, str]:
        """Why servers cannot be sent commands, by `host:port`, as far as one is known."""
        return self._nodes.failures

    @property
    def redirections(self) -> int:
        """How many commands a node has sent on to another one."""
        return self._nodes.redirections

    def generation(self, key: str) -> int:
        """Return the run of the server that a key is on, a positive 32-bit number; 0 while there is none."""
        return self._nodes.generation(key)

    def submit(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command with this turn's others and return the future of its answer.

        Where a cluster's node redirects it, that is its answer.
        """
        return self._nodes.wire_for(command).submit(*command)

    async def command(self, *command: Argument) -> Any:
        """Send a command and return its answer, strings as bytes; its key, if any, is its first argument.

        Raises RedisUnavailable within the timeout, at once while Redis is known to be away, and
        RedisReplyError for an error that Redis answered. Cancelling the caller does not recall the command.
        """
        try:
            return await self._nodes.wire_for(command).submit(*command)
        except RedisReplyError as error:
            return await sent_on(self._nodes, error, lambda _, submit: submit(*command))

    async def each(self, *command: Argument) -> Mapping[str, Any]:
        """Send a command to every server and return the answers by `host:port`.

        Raises what `command` raises, for instance where one of them is away.
        """
        wires = self._nodes.wires()
        answers = await asyncio.gather(*(wire.submit(*command) for wire in wires.values()))
        return dict(zip(wires, answers, strict=True))

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match, some at a time and perhaps twice; raise what `command` raises."""
        for wire in self._nodes.wires().values():
            cursor = b"0"
            while True:
                cursor, keys = await wire.submit("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE)
                if keys:
                    yield keys
                if cursor == b"0":
                    break

    async def unlink(self, keys: Iterable[bytes]) -> int:
        """Remove keys, of whichever tenants, and return how many there were; raise what `command` raises."""
        # One command for all would be refused where they are on several nodes, or on the move.
        return sum(await asyncio.gather(*(self.command("UNLINK", key) for key in keys)))

    def script(self, source: str) -> "Script":
        """Return a Lua script to run on this Redis."""
        return Script(self._nodes, source)

    async def publish(self, channel: str, payload: bytes | str) -> None:
        """Publish to a channel; raise what `command` raises."""
        await self.submit("PUBLISH", channel, payload)

    def wake(self, channel: str) -> None:
        """Publish an empty message to a channel and wait for nothing; while Redis is away it is lost."""
        with suppress(RedisUnavailable):
            self.submit("PUBLISH", channel, b"").add_done_callback(forget)

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with each message of a channel from now on, as far as Redis is there.

        Messages sent during an outage are lost: a message is a wake-up, not the news itself.
        """
        await self._subscriber.add(channel, callback)


class Script:
    """A Lua script that is sent once to each server and then called by its digest.

    Its `ARGV[1]` is the run of the server that runs it, as `Redis.generation` tells it.
    """

    def __init__(self, nodes: Alone | Cluster, source: str):
        self._nodes = nodes
        self._source = source
        # Redis names scripts by their SHA-1; nothing is protected by it.
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, key: str, *arguments: Argument) -> Any:
        """Run the script on one key and return its answer; raise what `Redis.command` raises."""
        wire = self._nodes.wire_of(key)
        try:
            return await wire.submit(b"EVALSHA", self._digest, 1, key, wire.generation, *arguments)
        except RedisReplyError as error:
            return await self._whole(wire, error, key, arguments)

    async def _whole(
        self, wire: Wire, error: RedisReplyError, key: str, arguments: tuple[Argument, ...]
    ) -> Any:
        """Send the script itself: one that was restarted or flushed does not know it, nor does another."""

        def send(wire: Wire, submit: Submit) -> asyncio.Future[Any]:
            return submit(b"EVAL", self._source, 1, key, wire.generation, *arguments)

        if error.code != "NOSCRIPT":
            return await sent_on(self._nodes, error, send)
        try:
            return await send(wire, wire.submit)
        except RedisReplyError as another:
            return await sent_on(self._nodes, another, send)


async def sent_on(nodes: Alone | Cluster, error: RedisReplyError, send: Sending) -> Any:
    """Send where `error` says instead, which has not run anything; raise it where it says nothing of that."""
    for _ in range(_MOST_REDIRECTIONS):
        wire, is_asked = nodes.redirected(error)
        try:
            return await send(wire, wire.submit_asking if is_asked else wire.submit)
        except RedisReplyError as another:
            error = another
    raise error
