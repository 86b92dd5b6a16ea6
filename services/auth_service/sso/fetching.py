"""Asks identity providers: bounded, without redirects, and over connections to judged addresses only.

A tenant names the issuer and the issuer names its endpoints, so each address is a stranger's word: it is read
strictly, resolved once, and what was judged is what is connected to (OWASP, "server-side request forgery").
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import httpcore

from auth_service.errors import SsoUnavailable
from mis_http.outbound.destinations import Destination, DestinationRefused
from mis_http.outbound.pinning import PinningBackend
from mis_http.outbound.reach import NameUnresolved, Reach

_TOTAL_SECONDS: Final = 10.0
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said; `json` and `raise_for_status` are what Authlib asks of an answer."""

    status_code: int
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; raise ValueError."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def raise_for_status(self) -> None:
        """Raise SsoUnavailable where the provider refused or broke."""
        if self.status_code >= 400:
            raise SsoUnavailable


class Fetching:
    """Sends requests to providers; `reach` judges every address, `trust` verifies certificates."""

    def __init__(self, reach: Reach, trust: ssl.SSLContext | None = None) -> None:
        self._reach = reach
        self._backend = PinningBackend(reach)
        self._trust = trust or httpcore.default_ssl_context()

    def judge(self, url: str) -> Destination:
        """Return where an address of a provider leads; raise SsoUnavailable where it may not lead there."""
        try:
            destination = self._reach.read(url)
        except DestinationRefused as error:
            raise SsoUnavailable from error
        # Codes, secrets and tokens go over TLS, but for a provider on this very machine.
        if destination.scheme != "https" and not _is_loopback(destination.host):
            raise SsoUnavailable
        return destination

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON that a provider answers with; raise SsoUnavailable."""
        answer = await self.send("GET", url, {"accept": "application/json", **(headers or {})})
        if answer.status_code != 200:
            raise SsoUnavailable
        try:
            return answer.json()
        except ValueError as error:
            raise SsoUnavailable from error

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Return the answer to one request; raise SsoUnavailable after ten seconds at the latest."""
        destination = self.judge(url)
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                return await self._exchange(method, destination, headers, body)
        except (TimeoutError, DestinationRefused, NameUnresolved) as error:
            raise SsoUnavailable from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise SsoUnavailable from error

    async def _exchange(
        self, method: str, destination: Destination, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        url = httpcore.URL(
            scheme=destination.scheme.encode(),
            host=destination.host.encode(),
            port=destination.port,
            target=destination.target.encode(),
        )
        sent = [("host", destination.netloc), *((name, headers[name]) for name in headers)]
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._trust, network_backend=self._backend) as pool,
            pool.stream(method, url, headers=sent, content=body, extensions={"timeout": {}}) as answer,
        ):
            received = bytearray()
            async for chunk in answer.aiter_stream():
                received += chunk
                if len(received) > _MOST_BYTES:
                    raise SsoUnavailable
            return Answer(answer.status, bytes(received))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
