"""Plays the server's part in one application's lifespan, so that several can start and stop as one."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message


class LifespanFailed(RuntimeError):
    """An application did not start or stop; the message names it and says what it said."""


class AppLifespan:
    """The lifespan of one application, in a task of its own from start to stop."""

    def __init__(self, name: str, app: ASGIApp, state: dict[str, Any]) -> None:
        self._name = name
        self._app = app
        self._state = state
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the application; raise LifespanFailed where it refuses or breaks off."""
        self._state.clear()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        running = self._app(scope, self._to_app.get, self._take_answer)
        self._task = asyncio.ensure_future(running)
        await self._pass("startup")

    async def stop(self) -> None:
        """Stop the application and wait for its last word."""
        await self._pass("shutdown")

    async def _take_answer(self, message: Message) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)

    async def _pass(self, phase: str) -> None:
        task = self._task
        if task is None:
            raise LifespanFailed(f"{self._name}-service was not started.")
        self._answer = answer = asyncio.get_running_loop().create_future()
        await self._to_app.put({"type": f"lifespan.{phase}"})
        await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and answer.result()["type"] == f"lifespan.{phase}.complete":
            if phase == "shutdown":
                await task
            return
        # Whether it said so or just broke off, it ends by itself; its exception is taken.
        await asyncio.wait({task})
        error = task.exception()
        said = answer.result().get("message", "") if answer.done() else repr(error)
        raise LifespanFailed(f"{self._name}-service failed its {phase}: {said}") from error
