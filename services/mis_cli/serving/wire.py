"""How the server speaks HTTP: as uvicorn does, but what is no HTTP is refused as everything else is.

Such bytes never become a request, so no application could answer them.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mis_tenancy.error_responses import problem_body
from mis_tenancy.errors import ProblemError


class RequestMalformed(ProblemError):
    """What came in is no HTTP request."""

    status = 400
    code = "request_malformed"
    detail = "This is not an HTTP/1.1 request. Check what speaks to this port, and whether it should use TLS."


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a problem document where it answers by itself."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and hang up."""
        body = problem_body(RequestMalformed(), {"type": "http", "path": "", "headers": []})
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            "cache-control: no-store\r\n"
            "connection: close\r\n"
            "\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
