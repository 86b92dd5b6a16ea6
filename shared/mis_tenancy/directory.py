"""Which tenants there are: a bounded cache of their table, dropped entry by entry by the revocation feed.

Loading is single-flight, and an entry that was invalidated while it was being loaded is not kept: the load
may have read the row from before the change.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import UUID

from mis_tenancy.configuration import KNOWN, effective
from mis_tenancy.database import Database
from mis_tenancy.plans import PlanName
from mis_tenancy.postgres.connection import plain_uuid
from mis_tenancy.tenant import Tenant, TenantStatus

_COLUMNS: Final = """t.id, t.slug, t.subdomain, t.name, t.plan, t.status, t.epoch, t.domain,
       t.domain_verified_at, t.max_users, t.max_storage, t.status_reason, t.status_since, t.purge_at,
       t.purging_since"""
# Only our own list of columns goes into the text.
_BY_ID: Final = f"""
select {_COLUMNS},
       (select json_object_agg(c.config_key, c.config_value) from tenant_configurations c
         where c.tenant_id = $1 and not c.is_encrypted and c.config_key = any($2::text[])) as overrides
  from tenants t where t.id = $1
"""  # noqa: S608
_ID_OF: Final = {
    "slug": "select id from tenants where slug = $1 and status <> 'purged'",
    "subdomain": "select id from tenants where subdomain = $1 and status <> 'purged'",
    "domain": "select id from tenants "
    "where domain = $1 and domain_verified_at is not null and status <> 'purged'",
}

_Name = tuple[str, str]


class TenantDirectory:
    """Tenants by id, slug, subdomain and verified domain."""

    def __init__(self, database: Database, *, capacity: int = 20_000) -> None:
        self._database = database
        self._capacity = capacity
        self._tenants: OrderedDict[UUID, Tenant] = OrderedDict()
        self._ids: OrderedDict[_Name, UUID] = OrderedDict()
        self._nobodys: OrderedDict[_Name, None] = OrderedDict()
        self._loading: dict[UUID | _Name, asyncio.Task[Any]] = {}

    async def by_id(self, tenant_id: UUID) -> Tenant | None:
        """Return the tenant, whatever its status, or None; a hit awaits nothing."""
        known = self.cached(tenant_id)
        if known is not None:
            return known
        loaded: Tenant | None = await self._once(tenant_id, lambda: self._load(tenant_id))
        return loaded

    async def by_slug(self, slug: str) -> Tenant | None:
        """Return the tenant whose slug is `slug` (lower case), or None."""
        return await self._by_name(("slug", slug))

    async def by_subdomain(self, label: str) -> Tenant | None:
        """Return the tenant whose subdomain is `label` (lower case), or None."""
        return await self._by_name(("subdomain", label))

    async def by_domain(self, host: str) -> Tenant | None:
        """Return the tenant that has proven `host` (lower case) to be its own, or None."""
        return await self._by_name(("domain", host))

    def cached(self, tenant_id: UUID) -> Tenant | None:
        """Return the tenant if it is known without asking; for the hot path."""
        known = self._tenants.get(tenant_id)
        if known is not None:
            self._tenants.move_to_end(tenant_id)
        return known

    def invalidate(self, tenant_id: UUID) -> None:
        """Forget the tenant, and every name known to be nobody's; its own names are checked when used."""
        self._tenants.pop(tenant_id, None)
        self._nobodys.clear()
        # A load under way may have read the row before the change: its callers get it, the cache does not.
        for key in [key for key in self._loading if key == tenant_id or not isinstance(key, UUID)]:
            del self._loading[key]

    async def _by_name(self, name: _Name) -> Tenant | None:
        if name in self._nobodys:
            return None
        owner = self._ids.get(name)
        if owner is not None:
            self._ids.move_to_end(name)
            tenant = await self.by_id(owner)
            if tenant is not None and _is_named(tenant, name):
                return tenant
            self._ids.pop(name, None)
        owner = await self._once(name, lambda: self._find(name))
        tenant = None if owner is None else await self.by_id(owner)
        return tenant if tenant is not None and _is_named(tenant, name) else None

    async def _once(self, key: UUID | _Name, load: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(load())
            task.add_done_callback(lambda done: self._finished(key, done))
        # A caller that is cancelled must not take the load away from the others who wait for it.
        return await asyncio.shield(task)

    def _finished(self, key: UUID | _Name, task: asyncio.Task[Any]) -> None:
        if self._loading.get(key) is task:
            del self._loading[key]
        if not task.cancelled():
            # Taken, so that a failure nobody waits for any more is not reported as never retrieved.
            task.exception()

    async def _load(self, tenant_id: UUID) -> Tenant | None:
        async with self._database.system_transaction(tenant_id) as system:
            rows = await system.fetch(_BY_ID, tenant_id, list(KNOWN))
        tenant = _tenant(rows[0]) if rows else None
        if tenant is not None and self._may_keep(tenant_id):
            self._tenants[tenant_id] = tenant
            _bound(self._tenants, self._capacity)
        return tenant

    async def _find(self, name: _Name) -> UUID | None:
        kind, value = name
        async with self._database.system_transaction() as system:
            rows = await system.fetch(_ID_OF[kind], value)
        owner = plain_uuid(rows[0]["id"]) if rows else None
        if self._may_keep(name) and owner is None:
            self._nobodys[name] = None
            _bound(self._nobodys, self._capacity)
        elif self._may_keep(name) and owner is not None:
            self._ids[name] = owner
            _bound(self._ids, self._capacity)
        return owner

    def _may_keep(self, key: UUID | _Name) -> bool:
        return self._loading.get(key) is asyncio.current_task()


def _is_named(tenant: Tenant, name: _Name) -> bool:
    """Return whether the tenant still bears the name; a rename may be newer than the remembered owner."""
    kind, value = name
    return bool(getattr(tenant, kind) == value)


def _bound(cache: OrderedDict[Any, Any], capacity: int) -> None:
    if len(cache) > capacity:
        cache.popitem(last=False)


def _tenant(row: Any) -> Tenant:
    plan = PlanName(row["plan"])
    return Tenant(
        id=plain_uuid(row["id"]),
        slug=row["slug"],
        subdomain=row["subdomain"],
        name=row["name"],
        plan=plan,
        status=TenantStatus(row["status"]),
        epoch=row["epoch"],
        domain=row["domain"] if row["domain_verified_at"] is not None else None,
        max_users=row["max_users"],
        max_storage=row["max_storage"],
        status_reason=row["status_reason"],
        status_since=row["status_since"],
        purge_at=row["purge_at"],
        is_purging=row["purging_since"] is not None,
        configuration=effective(plan, json.loads(row["overrides"] or "{}")),
    )
