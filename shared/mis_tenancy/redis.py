"""The Redis client of the middleware: keys that name their tenant, shared connections, scripts, channels.

It stays connected by itself. While Redis is away, hangs or answers too slowly there is no connection, so a
command fails at once instead of waiting out its timeout, and a background probe finds out when Redis is back:
the connection is the circuit breaker.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import structlog

from mis_tenancy.redis_wire import (
    Address,
    Argument,
    RedisError,
    RedisReplyError,
    RedisUnavailable,
    Wire,
    connect,
)

__all__ = [
    "Redis",
    "RedisError",
    "RedisReplyError",
    "RedisUnavailable",
    "Script",
    "address_key",
    "tenant_key",
]

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 0.5
_HEARTBEAT: Final = 2.0

_log = structlog.get_logger(__name__)


def tenant_key(tenant_id: UUID, *parts: str) -> str:
    """Return the key `{<tenant_id>}:part:part`, whose braces keep a tenant's keys on one node of a cluster.

    Parts may be any text: what could end the braces or add a part is percent-encoded, so that different parts
    never make the same key.
    """
    return ":".join((f"{{{tenant_id}}}", *(quote(part, safe="") for part in parts)))


def address_key(network: str) -> str:
    """Return the burst key of a client network; no tenant's key starts like it."""
    return f"{{a:{quote(network, safe=':./')}}}:burst"


class Redis:
    """A client over one pipelined connection, and a second one for subscriptions.

    `timeout` is how long a command may take, in seconds. Use it from one event loop, between `start()` and
    `stop()`. A malformed URL raises SettingsError.
    """

    def __init__(self, url: str, timeout: float):
        address = Address.parse(url)
        self._commands = _Link(address, timeout)
        self._subscriber = _Subscriber(address, timeout)

    async def start(self) -> None:
        """Connect, or begin trying to: a Redis that is away is no error."""
        await self._commands.start()

    async def stop(self) -> None:
        """Close both connections; what still waits for an answer gets RedisUnavailable."""
        await self._commands.stop()
        await self._subscriber.stop()

    @property
    def available(self) -> bool:
        """Whether commands can be sent now."""
        wire = self._commands.wire
        return wire is not None and not wire.lost.done()

    @property
    def generation(self) -> int:
        """The run of the server behind the connection, a positive 32-bit number; 0 while there is none."""
        return 0 if self._commands.wire is None else self._commands.wire.generation

    def submit(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command with this turn's others and return the future of its answer."""
        if self._commands.wire is None:
            raise RedisUnavailable("Redis is away.")
        return self._commands.wire.submit(*command)

    async def command(self, *command: Argument) -> Any:
        """Send a command and return its answer, strings as bytes.

        Raises RedisUnavailable within the timeout, at once while Redis is known to be away, and
        RedisReplyError for an error that Redis answered. Cancelling the caller does not recall the command.
        """
        return await self.submit(*command)

    def script(self, source: str) -> "Script":
        """Return a Lua script to run on this Redis."""
        return Script(self, source)

    async def publish(self, channel: str, payload: bytes | str) -> None:
        """Publish to a channel; raise what `command` raises."""
        await self.submit("PUBLISH", channel, payload)

    def wake(self, channel: str) -> None:
        """Publish an empty message to a channel and wait for nothing; while Redis is away it is lost."""
        with suppress(RedisUnavailable):
            self.submit("PUBLISH", channel, b"").add_done_callback(_forget)

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with each message of a channel from now on, as far as Redis is there.

        Messages sent during an outage are lost: a message is a wake-up, not the news itself.
        """
        await self._subscriber.add(channel, callback)


class Script:
    """A Lua script that is sent once and then called by its digest."""

    def __init__(self, redis: Redis, source: str):
        self._redis = redis
        self._source = source
        # Redis names scripts by their SHA-1; nothing is protected by it.
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        """Run the script and return its answer; raise what `Redis.command` raises.

        A server that does not know the script (it was restarted or flushed) has not run it; it gets it whole.
        """
        try:
            return await self._redis.submit(b"EVALSHA", self._digest, len(keys), *keys, *arguments)
        except RedisReplyError as error:
            if error.code != "NOSCRIPT":
                raise
        return await self._redis.submit(b"EVAL", self._source, len(keys), *keys, *arguments)


class _Link:
    """Keeps one wire open: reconnects with growing, jittered delays, and finds a dead one by a heartbeat."""

    def __init__(
        self,
        address: Address,
        timeout: float,
        on_message: Callable[[bytes, bytes], None] | None = None,
        on_open: Callable[[Wire], None] | None = None,
    ):
        self.wire: Wire | None = None
        self._address = address
        self._timeout = timeout
        self._on_message = on_message
        self._on_open = on_open
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def start(self) -> None:
        """Return after the first attempt, whatever came of it."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
        await self._tried.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        while True:
            opened = loop.time()
            try:
                await self._use(await connect(self._address, self._timeout, self._on_message))
                _log.warning("redis_lost", host=self._address.host)
            except RedisUnavailable as error:
                if not self._tried.is_set():
                    _log.warning("redis_unavailable", host=self._address.host, reason=str(error))
            self._tried.set()
            # A connection that did not last counts as a failed attempt.
            lasted = loop.time() - opened > _HEARTBEAT
            delay = _FIRST_DELAY if lasted else min(2 * delay, _LONGEST_DELAY)
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311  # spreads reconnects, hides nothing

    async def _use(self, wire: Wire) -> None:
        """Offer the wire until it is lost."""
        self.wire = wire
        try:
            if self._on_open is not None:
                self._on_open(wire)
            self._tried.set()
            while not wire.lost.done():
                await asyncio.wait({wire.lost}, timeout=_HEARTBEAT)
                with suppress(RedisError):
                    await wire.submit("PING")
        finally:
            self.wire = None
            wire.close()


class _Subscriber:
    """The channels that this process listens to, over a link of their own."""

    def __init__(self, address: Address, timeout: float):
        self._callbacks: dict[bytes, Callable[[bytes], None]] = {}
        self._link = _Link(address, timeout, self._on_message, self._on_open)

    async def add(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self._callbacks[channel.encode()] = callback
        if self._link.wire is not None:
            # A wire that was lost this very moment is replaced, and the next one gets every channel.
            with suppress(RedisUnavailable):
                _subscribe(self._link.wire, channel.encode())
        await self._link.start()

    async def stop(self) -> None:
        await self._link.stop()

    def _on_open(self, wire: Wire) -> None:
        for channel in self._callbacks:
            _subscribe(wire, channel)

    def _on_message(self, channel: bytes, payload: bytes) -> None:
        try:
            self._callbacks[channel](payload)
        except Exception:
            # One listener's mistake must not cost the others their connection.
            _log.exception("redis_listener_failed", channel=channel.decode())


def _subscribe(wire: Wire, channel: bytes) -> None:
    # The connection's loss, and nothing else, makes this fail; the link then subscribes anew.
    wire.submit("SUBSCRIBE", channel).add_done_callback(_forget)


def _forget(answer: asyncio.Future[Any]) -> None:
    """Take note of a failure that changes nothing, so that the loop does not report it as overlooked."""
    if not answer.cancelled():
        answer.exception()
