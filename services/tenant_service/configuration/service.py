"""The rules of a tenant's configuration: what is in force and why, and how it changes.

Each change is a new version, is audited, and drops the tenant from every cache within a second.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from mis_jobs.outbox import EventType, publish
from mis_tenancy.access import Permission, require_grant, require_permission
from mis_tenancy.configuration import KNOWN, merged, plan_layer
from mis_tenancy.errors import ActAsRequired
from mis_tenancy.plans import PLANS, PlanName
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.sealed_keys import SEALED
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow, ConfigurationVersionRow, TenantRow
from mis_tenancy.tenant import Role, Tenant
from mis_tenancy.turns import lock_tenant
from tenant_service.configuration import repository
from tenant_service.configuration.errors import ConfigNotFound, ConfigVersionNotFound
from tenant_service.configuration.room import hold_to_room
from tenant_service.configuration.rules import hold_members, judge
from tenant_service.configuration.secrets import Secrets, fingerprint_of
from tenant_service.trail import Caller

Hold = Callable[[int], None]


class Layer(StrEnum):
    """Which layer a value in force comes from."""

    DEFAULT = "default"
    PLAN = "plan"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key in force: `value` merged over the layers, `override` the tenant's own part of it.

    An encrypted key shows a fingerprint instead. `version` is 0 where the tenant has no value of its own.
    """

    key: str
    value: Any
    override: Any
    layer: Layer
    is_encrypted: bool = False
    version: int = 0
    updated_at: datetime | None = None
    fingerprint: str | None = None


class Configuration:
    """The configuration of the session's tenant, as `caller` may see and change it."""

    def __init__(self, session: TenantSession, secrets: Secrets, tenant: Tenant, caller: Caller) -> None:
        self._session = session
        self._secrets = secrets
        self._tenant = tenant
        self._caller = caller

    async def entries(self, limit: int, after: str = "") -> list[Entry]:
        """Return up to `limit` keys in force past `after`, in their own order."""
        known = {*plan_layer(self._tenant.plan), *await repository.overridden_keys(self._session)}
        keys = sorted(key for key in known if key > after)[:limit]
        own = await repository.overrides(self._session, keys)
        return [_entry(key, self._tenant.plan, own.get(key)) for key in keys]

    async def entry(self, key: str) -> Entry:
        """Return one key in force; raise ConfigNotFound."""
        return _entry(key, self._tenant.plan, await repository.override(self._session, key))

    async def reveal(self, key: str) -> Entry:
        """Return one key with its secret in clear, and leave a trace of it.

        Raise ActAsRequired for an operator outside the tenant, ConfigUndecryptable for a damaged secret.
        """
        if self._caller.is_operator:
            raise ActAsRequired
        row = await repository.override(self._session, key)
        entry = _entry(key, self._tenant.plan, row)
        if row is None or not row.is_encrypted:
            return entry
        value = await self._secrets.open(key, row.config_value)
        self._caller.record(self._session, "config.revealed", resource=f"config/{key}")
        return _entry(key, self._tenant.plan, row, revealed=value)

    async def put(self, key: str, value: Any, *, is_encrypted: bool, hold: Hold) -> Entry:
        """Set a key of the tenant's own; `hold` raises where the caller expected another version."""
        self._hold_to_owners(key)
        tenant, before = await self._locked(key, hold)
        plan = PlanName(tenant.plan)
        judge(key, value, is_encrypted=is_encrypted)
        await self._hold(key, value, plan)
        await hold_to_room(self._session, key, before)
        old = _visible(before)
        stored = await self._secrets.seal(key, value) if is_encrypted else value
        row = await self._write(tenant, key, stored, is_encrypted=is_encrypted)
        self._left("config.changed", key, tenant, {"old": old, "new": _visible(row)})
        return _entry(key, plan, row)

    async def remove(self, key: str, hold: Hold) -> None:
        """Let the plan's value come back; raise ConfigNotFound where the tenant has none of its own."""
        self._hold_to_owners(key)
        tenant, before = await self._locked(key, hold)
        if before is None:
            raise ConfigNotFound
        await self._hold_to_plan(key, tenant)
        await self._drop(tenant, before)

    async def history(
        self, key: str, *, limit: int, ascending: bool, after: int | None
    ) -> Sequence[ConfigurationVersionRow]:
        """Return versions of a key; raise ConfigNotFound for a key that never had a value."""
        found = await repository.versions(self._session, key, limit=limit, ascending=ascending, after=after)
        if not found and after is None:
            await self.entry(key)
        return found

    async def roll_back(self, key: str, number: int, hold: Hold) -> Entry:
        """Make the value of an earlier version the newest one, under the rules of today.

        A version that is a removal removes the tenant's own value again. Raise ConfigVersionNotFound, or
        ConfigUndecryptable where that version's secret no longer opens.
        """
        self._hold_to_owners(key)
        tenant, current = await self._locked(key, hold)
        past = await repository.version(self._session, key, number)
        if past is None:
            raise ConfigVersionNotFound
        if past.deleted:
            if current is not None:
                await self._hold_to_plan(key, tenant)
                await self._drop(tenant, current)
            return _below(key, PlanName(tenant.plan)) or Entry(key, None, None, Layer.DEFAULT)
        return await self._restore(tenant, current, past)

    async def _restore(
        self, tenant: TenantRow, current: ConfigurationRow | None, past: ConfigurationVersionRow
    ) -> Entry:
        key, value, plan = past.config_key, past.config_value, PlanName(tenant.plan)
        shown = await self._secrets.open(key, value) if past.is_encrypted else value
        judge(key, shown, is_encrypted=past.is_encrypted)
        await self._hold(key, value, plan)
        await hold_to_room(self._session, key, current)
        old = _visible(current)
        row = await self._write(tenant, key, value, is_encrypted=past.is_encrypted)
        change = {"old": old, "new": _visible(row), "to_version": past.version}
        self._left("config.rolled_back", key, tenant, change)
        return _entry(key, plan, row)

    async def _hold(self, key: str, value: Any, plan: PlanName) -> None:
        """Raise the refusal of a value that this caller may not give a key."""
        if key in KNOWN and not self._caller.is_operator:
            words = await repository.operators_words(self._session, [key])
            hold_members(key, value, plan, words.get(key))

    def _hold_to_owners(self, key: str) -> None:
        """Raise the refusal where the key says who gets in, which neither admins nor operators may.

        Whoever names the provider that vouches for people can be any of them.
        """
        if key not in SEALED:
            return
        if self._caller.is_operator:
            raise ActAsRequired
        require_permission(self._caller.principal, Permission.CONFIG_REVEAL)
        require_grant(self._caller.principal, Role.OWNER)

    async def _hold_to_plan(self, key: str, tenant: TenantRow) -> None:
        """Raise the refusal where this caller may not let the plan's value come back."""
        plan = PlanName(tenant.plan)
        await self._hold(key, plan_layer(plan).get(key), plan)

    async def _locked(self, key: str, hold: Hold) -> tuple[TenantRow, ConfigurationRow | None]:
        tenant = await lock_tenant(self._session)
        row = await repository.override(self._session, key)
        hold(0 if row is None else row.version)
        return tenant, row

    async def _write(
        self, tenant: TenantRow, key: str, value: Any, *, is_encrypted: bool
    ) -> ConfigurationRow:
        now = datetime.now(UTC)
        row = await repository.put(
            self._session, key, value, is_encrypted=is_encrypted, by=self._caller, now=now
        )
        age_document(tenant, key, now)
        return row

    async def _drop(self, tenant: TenantRow, row: ConfigurationRow) -> None:
        key, now, old = row.config_key, datetime.now(UTC), _visible(row)
        await repository.drop(self._session, row, by=self._caller, now=now)
        age_document(tenant, key, now)
        self._left("config.deleted", key, tenant, {"old": old, "new": None})

    def _left(self, action: str, key: str, tenant: TenantRow, change: dict[str, Any]) -> None:
        """Leave the audit row, with values only where they are ours to read, and tell every cache."""
        shown = change if key in KNOWN else {}
        changes = {"config_value": shown}
        self._caller.record(self._session, action, resource=f"config/{key}", changes=changes)
        tell_of_change(self._session, key)
        revoke(self._session, Kind.TENANT, tenant_id=tenant.id)


