"""Where commands act on a deployment: over its database, by the services' own rules, and with a trail.

What is done here is named in the audit logs by one actor that is no operator, COMMAND_LINE, and by who ran
the command on which machine.
"""

import asyncio
import contextlib
import getpass
import platform as machine
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from mis_accounts.passwords import Passwords
from mis_cli.deployment import Deployment
from mis_tenancy import revocations
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.logging import configure_logging
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.redis import Redis, RedisError
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tenant import Principal, PrincipalKind
from tenant_service.bulk.operations import Means, Operations
from tenant_service.plan_migration.downtime import Downtime
from tenant_service.trail import Caller

Result = TypeVar("Result")

COMMAND_LINE: Final = UUID("00000000-0000-7000-8000-6d6973636c69")


@dataclass(frozen=True, slots=True)
class Desk:
    """One command's access to a deployment."""

    operations: Operations
    platform: Database
    application: Database
    directory: TenantDirectory
    passwords: Passwords
    caller: Caller


def act(deployment: Deployment, work: Callable[[Desk], Awaitable[Result]]) -> Result:
    """Do `work` at a desk of the deployment and return what it returns."""

    async def at_desk() -> Result:
        async with opened(deployment) as desk:
            return await work(desk)

    # What a machine reads is on standard output.
    configure_logging("mis", level="ERROR", stream=sys.stderr)
    return asyncio.run(at_desk())


@asynccontextmanager
async def opened(deployment: Deployment) -> AsyncIterator[Desk]:
    """Yield a desk of the deployment; what it announced has left when the block ends."""
    wrapping = Wrapping(deployment.master_keys)
    keys = ActorKeys(wrapping)
    application = Database(deployment.database_url, pool_size=2, actor_keys=keys)
    platform = Database(deployment.platform_database_url, pool_size=2, actor_keys=keys)
    async with contextlib.AsyncExitStack() as stack:
        for database in (application, platform):
            stack.push_async_callback(database.stop)
            await database.start()
        if deployment.redis_url is not None:
            redis = Redis(deployment.redis_url, 1.0)
            await stack.enter_async_context(_announcing(redis, (application, platform)))
        directory, passwords, caller = TenantDirectory(application), Passwords(), _caller()
        means = Means(
            platform=platform,
            application=application,
            directory=directory,
            wrapping=wrapping,
            passwords=passwords,
            platform_hosts=deployment.platform_hosts,
            public_url=deployment.public_url,
            downtime=Downtime(application),
            settle=_forgetting(directory),
        )
        yield Desk(Operations(means, caller), platform, application, directory, passwords, caller)


@asynccontextmanager
async def _announcing(redis: Redis, databases: Sequence[Database]) -> AsyncIterator[None]:
    """Tell services and workers of each commit; without Redis they find out within half a second."""
    await redis.start()
    positions = Positions(redis)
    for database in databases:
        database.on_wake = redis.wake
        database.on_news = lambda: redis.wake(revocations.CHANNEL)
        database.on_write = positions.note
    try:
        yield
    finally:
        with contextlib.suppress(RedisError):
            # Its answer comes after those of the wake-ups, which nobody waits for.
            await redis.command("PING")
        await positions.stop()
        await redis.stop()


def _forgetting(directory: TenantDirectory) -> Callable[[AsyncSession], Awaitable[None]]:
    async def forget(session: AsyncSession) -> None:
        if isinstance(session, TenantSession):
            directory.invalidate(tenant_of(session))

    return forget


def agent() -> str:
    """Return what logs name the command line by: who ran it on which machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        user = "?"
    return f"mis ({user}@{machine.node()})"


def _caller() -> Caller:
    return Caller(Principal(COMMAND_LINE, PrincipalKind.OPERATOR), str(new_id()), None, agent())
