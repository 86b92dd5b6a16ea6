"""The platform's database, and refusals that leave a trace.

A refusal raised anywhere rolls a request's session back, with all it wrote; one that goes through
`recorded_refusal` commits its own trace first.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, TypeVar

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError

AnySession = TypeVar("AnySession", bound=AsyncSession)


def platform_of(request: Request) -> Database:
    """Return the database as the platform role."""
    database: Database = request.app.state.platform
    return database


async def recorded_refusal(
    opened: AbstractAsyncContextManager[AnySession],
    record: Callable[[AnySession], Awaitable[None]],
    error: ProblemError,
) -> NoReturn:
    """Commit what `record` writes in the transaction `opened`, then raise `error`.

    For refusals that must leave a trace: raising alone would roll the trace back with the request.
    """
    async with opened as session:
        await record(session)
    raise error
