"""One role's way into the one Postgres: sessions, the statement door and system work, bound or refused."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import Select, event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection

from mis_tenancy.errors import TenantUnavailable
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.origins.rows import ACTOR_KEYS
from mis_tenancy.postgres.connection import Binding, OnWrite, TenantConnection
from mis_tenancy.postgres.door import StatementDoor
from mis_tenancy.postgres.engines import dsn_of, engine_of
from mis_tenancy.postgres.pool import TenantPool
from mis_tenancy.postgres.poolers import (
    Pooler,
    dialect_options,
    driver_options,
    parse_database_url,
    refuse_wrong_pooler,
)
from mis_tenancy.postgres.system_transactions import SystemTransaction
from mis_tenancy.postgres.transactions import WholeTransaction
from mis_tenancy.postgres.wal import WRITTEN
from mis_tenancy.session import (
    AFTER,
    ON_NEWS,
    ON_NODES,
    ON_WAKE,
    ON_WRITE,
    PlatformSession,
    TenantSession,
    bind_platform,
    bind_tenant,
)
from mis_tenancy.settings import SettingsError

Part = TypeVar("Part")

# A session that has been closed would begin anew when used again: what is written then, nobody commits.
_ONCE: Final[Mapping[str, Any]] = MappingProxyType({"expire_on_commit": False, "close_resets_only": False})

_TOO_STRONG = """
select r.rolname as role, r.rolsuper as superuser, r.rolbypassrls as bypasses,
       array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p')
                and pg_has_role(r.oid, c.relowner, 'member')) as owns
  from pg_roles r
 where pg_has_role(current_user, r.oid, 'member')
   and (r.rolname = current_user or r.rolsuper or r.rolbypassrls)
 order by r.rolname = current_user
"""


class Database:
    """The connections of one database role.

    `pool_size` is per door, `url` says by its parameter `pooler` what stands before Postgres (`Pooler`).
    `actor_keys` are what audit rows keep origins under; without them a row says nothing of where its request
    came from. `on_news` is called after each commit that carried revocations, `on_wake` with each channel
    that a commit wakes, `on_write` with each tenant whose session has written and the position behind that;
    `around_fetch` is entered around each select through the statement door.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        actor_keys: ActorKeys | None = None,
    ) -> None:
        parsed, self._pooler = parse_database_url(url)
        named = {"application_name": "mis"}
        options = {"server_settings": named, "timeout": 10, **driver_options(self._pooler)}
        self.engine = _engine(parsed, pool_size, options, self._pooler)
        self._dsn = dsn_of(parsed)
        self._pool_size = pool_size
        self._options = options
        self._pool: TenantPool | None = None
        self._door: StatementDoor | None = None
        self.actor_keys = actor_keys
        self.on_news: Callable[[], None] | None = None
        self.on_wake: Callable[[str], None] | None = None
        self.around_fetch: Callable[[Select[*tuple[Any, ...]]], AbstractContextManager[None]] | None = None
        self.on_write: OnWrite | None = None
        # Whether it is a Citus cluster's, where a few statements have to be others; known once started.
        self.on_nodes = False

    @property
    def role(self) -> str:
        """The role this database is entered as."""
        return self.engine.url.username or ""

    async def start(self) -> None:
        """Open the pool; raise SettingsError when the role could see past row-level security.

        So does a URL that says another pooler than the one it leads to.
        """
        self._pool = await TenantPool.open(self._dsn, self._pool_size, **self._options)
        self._door = StatementDoor(self._pool)
        try:
            async with self._pool.transaction(Binding.NOBODY) as connection:
                await refuse_wrong_pooler(connection, self.role, self._pooler)
            await self._refuse_strong_role()
            await self._look_for_nodes()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.close()
        await self.engine.dispose()

    def session(self, tenant_id: UUID) -> TenantSession:
        """Return a session bound to the tenant; it connects with its first statement."""
        session = TenantSession(self.engine, **_ONCE, info=self._info())
        bind_tenant(session, tenant_id)
        return session

    def transaction(self, tenant_id: UUID) -> WholeTransaction[TenantSession]:
        """Enter a session bound to the tenant, commit at the end, roll back when the block raises."""
        return WholeTransaction(self.session(tenant_id))

    def silent_transaction(self, tenant_id: UUID) -> WholeTransaction[TenantSession]:
        """Enter a session as `transaction` does, whose writes are told to no reader of a replica.

        For a tenant that is going: a position that is told would be the last trace of it.
        """
        session = self.session(tenant_id)
        session.info[ON_WRITE] = None
        return WholeTransaction(session)

    @asynccontextmanager
    async def snapshot(self, tenant_id: UUID) -> AsyncIterator[TenantSession]:
        """Yield a session bound to the tenant that sees one moment for as long as it lasts, and cannot write.

        The moment is that of its first statement.
        """
        one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self.transaction(tenant_id) as session:
            await session.connection(execution_options=one_moment)
            yield session

    @asynccontextmanager
    async def reading(self, tenant_id: UUID, after: int | None = None) -> AsyncIterator[TenantSession]:
        """Yield a session bound to the tenant that cannot write.

        On a replica that has not replayed up to `after` its first statement raises ReplicaBehind.
        """
        async with self.transaction(tenant_id) as session:
            session.info[AFTER] = after
            await session.connection(execution_options={"postgresql_readonly": True})
            yield session

    async def written(self) -> int:
        """Return the position behind all that has been committed on this primary."""
        async with self.system_transaction() as system:
            position: int = (await system.fetch(WRITTEN))[0][0]
            return position

    async def is_replica(self) -> bool:
        """Return whether this server only replays what another one writes."""
        async with self.system_transaction() as system:
            return bool((await system.fetch("select pg_is_in_recovery()"))[0][0])

    def platform_transaction(self) -> WholeTransaction[PlatformSession]:
        """Enter a session that crosses tenants on purpose, as far as policies let its role; then commit."""
        return WholeTransaction(self.platform_session())

    def platform_session(self) -> PlatformSession:
        """Return a session bound to no tenant."""
        session = PlatformSession(self.engine, **_ONCE, info=self._info())
        bind_platform(session)
        return session

    async def fetch(
        self,
        statement: Select[*tuple[Any, ...]],
        tenant_id: UUID,
        values: Mapping[str, Any] | None = None,
        after: int | None = None,
    ) -> list[asyncpg.Record]:
        """Run a tenant's select through the statement door (see `StatementDoor.fetch`)."""
        door = _started(self._door)
        if self.around_fetch is None:
            return await door.fetch(statement, tenant_id, values, after)
        with self.around_fetch(statement):
            return await door.fetch(statement, tenant_id, values, after)

    @asynccontextmanager
    async def system_transaction(self, tenant_id: UUID | None = None) -> AsyncIterator[SystemTransaction]:
        """Yield a transaction of `tenant_id`, or of nobody until it is bound; commit at the end."""
        async with _started(self._pool).transaction(tenant_id or Binding.NOBODY) as connection:
            yield SystemTransaction(connection, on_nodes=self.on_nodes)

    async def is_settled(self) -> bool:
        """Return whether all that is committed by now can be read, on every node where there are some."""
        if not self.on_nodes:
            return True
        async with self.system_transaction() as system:
            return await system.is_settled()

    def _info(self) -> dict[str, Any]:
        return {
            ON_NEWS: self.on_news,
            ON_WAKE: self.on_wake,
            ON_WRITE: self.on_write,
            ON_NODES: self.on_nodes,
            ACTOR_KEYS: self.actor_keys,
        }

    async def _look_for_nodes(self) -> None:
        async with self.system_transaction() as system:
            self.on_nodes = bool(await system.fetch("select from pg_extension where extname = 'citus'"))

    async def _refuse_strong_role(self) -> None:
        async with self.system_transaction() as system:
            for row in await system.fetch(_TOO_STRONG):
                if row["superuser"] or row["bypasses"] or row["owns"]:
                    raise SettingsError(
                        f"The database role {self.role!r} can act as {row['role']!r}, which is superuser, "
                        "has BYPASSRLS or owns tables, so row-level security would not hold it. Connect as "
                        "mis_app, mis_auth or mis_platform (infrastructure/database/roles.sql)."
                    )