def _entry(key: str, plan: PlanName, row: ConfigurationRow | None, revealed: Any = None) -> Entry:
    if row is None:
        below = _below(key, plan)
        if below is None:
            raise ConfigNotFound
        return below
    own = revealed if row.is_encrypted else row.config_value
    return Entry(
        key=key,
        value=own if row.is_encrypted else merged(plan_layer(plan).get(key), own),
        override=own,
        layer=Layer.TENANT,
        is_encrypted=row.is_encrypted,
        version=row.version,
        updated_at=row.updated_at,
        fingerprint=fingerprint_of(row.config_value) if row.is_encrypted else None,
    )


def _below(key: str, plan: PlanName) -> Entry | None:
    """Return what is in force where the tenant has no value of its own."""
    layer = plan_layer(plan)
    if key not in layer:
        return None
    source = Layer.PLAN if key in PLANS[plan].configuration else Layer.DEFAULT
    return Entry(key, layer[key], None, source)


def _visible(row: ConfigurationRow | None) -> Any:
    return None if row is None or row.is_encrypted else row.config_value


def tell_of_change(session: TenantSession, key: str) -> None:
    """Tell whoever subscribed of the change, and of the tenant's document where that shows the key."""
    publish(session, EventType.CONFIG_CHANGED, {"configKey": key})
    if is_shown(key):
        publish(session, EventType.TENANT_UPDATED, {"changed": ["features"]})


def is_shown(key: str) -> bool:
    """Return whether the tenant's own document shows the key: its `features` are a view of these."""
    return key.startswith("features.")


def age_document(tenant: TenantRow, key: str, now: datetime) -> None:
    """Give the tenant's own document a new version where it shows the key."""
    if is_shown(key):
        tenant.version += 1
        tenant.updated_at = now
