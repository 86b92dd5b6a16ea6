"""Operations on tenants outside a request of their own: each in one transaction of the platform's role.

A bulk and the command line carry out the same operations here, by the rules of the single requests.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from mis_accounts.passwords import Passwords
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant
from tenant_service.endings.service import Endings
from tenant_service.lifecycle.creation import Creation, NewTenant
from tenant_service.lifecycle.states import States
from tenant_service.plan_migration.downtime import Downtime
from tenant_service.plan_migration.order import EffectiveAt, Order
from tenant_service.plan_migration.service import Migrations
from tenant_service.target import existing, refuse_purging
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class Means:
    """What operations are carried out with.

    `settle` is called with each session after its commit, so that what follows sees what was done.
    """

    platform: Database
    application: Database
    directory: TenantDirectory
    wrapping: Wrapping
    passwords: Passwords
    platform_hosts: Sequence[str]
    public_url: str
    downtime: Downtime
    settle: Callable[[AsyncSession], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that was done, now or by an earlier try.

    `owner_invitation` is the link by which the first owner of a new tenant chooses a password.
    """

    tenant_id: UUID
    owner_invitation: str | None = field(default=None, repr=False)
    is_replayed: bool = False


class Once:
    """What makes an operation happen at most once; by itself it does not.

    `mark` tells the operation from all others, where it may be tried again.
    """

    mark: bytes | None = None

    async def before(self, session: TenantSession) -> Done | None:
        """Return what was done the time before, None where this is the first one."""
        return None

    async def after(self, session: TenantSession, done: Done) -> None:
        """Note in the operation's own transaction that it was done."""


class _Undone(Exception):
    """Rolls a trial back."""


class Operations:
    """Carries out operations on behalf of `caller`, who is an operator."""

    def __init__(self, means: Means, caller: Caller) -> None:
        self._means = means
        self._caller = caller

    async def create(self, new: NewTenant, once: Once | None = None) -> Done:
        """Make a tenant; raise what Creation raises."""
        tenant_id = new_id()

        async def make(session: TenantSession) -> Done:
            document = await self._creation(session).create(new)
            return Done(tenant_id, document.owner_invitation)

        return await self._in_transaction(tenant_id, make, once)

    async def try_create(self, new: NewTenant) -> None:
        """Make a tenant and take it back; raise what `create` would raise."""
        with contextlib.suppress(_Undone):
            async with self._means.platform.transaction(new_id()) as session:
                await self._creation(session).create(new)
                raise _Undone

    async def suspend(self, named: str, reason: str, once: Once | None = None) -> Done:
        """Close the tenant of that id or slug; raise TenantNotFound, and what States raises."""
        return await self._on(
            named, lambda session, tenant: self._states(session, tenant).suspend(reason), once
        )

    async def reactivate(self, named: str, once: Once | None = None) -> Done:
        """Open the tenant of that id or slug again; raise TenantNotFound, and what States raises."""
        return await self._on(named, lambda session, tenant: self._states(session, tenant).reactivate(), once)

    async def delete(self, named: str, grace: timedelta | None, once: Once | None = None) -> Done:
        """Close the tenant of that id or slug for good after the grace; raise what Endings raises."""
        return await self._on(
            named, lambda session, tenant: self._ending(session, tenant).delete(grace), once
        )

    async def migrate(self, named: str, order: Order, once: Once | None = None) -> Done:
        """Move the tenant of that id or slug to another plan; raise what Migrations raises.

        It happens as the application's role, which reaches no operator's keys: a key is kept in a transaction
        around it. Should the process die between the two commits, a second try finds what the first has done
        by the mark that it left.
        """
        tenant = await existing(self._means.directory, named)
        refuse_purging(tenant)
        if once is None:
            await self._migrate(tenant.id, order)
            return Done(tenant.id)

        async def migrate(session: TenantSession) -> Done:
            await self._migrate(tenant.id, replace(order, mark=once.mark))
            return Done(tenant.id)

        return await self._in_transaction(tenant.id, migrate, once)

    async def restore(self, named: str, once: Once | None = None) -> Done:
        """Take the deletion of the tenant of that id or slug back; raise what Endings raises."""
        return await self._on(named, lambda session, tenant: self._ending(session, tenant).restore(), once)

    async def _migrate(self, tenant_id: UUID, order: Order) -> None:
        closed = await self._begun(tenant_id, order)
        if closed is None and order.downtime and order.effective_at is EffectiveAt.NOW:
            closed = await self._means.downtime.close(tenant_id, self._caller, order)
        async with self._means.application.transaction(tenant_id) as session:
            now = datetime.now(UTC)
            migrations = Migrations(session, self._caller, now)
            await (migrations.migrate(order) if closed is None else migrations.finish(closed, now))
        await self._means.settle(session)

    async def _begun(self, tenant_id: UUID, order: Order) -> UUID | None:
        """Return the migration that an earlier try of the order has begun, if there was one."""
        if order.mark is None:
            return None
        async with self._means.application.transaction(tenant_id) as session:
            found = await Migrations(session, self._caller, datetime.now(UTC)).marked(order.mark)
            return None if found is None else found.id

    def _creation(self, session: TenantSession) -> Creation:
        return Creation(
            session,
            wrapping=self._means.wrapping,
            passwords=self._means.passwords,
            platform_hosts=self._means.platform_hosts,
            caller=self._caller,
            public_url=self._means.public_url,
        )

    def _states(self, session: TenantSession, tenant: Tenant) -> States:
        return States(session, tenant, self._caller)

    def _ending(self, session: TenantSession, tenant: Tenant) -> Endings:
        return Endings(session, tenant, self._caller)

    async def _on(
        self, named: str, work: Callable[[TenantSession, Tenant], Awaitable[object]], once: Once | None
    ) -> Done:
        tenant = await existing(self._means.directory, named)
        refuse_purging(tenant)

        async def carry_out(session: TenantSession) -> Done:
            await work(session, tenant)
            return Done(tenant.id)

        return await self._in_transaction(tenant.id, carry_out, once)

    async def _in_transaction(
        self, tenant_id: UUID, work: Callable[[TenantSession], Awaitable["Done"]], once: Once | None
    ) -> Done:
        once = once or Once()
        async with self._means.platform.transaction(tenant_id) as session:
            before = await once.before(session)
            if before is not None:
                return replace(before, is_replayed=True)
            done = await work(session)
            await once.after(session, done)
        await self._means.settle(session)
        return done
