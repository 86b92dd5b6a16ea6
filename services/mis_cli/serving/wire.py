"""How the server speaks HTTP: as uvicorn does, but what is no HTTP is refused as everything else is.

Such bytes never become a request, so no application could answer them. The same goes for a head that does not
end: uvicorn would keep whatever comes of one, for as long as it takes.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mis_tenancy.error_responses import problem_body
from mis_tenancy.errors import ProblemError

# Of a request's line and headers. Gateways take less, and the largest of ours are a token and a signed link.
LARGEST_HEAD: Final = 64 * 1024
# What is read from a socket at once, and may end in the head of a next request.
_READ_AT_ONCE: Final = 256 * 1024


class RequestMalformed(ProblemError):
    """What came in is no HTTP request."""

    status = 400
    code = "request_malformed"
    detail = "This is not an HTTP/1.1 request. Check what speaks to this port, and whether it should use TLS."


class HeadTooLarge(ProblemError):
    """The request's line and headers are larger than any that could be meant."""

    status = 431
    code = "headers_too_large"
    detail = f"The request's line and headers take more than {LARGEST_HEAD} bytes together."


class HeadTooSlow(ProblemError):
    """The request began, and its headers did not end."""

    status = 408
    code = "headers_too_slow"
    detail = "The request's headers did not arrive in time. Send it again."


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a problem document where it answers by itself, and with bounded heads.

    `patience` is how many seconds a head may take, also the first one of a connection.
    """

    patience: float = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusal: ProblemError = RequestMalformed()
        self._in_head = False
        self._head = 0
        # Bytes that have brought neither a part of a body nor the end of anything.
        self._unused = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._be_on_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come in."""
        self._unused += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unused > LARGEST_HEAD + _READ_AT_ONCE:
            self._refuse(HeadTooLarge())
        elif self._in_head and self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head, self._head, self._unused = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what stands behind a body comes too late to be one (RFC 9110 §6.5.1)."""
        if self._in_head:
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._in_head, self._unused = False, 0
        self._be_on_time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unused = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and hang up."""
        refusal = self._refusal
        body = problem_body(refusal, {"type": "http", "path": "", "headers": []})
        head = (
            f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            "cache-control: no-store\r\n"
            "connection: close\r\n"
            "\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _count(self, length: int) -> None:
        self._head += length
        if self._head > LARGEST_HEAD:
            self._refusal = HeadTooLarge()
            # The parser stops at what is raised here, and the answer is `send_400_response`.
            raise self._refusal

    def _refuse(self, refusal: ProblemError) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.patience, self._hang_up)

    def _be_on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # none before the first request
            # An answer is on its way, and nothing is read meanwhile.
            self._wait()
        elif self._in_head:
            self._refuse(HeadTooSlow())
        else:
            # Nobody has asked for anything: some clients open connections that they may never need.
            self.transport.close()
