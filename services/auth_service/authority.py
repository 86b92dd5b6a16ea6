"""What every sign-in is made of, wired once per process."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.sessions.access_tokens import AccessTokens
from auth_service.signing_keys.service import SigningKeys
from mis_accounts.passwords import Passwords
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.tenancy import Tenancy


class Authority:
    """The collaborators of the auth service; `database` is entered as the auth role."""

    def __init__(self, tenancy: Tenancy, database: Database) -> None:
        self.tenancy = tenancy
        self.database = database
        self.passwords = Passwords()
        self.keys = SigningKeys(database, tenancy.wrapping, tenancy.feed.confirm)
        self.tokens = AccessTokens(
            self.keys.current, issuer=tenancy.settings.issuer, audience=tenancy.settings.audience
        )

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """Yield a session of the tenant, or of the platform without one; commit, then hear its news."""
        opened: AbstractAsyncContextManager[AsyncSession]
        opened = (
            self.database.platform_transaction()
            if tenant_id is None
            else self.database.transaction(tenant_id)
        )
        async with opened as session:
            yield session
        await self.tenancy.settle(session)

    @asynccontextmanager
    async def tenant_transaction(self, tenant_id: UUID) -> AsyncIterator[TenantSession]:
        """Yield a session bound to the tenant; commit, then hear its news."""
        async with self.database.transaction(tenant_id) as session:
            yield session
        await self.tenancy.settle(session)


async def prepare_keys(app: FastAPI) -> None:
    """At start, make sure that there are keys to sign with, and that this process verifies with them."""
    authority: Authority = app.state.authority
    authority.tenancy.feed.on_signing_key.append(authority.keys.forget)
    await authority.keys.ensure()
    await authority.tenancy.keys.refresh()


async def authority_of(request: Request) -> Authority:
    """Return the Authority the application was composed with."""
    authority: Authority = request.app.state.authority
    return authority


AuthorityOf = Annotated[Authority, Depends(authority_of)]
