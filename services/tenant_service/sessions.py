"""The sessions of this service's endpoints, by whose rows they reach and as which database role.

Each commits before the answer leaves, and hears its own news before that, so a caller reads what it wrote.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Request

from mis_http.sessions import platform_of
from mis_tenancy.access import is_platform_operator
from mis_tenancy.fastapi import CurrentPrincipal, serve, tenancy_of
from mis_tenancy.identifiers import new_id
from mis_tenancy.replicas.reads import Reads
from mis_tenancy.session import PlatformSession, TenantSession
from tenant_service.target import OperatorOnly, Target

Result = TypeVar("Result")


async def open_target(request: Request, target: Target) -> AsyncIterator[TenantSession]:
    """Yield a session of the application role, bound to the tenant of the path."""
    async with serve(request, tenancy_of(request).database.transaction(target.id)) as session:
        yield session


class TargetReader:
    """Read-only work in the tenant of the path, by a replica where that shows what the tenant has written."""

    def __init__(self, reads: Reads, tenant_id: UUID) -> None:
        self._reads = reads
        self._tenant_id = tenant_id

    async def run(self, work: Callable[[TenantSession], Awaitable[Result]]) -> Result:
        """Return what `work` does with a session that cannot write; it may be called twice."""
        return await self._reads.run(self._tenant_id, work)


async def read_target(request: Request, target: Target) -> TargetReader:
    """Return the reader of the tenant of the path."""
    return TargetReader(tenancy_of(request).reads, target.id)


async def open_governing(
    request: Request, operator: OperatorOnly, target: Target
) -> AsyncIterator[TenantSession]:
    """Yield a session of the platform role, bound to the tenant of the path."""
    async with serve(request, platform_of(request).transaction(target.id)) as session:
        yield session


async def open_callers(
    request: Request, principal: CurrentPrincipal, target: Target
) -> AsyncIterator[TenantSession]:
    """Yield a session bound to the tenant of the path, of the platform role for operators alone."""
    crosses = is_platform_operator(principal)
    database = platform_of(request) if crosses else tenancy_of(request).database
    async with serve(request, database.transaction(target.id)) as session:
        yield session


async def open_founding(request: Request, operator: OperatorOnly) -> AsyncIterator[TenantSession]:
    """Yield a session of the platform role, bound to the id of a tenant that is about to be made."""
    async with serve(request, platform_of(request).transaction(new_id())) as session:
        yield session


async def open_crossing(request: Request, operator: OperatorOnly) -> AsyncIterator[PlatformSession]:
    """Yield a session of the platform role that crosses tenants."""
    async with serve(request, platform_of(request).platform_transaction()) as session:
        yield session


async def open_public(request: Request) -> AsyncIterator[PlatformSession]:
    """Yield a session bound to nobody: what strangers may read belongs to no tenant."""
    async with tenancy_of(request).database.platform_transaction() as session:
        yield session


TargetReads = Annotated[TargetReader, Depends(read_target)]
TargetSession = Annotated[TenantSession, Depends(open_target, scope="function")]
GoverningSession = Annotated[TenantSession, Depends(open_governing, scope="function")]
CallersSession = Annotated[TenantSession, Depends(open_callers, scope="function")]
FoundingSession = Annotated[TenantSession, Depends(open_founding, scope="function")]
CrossingSession = Annotated[PlatformSession, Depends(open_crossing, scope="function")]
PublicSession = Annotated[PlatformSession, Depends(open_public, scope="function")]
