"""Where a request comes from, as sign-ins are judged and recorded by."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from mis_tenancy.fastapi import Admitted
from mis_tenancy.http.requests import network_of
from mis_tenancy.tenant import Source

_LONGEST_AGENT: Final = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of one request: its address, its words about itself, and the sources it named.

    `keeps_cookie` is true for a browser on our own pages, whose session is kept in a cookie.
    """

    address: str
    user_agent: str | None
    request_id: str
    sources: tuple[Source, ...] = ()
    keeps_cookie: bool = False

    @property
    def network(self) -> str:
        """What throttles count under: an IPv4 address, or an IPv6 address's /64."""
        return network_of(self.address)


async def caller(request: Request, admitted: Admitted) -> Caller:
    """Return who sent the request."""
    agent = request.headers.get("user-agent")
    return Caller(
        address=admitted.client_address,
        user_agent=None if agent is None else _printable(agent),
        request_id=admitted.request_id,
        sources=admitted.sources,
    )


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:_LONGEST_AGENT])


CallerOf = Annotated[Caller, Depends(caller)]
