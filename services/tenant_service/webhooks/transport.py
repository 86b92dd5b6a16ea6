"""The way out: one POST to a destination, over a connection to an address that was judged and is kept to.

A name is resolved once for each connection and the connection goes to the judged address itself, so a second
answer of the name server changes nothing. TLS still verifies the host's name. httpcore follows no redirects,
asks no proxy and decompresses nothing, which is why httpx is not put over it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpcore

from mis_http.outbound.destinations import Destination, DestinationRefused
from mis_http.outbound.pinning import PinningBackend
from mis_http.outbound.reach import NameUnresolved, Reach
from tenant_service.webhooks.schedule import Outcome

TOTAL_SECONDS: Final = 15.0
MOST_ANSWER_BYTES: Final = 64 * 1024

# What is said after the status is only read so that the connection can be used again.
_DRAIN_SECONDS: Final = 1.0


class Transport:
    """Makes wires; `reach` judges every address, `trust` verifies certificates."""

    def __init__(
        self, reach: Reach, trust: ssl.SSLContext | None = None, *, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        self._backend = PinningBackend(reach)
        self._trust = trust or httpcore.default_ssl_context()
        self._total_seconds = total_seconds

    @asynccontextmanager
    async def wire(self) -> AsyncIterator["Wire"]:
        """Yield a wire for messages to one receiver; its connection ends with the block."""
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._trust, max_connections=1, network_backend=self._backend
        ) as pool:
            yield Wire(pool, self._total_seconds)


class Wire:
    """A connection that is opened by the first message and kept for the next ones."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, total_seconds: float) -> None:
        self._pool = pool
        self._total_seconds = total_seconds

    async def post(self, destination: Destination, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send the message and return how that ended, after `total_seconds` at the latest."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(destination, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Outcome(error="timeout")
        except DestinationRefused:
            return Outcome(error="address_refused")
        except NameUnresolved:
            return Outcome(error="name_unresolved")
        except httpcore.ConnectError as error:
            return Outcome(error="certificate_refused" if _is_of_tls(error) else "connection_failed")
        except httpcore.NetworkError:
            return Outcome(error="connection_lost")
        except httpcore.ProtocolError:
            return Outcome(error="answer_malformed")

    async def _exchange(self, destination: Destination, headers: Mapping[str, str], body: bytes) -> Outcome:
        url = httpcore.URL(
            scheme=destination.scheme.encode(),
            host=destination.host.encode(),
            port=destination.port,
            target=destination.target.encode(),
        )
        sent = {"host": destination.netloc, **headers}
        async with self._pool.stream(
            "POST", url, headers=list(sent.items()), content=body, extensions={"timeout": {}}
        ) as answer:
            asked = next((value for name, value in answer.headers if name.lower() == b"retry-after"), None)
            await _drain(answer)
        return Outcome(status=answer.status, retry_after=None if asked is None else asked.decode("latin-1"))


def _is_of_tls(error: BaseException | None) -> bool:
    """Return whether TLS is what failed; the libraries in between wrap its errors in their own."""
    return error is not None and (isinstance(error, ssl.SSLError) or _is_of_tls(error.__context__))


async def _drain(answer: httpcore.Response) -> None:
    """Read a short answer to its end; leave a long or slow one, whose connection then ends."""
    received = 0
    # The status has been said, and is what counts.
    with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in answer.aiter_stream():
                received += len(chunk)
                if received > MOST_ANSWER_BYTES:
                    return
