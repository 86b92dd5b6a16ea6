"""Bodies that are too large, and clients that do not send them."""

import asyncio
from typing import Any

import pytest

from mis_http.limits import BodyLimit
from mis_http.patience import Patience, UploadTooSlow
from mis_tenancy.errors import BodyTooLarge

SCOPE: dict[str, Any] = {"type": "http", "path": "/", "headers": []}


class Client:
    """Sends the parts of a body, and then nothing any more."""

    def __init__(self, *parts: bytes, ends: bool) -> None:
        self._parts = list(parts)
        self._ends = ends

    async def receive(self) -> dict[str, Any]:
        if not self._parts:
            await asyncio.sleep(0.2 if self._ends else 60)
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts) or not self._ends}


async def received(client: Client, messages: int, **options: Any) -> list[str]:
    """Return the types of so many messages that an application behind the limit receives."""
    kinds: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(messages):
            kinds.append((await receive())["type"])

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await BodyLimit(app, **options)(SCOPE, client.receive, send)
    return kinds


@pytest.mark.parametrize(
    "patience", [Patience(silence=0.02), Patience(grace=0.0, rate=1e9)], ids=["silent", "trickling"]
)
async def test_a_body_that_does_not_arrive_is_given_up(patience: Patience) -> None:
    with pytest.raises(UploadTooSlow):
        await received(Client(b"a", b"b", ends=False), 3, patience=patience)


async def test_a_client_may_stay_as_long_as_the_answer_takes() -> None:
    kinds = await received(Client(b"a", ends=True), 2, patience=Patience(silence=0.02))
    assert kinds == ["http.request", "http.disconnect"]


async def test_more_than_the_limit_is_refused_while_it_arrives() -> None:
    assert await received(Client(b"ab", b"cd", ends=True), 2, default=4) == ["http.request"] * 2
    with pytest.raises(BodyTooLarge):
        await received(Client(b"ab", b"cde", ends=True), 2, default=4)
