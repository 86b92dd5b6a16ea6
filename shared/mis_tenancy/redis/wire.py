"""One connection to Redis that many callers share: commands out in order, answers back in the same order.

A pool gives every caller a connection of its own; sharing one costs a queue entry and a future per command,
and all commands of one turn of the event loop leave in a single write. Whoever waited for an answer and was
cancelled stays in the queue, so that his answer is read and dropped instead of reaching the next caller.
Nothing is ever sent twice: a command whose answer is missing may have been applied.

    RedisError                what a caller of Redis has to expect
    ├── RedisUnavailable      no answer: away, hanging, too slow, a replica, or too many commands waiting
    │   └── WrongRedis        not the Redis that is meant: one of a cluster or of none, of a wrong certificate
    └── RedisReplyError       Redis answered with an error, whose first word is its `code`
"""

import asyncio
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis

from mis_tenancy.redis.address import Address
from mis_tenancy.tracing import until_answered

Argument = bytes | str | int
CONNECT_TIMEOUT: Final = 1.0
MAX_WAITING: Final = 10_000
# A loop that was held up itself finds its timers due before it has read what the socket holds: this much of
# the timeout is kept for a second look.
_GRACE: Final = 0.001
_MORE: Final = object()
_CLOSED: Final = "The connection to Redis was closed."
# A certificate that is not valid yet, or not any more (OpenSSL's X509_V_ERR_…). That comes true by itself, as
# an outage does, and is no mistake in a URL.
_OF_TIME: Final = (9, 10)


class RedisError(Exception):
    """Redis could not do what was asked."""


class RedisUnavailable(RedisError):
    """Redis gave no answer in time; the command may or may not have been applied."""


class WrongRedis(RedisUnavailable):
    """MIS_REDIS_URL is wrong about what it leads to; the message says how to put it right."""


class RedisReplyError(RedisError):
    """Redis answered with an error."""

    @property
    def code(self) -> str:
        """The error's first word, for instance `NOSCRIPT` or `READONLY`."""
        return str(self).partition(" ")[0]


class Wire(asyncio.Protocol):
    """A pipelined RESP2 connection; `lost` is done once it has ended, and a wire never comes back.

    `generation` tells one run of a primary from the next (never 0), so that data which may have lost its last
    second in a restart or a failover can be told from data that has not.
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

    def submit_asking(self, *command: Argument) -> asyncio.Future[Any]:
        """Queue a command on a key whose slot is on its way to this node (ASK); what `submit` says holds."""
        # The node lets exactly the next command in, and nothing can come between the two.
        self.submit("ASKING").add_done_callback(forget)
        return self.submit(*command)

    def be_answered_within(self, timeout: float) -> None:
        """Set how long answers may take from now on, in seconds; nothing may be waiting for one."""
        self._timeout = timeout
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def close(self, reason: str = _CLOSED) -> None:
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
        self.close(_CLOSED if exc is None else f"{_CLOSED[:-1]}: {exc}")

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
    address: Address,
    patience: float,
    on_message: Callable[[bytes, bytes], None] | None = None,
    *,
    to_any: bool = False,
) -> Wire:
    """Open a wire to a primary, or `to_any` server, that answers within `patience` seconds.

    Connecting and signing in may take CONNECT_TIMEOUT. Raises RedisUnavailable if there is no such server,
    and WrongRedis where it cannot prove to be the one that is meant.
    """
    loop = asyncio.get_running_loop()
    wire = Wire(CONNECT_TIMEOUT, on_message)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if address.path is not None:
                await loop.create_unix_connection(lambda: wire, address.path)
            else:
                await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls)
        await _sign_in(wire, address)
        is_primary = await identify(wire, address)
        if not (is_primary or to_any):
            raise RedisUnavailable("Redis is a replica.")
        wire.be_answered_within(patience)
        await wire.submit("PING")
    except ssl.SSLCertVerificationError as error:
        wire.close()
        raise _untrusted(address, error) from error
    except (OSError, TimeoutError, UnicodeError, RedisReplyError) as error:
        wire.close()
        raise RedisUnavailable(f"Redis cannot be reached: {str(error) or 'no answer in time'}") from error
    except BaseException:
        wire.close()
        raise
    return wire


def _untrusted(address: Address, error: ssl.SSLCertVerificationError) -> RedisUnavailable:
    reason = f"The certificate of {address} is not to be trusted: {error.verify_message.rstrip('.')}."
    if error.verify_code in _OF_TIME:
        return RedisUnavailable(reason)
    return WrongRedis(
        f"{reason} MIS_REDIS_URL must call it as its certificate does, which is what a cluster's nodes have "
        "to announce, and name its authority where that is your own: ?ssl_ca_certs=/path/to/authority.pem"
    )


async def _sign_in(wire: Wire, address: Address) -> None:
    if address.password is not None:
        user = () if address.username is None else (address.username,)
        await wire.submit("AUTH", *user, address.password)
    if address.database:
        await wire.submit("SELECT", address.database)


async def identify(wire: Wire, address: Address) -> bool:
    """Learn which run of which server this is, and return whether it is a primary.

    Raises WrongRedis where one of the two, it and its address, is of a cluster and the other is not.
    """
    try:
        server, replication = await wire.submit("INFO", "server"), await wire.submit("INFO", "replication")
    except RedisReplyError as error:
        if error.code != "NOPERM":
            raise
        # Without INFO a loss still shows by the missing key, and a replica by its READONLY.
        return True
    is_of_cluster = _told(server, b"redis_mode") == b"cluster"
    if is_of_cluster and not address.is_of_cluster:
        raise WrongRedis(
            f"MIS_REDIS_URL says that {address} is a Redis alone, but it is a node of a cluster. Write "
            "redis+cluster://host:port,host:port with some of its nodes, or rediss+cluster:// for TLS."
        )
    if address.is_of_cluster and not is_of_cluster:
        raise WrongRedis(
            f"MIS_REDIS_URL says that {address} is a node of a cluster, but it is a Redis alone. Write "
            "redis://host:port/0, or rediss:// for TLS, or set cluster-enabled on the server."
        )
    # A server that became a replica and was promoted again has gone on running, but not on its own data.
    wire.generation = zlib.crc32(_told(server, b"run_id") + _told(replication, b"master_replid")) or 1
    return _told(replication, b"role") != b"slave"


def _told(info: bytes, name: bytes) -> bytes:
    """Return what a section of INFO says of a name; nothing where it says nothing."""
    return info.partition(b"\n" + name + b":")[2].partition(b"\r")[0]


def forget(answer: asyncio.Future[Any]) -> None:
    """Take note of a failure that changes nothing, so that the loop does not report it as overlooked."""
    if not answer.cancelled():
        answer.exception()
