"""One connection to Redis that many callers share: commands out in order, answers back in the same order.

A pool gives every caller a connection of its own; sharing one costs a queue entry and a future per command,
and all commands of one turn of the event loop leave in a single write. Whoever waited for an answer and was
cancelled stays in the queue, so that his answer is read and dropped instead of reaching the next caller.
Nothing is ever sent twice: a command whose answer is missing may have been applied.

    RedisError                what a caller of Redis has to expect
    ├── RedisUnavailable      no answer: away, hanging, too slow, a replica, or too many commands waiting
    └── RedisReplyError       Redis answered with an error, whose first word is its `code`
"""

import asyncio
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import hiredis
from redis.asyncio.connection import parse_url

from mis_tenancy.settings import SettingsError
from mis_tenancy.tracing import until_answered

Argument = bytes | str | int
CONNECT_TIMEOUT: Final = 1.0
MAX_WAITING: Final = 10_000
# A loop that was held up itself finds its timers due before it has read what the socket holds: this much of
# the timeout is kept for a second look.
_GRACE: Final = 0.001
_MORE: Final = object()


class RedisError(Exception):
    """Redis could not do what was asked."""


class RedisUnavailable(RedisError):
    """Redis gave no answer in time; the command may or may not have been applied."""


class RedisReplyError(RedisError):
    """Redis answered with an error."""

    @property
    def code(self) -> str:
        """The error's first word, for instance `NOSCRIPT` or `READONLY`."""
        return str(self).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is and how to sign in to it."""

    host: str
    port: int
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a `redis://`, `rediss://` or `unix://` URL; raise SettingsError where it is none.

        `rediss://` takes the parameters `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs=none`.
        """
        try:
            parts: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            raise SettingsError(f"MIS_REDIS_URL: {error}") from error
        parts.pop("connection_class", None)
        tls = _tls_context(parts) if url.startswith("rediss://") else None
        address = cls(
            host=parts.pop("host", "localhost"),
            port=parts.pop("port", 6379),
            path=parts.pop("path", None),
            username=parts.pop("username", None),
            password=parts.pop("password", None),
            database=parts.pop("db", 0),
            tls=tls,
        )
        if parts:
            unknown = ", ".join(sorted(parts))
            raise SettingsError(f"MIS_REDIS_URL has parameters that mean nothing here: {unknown}.")
        return address


def _tls_context(parts: dict[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=parts.pop("ssl_ca_certs", None))
        certificate = parts.pop("ssl_certfile", None)
        if certificate:
            context.load_cert_chain(certificate, parts.pop("ssl_keyfile", None))
    except OSError as error:
        raise SettingsError(f"MIS_REDIS_URL: a certificate file cannot be read: {error}") from error
    if parts.pop("ssl_cert_reqs", "required") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Wire(asyncio.Protocol):
    """A pipelined RESP2 connection; `lost` is done once it has ended, and a wire never comes back.

    `generation` tells one run of a Redis server from the next (never 0), so that data which may have lost its
    last second in a restart can be told from data that has not.
    """

    def __init__(self, timeout: float, on_message: Callable[[bytes, bytes], None] | None = None):
        self._timeout = timeout
        self.generation = 1
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._on_message = on_message
        self._reader = hiredis.Reader(replyError=RedisReplyError, notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._watchdog: asyncio.TimerHandle | None = None
        self._suspect: asyncio.Future[Any] | None = None

    def submit(self, *command: Argument) -> asyncio.Future[Any]:
        """Queue a command and return the future of its answer; raise RedisUnavailable where none can come."""
        if self._transport is None or len(self._waiting) >= MAX_WAITING:
            raise RedisUnavailable("Redis is away, or too many commands wait for it.")
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # the stub knows only 1-tuples
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(packed)
        self._waiting.append((self._loop.time(), answer))
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout - _GRACE, self._look)
        until_answered(answer, "redis", command[0])
        return answer

    def be_answered_within(self, timeout: float) -> None:
        """Set how long answers may take from now on, in seconds; nothing may be waiting for one."""
        self._timeout = timeout
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def close(self, reason: str = "The connection to Redis was closed.") -> None:
        """End the connection and fail whatever waits for an answer."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(RedisUnavailable(reason))
        if not self.lost.done():
            self.lost.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio's call)."""
        self._transport = transport  # type: ignore[assignment]  # a stream transport, from create_connection

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits (asyncio's call)."""
        self.close()

    def data_received(self, data: bytes) -> None:
        """Hand each complete answer to the caller whose turn it is (asyncio's call)."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _MORE:
                self._deliver(reply)
        except hiredis.ProtocolError:
            self.close("Redis sent something that is not RESP.")

    def _deliver(self, reply: Any) -> None:
        if self._on_message is not None and type(reply) is list and reply[:1] == [b"message"]:
            self._on_message(reply[1], reply[2])
            return
        if not self._waiting:
            self.close("Redis sent an answer that nobody asked for.")
            return
        _, answer = self._waiting.popleft()
        failed = type(reply) is RedisReplyError
        if not answer.done():
            if failed:
                answer.set_exception(reply)
            else:
                answer.set_result(reply)
        if failed and reply.code == "READONLY":
            # The primary has become a replica: the address may lead to the new primary by now.
            self.close("Redis is a replica.")

    def _flush(self) -> None:
        commands, self._outgoing = self._outgoing, []
        if self._transport is not None:
            self._transport.write(b"".join(commands))

    def _look(self) -> None:
        """Watch over the oldest command: one timer serves them all, because they expire in order."""
        self._watchdog = None
        if not self._waiting:
            return
        sent, answer = self._waiting[0]
        left = sent + self._timeout - _GRACE - self._loop.time()
        if left <= 0:
            if self._suspect is answer:
                self.close("Redis did not answer in time.")
                return
            self._suspect, left = answer, _GRACE
        self._watchdog = self._loop.call_later(left, self._look)


async def connect(
    address: Address, patience: float, on_message: Callable[[bytes, bytes], None] | None = None
) -> Wire:
    """Open a wire to a primary that answers within `patience` seconds.

    Connecting and signing in may take CONNECT_TIMEOUT. Raises RedisUnavailable if there is no such primary.
    """
    loop = asyncio.get_running_loop()
    wire = Wire(CONNECT_TIMEOUT, on_message)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if address.path is not None:
                await loop.create_unix_connection(lambda: wire, address.path)
            else:
                await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls)
        await _greet(wire, address)
        wire.be_answered_within(patience)
        await wire.submit("PING")
    except (OSError, TimeoutError, UnicodeError, RedisReplyError) as error:
        wire.close()
        raise RedisUnavailable(f"Redis cannot be reached: {error}") from error
    except BaseException:
        wire.close()
        raise
    return wire


async def _greet(wire: Wire, address: Address) -> None:
    """Sign in, select the database, and learn which run of which server this is."""
    if address.password is not None:
        user = () if address.username is None else (address.username,)
        await wire.submit("AUTH", *user, address.password)
    if address.database:
        await wire.submit("SELECT", address.database)
    try:
        server, replication = await wire.submit("INFO", "server"), await wire.submit("INFO", "replication")
    except RedisReplyError as error:
        if error.code != "NOPERM":
            raise
        # Without INFO a loss still shows by the missing key, and a replica by its READONLY.
        return
    if b"role:slave" in replication:
        raise RedisUnavailable("Redis is a replica.")
    run_id = server.partition(b"run_id:")[2].partition(b"\r")[0]
    wire.generation = zlib.crc32(run_id) or 1
