"""The single place that turns a refusal into problem+json (RFC 9457).

An exception raised inside a middleware never reaches an application's exception handlers, so middleware and
handlers alike answer through `error_response()`.
"""

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from mis_tenancy.errors import ProblemError
from mis_tenancy.http.requests import request_id_of


def problem_body(error: ProblemError, scope: Scope) -> bytes:
    """Return the JSON of `error` as the answer to the request of `scope`."""
    return msgspec.json.encode(error.document(scope.get("path", ""), request_id_of(scope)))


def error_response(error: ProblemError) -> ASGIApp:
    """Return an ASGI application that answers with `error` as problem+json.

    A WebSocket handshake gets the same document where the server speaks the `websocket.http.response`
    extension (ASGI 2.4), else it is closed with 1008 (policy violation).
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.code})
            return
        prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        body = problem_body(error, scope)
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-request-id": request_id_of(scope),
        } | {name.lower(): value for name, value in error.headers.items()}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": f"{prefix}.start", "status": error.status, "headers": encoded})
        await send({"type": f"{prefix}.body", "body": b"" if scope.get("method") == "HEAD" else body})

    return respond
