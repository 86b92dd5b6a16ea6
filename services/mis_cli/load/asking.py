"""One way to ask: timed, counted, and judged; a 429 is waited out, anything else unexpected is an error."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from mis_cli.load.measures import Measures, Outcome

# Longer than this nobody waits for a limit: the test would stand still.
_LONGEST_WAIT: Final = 5.0

Answer = httpx.Response | None


class Asking:
    """Asks for one tenant, from the moment `began` on; `now` is the clock."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        measures: Measures,
        slug: str,
        began: float,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._measures = measures
        self._slug = slug
        self._began = began
        self._now = now

    async def ask(
        self, action: str, method: str, path: str, expected: int | tuple[int, ...], **options: Any
    ) -> Answer:
        """Send a request, count it, and return its answer where that has an `expected` status, else None."""
        began = self._now()
        try:
            answer = await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            self._count(action, Outcome.FAILED, began, type(error).__name__)
            return None
        if answer.status_code == 429:
            self._count(action, Outcome.LIMITED, began)
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", 1)), _LONGEST_WAIT))
            return None
        good = answer.status_code in (expected if isinstance(expected, tuple) else (expected,))
        failure = "" if good else f"{answer.status_code} {_code_of(answer)}".rstrip()
        self._count(action, Outcome.SERVED if good else Outcome.FAILED, began, failure)
        return answer if good else None

    def _count(self, action: str, outcome: Outcome, began: float, failure: str = "") -> None:
        now = self._now()
        self._measures.add(
            self._slug, action, outcome, ended=now - self._began, seconds=now - began, failure=failure
        )


def _code_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", ""))
    except (ValueError, AttributeError):
        return ""
