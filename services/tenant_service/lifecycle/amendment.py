"""How a tenant's names, limits, features and settings change, by its members within bounds or by operators.

Members may lower what the tenant has, and switch on again what they switched off themselves; raising is the
operators', and so is renaming the slug, which other systems know it by.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic.alias_generators import to_camel

from mis_jobs.outbox import EventType, publish
from mis_tenancy.plans import PLANS, Feature, PlanName
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow, TenantRow
from mis_tenancy.turns import lock_tenant
from tenant_service.configuration import repository as configuration
from tenant_service.configuration.rules import may_have
from tenant_service.domains.claims import change_claim
from tenant_service.domains.names import judge_domain
from tenant_service.domains.repository import refuse_taken
from tenant_service.errors import operators_only
from tenant_service.lifecycle import repository
from tenant_service.lifecycle.document import TenantDocument, features_of
from tenant_service.lifecycle.errors import SlugTaken, SubdomainTaken, TooManyNames
from tenant_service.lifecycle.rules import (
    LIMITS,
    is_within,
    judge_features,
    judge_limits,
    judge_names,
    patched,
    wanted_features,
)
from tenant_service.lifecycle.search import vector_of
from tenant_service.trail import Caller

_NAMES: Final = ("slug", "subdomain")
# Names that a tenant has given up are nobody's for 90 days; without a cap one tenant could use up many.
MOST_HELD_BACK: Final = 10
_ONLY_LOWER: Final = (
    "Members may lower limits, and switch features of the plan off and on unless an operator has switched "
    "them off. Ask an operator of the platform."
)

Change = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to change: `columns` of the tenant's row, features, and a merge patch of the settings."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[Feature, bool] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Amending:
    """Changes the session's tenant on behalf of `caller`."""

    def __init__(self, session: TenantSession, *, platform_hosts: Sequence[str], caller: Caller) -> None:
        self._session = session
        self._platform_hosts = platform_hosts
        self._caller = caller

    async def amend(self, wanted: Amendment, hold: Callable[[int], None]) -> TenantDocument:
        """Change the tenant and return it; `hold` raises where the caller expected another version.

        Raise PermissionDenied for what only operators may do, then what plan and names refuse.
        """
        row = await lock_tenant(self._session)
        hold(row.version)
        overrides = await repository.feature_overrides(self._session)
        profile = await repository.profile(self._session)
        plan = PlanName(row.plan)
        features = features_of(plan, overrides)
        columns = {name: value for name, value in wanted.columns.items() if getattr(row, name) != value}
        asked = wanted_features(wanted.features, wanted.settings)
        switched = {feature: value for feature, value in asked.items() if features[feature] is not value}
        settings = patched(profile.settings, wanted.settings)
        await self._hold_members(row, columns, switched)
        self._judge(row, columns, switched)
        changes = _changes(row, columns, features, switched)
        if settings != profile.settings:
            changes["settings"] = {}
        if changes:
            now = datetime.now(UTC)
            profile.settings = settings
            await self._switch(plan, overrides, switched, now)
            await self._write(row, columns, now)
            self._leave_trail(row, changes)
        return TenantDocument(row, settings, features | switched)

    async def _hold_members(self, row: TenantRow, columns: Change, switched: Mapping[Feature, bool]) -> None:
        """Raise PermissionDenied for what only operators may do."""
        if self._caller.is_operator:
            return
        if "slug" in columns:
            raise operators_only("Only an operator of the platform may change a tenant's slug.")
        raised = any(not is_within(columns[name], getattr(row, name)) for name in LIMITS if name in columns)
        on = [f"features.{feature.value}" for feature, value in switched.items() if value]
        words = await configuration.operators_words(self._session, on) if on else {}
        plan = PlanName(row.plan)
        if raised or not all(may_have(key, True, plan, words.get(key)) for key in on):
            raise operators_only(_ONLY_LOWER)

    def _judge(self, row: TenantRow, columns: Change, switched: Mapping[Feature, bool]) -> None:
        limits = {name: value for name, value in columns.items() if name in LIMITS}
        judge_names({name: columns[name] for name in _NAMES if name in columns})
        judge_domain(columns.get("domain"), self._platform_hosts)
        judge_limits(PlanName(row.plan), limits)
        judge_features(PlanName(row.plan), switched)

    async def _write(self, row: TenantRow, columns: Change, now: datetime) -> None:
        if not columns.keys().isdisjoint(_NAMES):
            await self._rename(row, columns, now)
        if "domain" in columns:
            await refuse_taken(self._session, columns["domain"])
            # The proof was of the old domain.
            row.domain_verified_at = None
            await change_claim(self._session, columns["domain"], now)
        for name, value in columns.items():
            setattr(row, name, value)
        row.search = vector_of(row)
        row.version += 1
        row.updated_at = now
        await repository.flush_tenant(self._session)

    async def _rename(self, row: TenantRow, columns: Change, now: datetime) -> None:
        before = {getattr(row, name) for name in _NAMES}
        after = {name: columns.get(name, getattr(row, name)) for name in _NAMES}
        held = (await repository.claim_names(self._session, after.values(), now)).names
        if after["slug"] not in held:
            raise SlugTaken
        if after["subdomain"] not in held:
            raise SubdomainTaken
        await self._release(before - set(after.values()), now)

    async def _release(self, names: set[str], now: datetime) -> None:
        held_back = await repository.names_held_back(self._session, now)
        if names and not self._caller.is_operator and len(held_back) + len(names) > MOST_HELD_BACK:
            raise TooManyNames(limit=MOST_HELD_BACK, used=len(held_back), freeAt=held_back[0])
        await repository.release_names(self._session, names, now)

    async def _switch(
        self,
        plan: PlanName,
        overrides: Sequence[ConfigurationRow],
        switched: Mapping[Feature, bool],
        now: datetime,
    ) -> None:
        """Write features as versions of their keys; what the plan says anyway needs no override."""
        own = {row.config_key: row for row in overrides}
        for feature, value in switched.items():
            key = f"features.{feature.value}"
            if key in own and value is (feature in PLANS[plan].features):
                await configuration.drop(self._session, own[key], by=self._caller, now=now)
            else:
                await configuration.put(
                    self._session, key, value, is_encrypted=False, by=self._caller, now=now
                )
            publish(self._session, EventType.CONFIG_CHANGED, {"configKey": key})

    def _leave_trail(self, row: TenantRow, changes: Change) -> None:
        resource = f"tenants/{row.id}"
        self._caller.record(self._session, "tenant.updated", resource=resource, changes=changes)
        told = sorted(to_camel(name) for name in changes)
        publish(self._session, EventType.TENANT_UPDATED, {"changed": told})
        revoke(self._session, Kind.TENANT, tenant_id=row.id)


def _changes(
    row: TenantRow, columns: Change, features: Mapping[Feature, bool], switched: Mapping[Feature, bool]
) -> Change:
    """Return each field with its old and new value, as the audit log shows them."""
    changes: Change = {name: {"old": getattr(row, name), "new": value} for name, value in columns.items()}
    if switched:
        changes["features"] = {
            feature.value: {"old": features[feature], "new": value} for feature, value in switched.items()
        }
    return changes
