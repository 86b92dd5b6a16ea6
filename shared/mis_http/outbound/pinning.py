"""Connections that go to judged addresses only, whatever a name says a moment later (DNS rebinding).

A name is resolved once for each connection and the connection goes to the judged address itself. TLS still
verifies the host's name.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import httpcore

from mis_http.outbound.reach import NameUnresolved, Reach

_CONNECT_SECONDS: Final = 5.0
_MOST_ADDRESSES: Final = 4


class PinningBackend(httpcore.AsyncNetworkBackend):
    """The network of an httpcore pool, as far as `reach` lets it be reached."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's judged addresses that answers."""
        failure: Exception = NameUnresolved(host)
        for address in (await self._reach.addresses(host, port))[:_MOST_ADDRESSES]:
            try:
                return await self._sockets.connect_tcp(
                    address, port, _CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait between two tries."""
        await asyncio.sleep(seconds)
