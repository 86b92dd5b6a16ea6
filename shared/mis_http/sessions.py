"""The platform's session of a request, and refusals that leave a trace.

Like a tenant's session (`mis_tenancy.fastapi.Session`) it commits before the answer leaves. A refusal
raised anywhere rolls everything back, except what went through `recorded_refusal`, which commits its own
trace first.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, NoReturn, TypeVar

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError
from mis_tenancy.fastapi import CurrentPrincipal, tenancy_of
from mis_tenancy.session import PlatformSession

AnySession = TypeVar("AnySession", bound=AsyncSession)


async def open_platform_session(
    request: Request, principal: CurrentPrincipal
) -> AsyncIterator[PlatformSession]:
    """Yield a session of the platform role, which crosses tenants; for operators' endpoints."""
    async with platform_of(request).platform_transaction() as session:
        request.state.session = session
        yield session
    await tenancy_of(request).settle(session)


def platform_of(request: Request) -> Database:
    """Return the database as the platform role."""
    database: Database = request.app.state.platform
    return database


CrossingSession = Annotated[PlatformSession, Depends(open_platform_session, scope="function")]


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
