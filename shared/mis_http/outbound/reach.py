"""What is reached from here on somebody's word: the rules of URLs and addresses, and what loosens them.

Names are looked up in threads of their own. A name server that does not answer keeps one busy for long, and
must not keep other work of the process waiting.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from mis_http.outbound.addresses import is_public
from mis_http.outbound.destinations import AddressRefused, Destination, destination_of

Resolve = Callable[[str, int], Awaitable[list[str]]]

_LOCAL: Final = "leads to an address of a local network; only public addresses are reached"


class NameUnresolved(OSError):
    """The host's name has no address, as far as name servers tell now."""


class Reach:
    """Judges where URLs lead; `resolve` turns a host into its addresses or raises NameUnresolved.

    `allow_private` opens local networks and plain http, for development and closed installations.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None, threads: int = 8) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or _Names(threads)

    def read(self, url: str) -> Destination:
        """Return where `url` leads; raise DestinationRefused."""
        return destination_of(url, allow_private=self._allow_private)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the host's addresses that may be connected to.

        Raise AddressRefused when it has others only, NameUnresolved when it has none.
        """
        found = await self._resolve(host, port)
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if not allowed:
            raise AddressRefused(_LOCAL)
        return allowed


class _Names:
    """The machine's own way of looking names up."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="outside-names")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            raise NameUnresolved(host) from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
