"""What tests make of an answer: a success with its body, a refusal in the suite's own shape, or not yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx


def fine(answer: httpx.Response, status: int = 200) -> Any:
    """Return the answer's body; the answer must be a success."""
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem document; the answer must be that refusal, whole and in the suite's own shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document: dict[str, Any] = answer.json()
    assert (document["code"], document["status"]) == (code, status)
    assert document["type"] == f"urn:mis:problem:{code}"
    assert document["requestId"] == answer.headers["x-request-id"]
    assert {"title", "detail", "instance"} <= document.keys()
    return document


def bearer(token: str) -> dict[str, str]:
    """Return the headers that present an access token."""
    return {"Authorization": f"Bearer {token}"}


async def eventually(
    ask: Callable[[], Awaitable[httpx.Response]], is_so: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """Ask until the answer is so; the promise is that it takes less than a second."""
    async with asyncio.timeout(1.0):
        while True:
            answer = await ask()
            if is_so(answer):
                return answer
            await asyncio.sleep(0.02)