def _started(part: Part | None) -> Part:
    if part is None:
        raise RuntimeError("Database.start() has not been awaited.")
    return part


class _Pool(AsyncAdaptedQueuePool):
    """Hands connections out; whoever waits in vain is asked to come back, as that is no fault of theirs."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except exc.TimeoutError as error:
            raise TenantUnavailable("Too much is going on at the moment. Try again shortly.") from error


def _engine(url: URL, pool_size: int, options: dict[str, Any], pooler: Pooler | None) -> AsyncEngine:
    engine = engine_of(
        url,
        {**options, **dialect_options(pooler), "connection_class": TenantConnection},
        poolclass=_Pool,
        pool_size=pool_size,
        max_overflow=0,
        json_deserializer=_from_json,
    )
    _guard(engine)
    return engine


def _from_json(text: str) -> Any:
    """Return what `text` of a JSON column says: what `json.loads` returns, in a fraction of its time."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        # A number too large for a float, which Postgres keeps and Python calls infinite.
        return json.loads(text)


def _guard(engine: AsyncEngine) -> None:
    """Let no connection leave or enter the pool inside a transaction."""

    @event.listens_for(engine.sync_engine.pool, "checkout")
    def leave(dbapi: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
        driver: TenantConnection = dbapi.driver_connection
        if driver.is_closed():
            raise exc.DisconnectionError
        if driver.is_in_transaction():
            driver.terminate()
            raise exc.DisconnectionError
        driver.arm(None)

    @event.listens_for(engine.sync_engine.pool, "checkin")
    def enter(dbapi: Any, record: ConnectionPoolEntry) -> None:
        if dbapi is None:
            return
        driver: TenantConnection = dbapi.driver_connection
        driver.arm(None)
        if not driver.is_closed() and driver.is_in_transaction():
            driver.terminate()
