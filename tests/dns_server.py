"""A real name server on loopback for tests: it answers what a test has written, and can fail as others do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 5


class NameServer(asyncio.DatagramProtocol):
    """Answers TXT questions from `texts` and follows `aliases`.

    `broken` names get SERVFAIL and `silent` ones nothing. A name of `present` exists without any TXT record;
    any other one gets NXDOMAIN.
    """

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.aliases: dict[str, str] = {}
        self.present: set[str] = set()
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        """The server as `MIS_DNS_SERVERS` takes it."""
        return f"127.0.0.1:{self.port}"

    def publish(self, record: dict[str, str]) -> None:
        """Let the TXT record that an answer of the API shows stand in DNS."""
        self.texts.setdefault(record["name"], []).append(record["value"])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        if name not in self.silent:
            self._transport.sendto(self._answer(query, name).to_wire(), address)

    def _answer(self, query: dns.message.Message, name: str) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        if name in self.aliases:
            target = self.aliases[name]
            answer.answer.append(dns.rrset.from_text(f"{name}.", _TTL, "IN", "CNAME", f"{target}."))
            name = target
        if name in self.texts:
            quoted = [f'"{text}"' for text in self.texts[name]]
            answer.answer.append(dns.rrset.from_text(f"{name}.", _TTL, "IN", "TXT", *quoted))
        elif name not in self.present and not answer.answer:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Serve on a port of its own."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
