"""How a tenant comes to be: one transaction with names, row, settings, seats, key, overrides and first owner.

Everything is judged before the first statement, so a refusal has no effects and never held a connection. Then
the names are claimed, which is what parallel creations can quarrel about, and all the rows go in together:
whatever a feature adds to the session for a new tenant costs no further round trip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mis_accounts.emails import Email, parse_email
from mis_accounts.invitations import accept_url, new_invitation
from mis_accounts.members import add_first_member, member_columns
from mis_accounts.passwords import Passwords
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import CountersRow
from mis_models.tenants import TenantProfileRow
from mis_tenancy.encryption import Wrapping
from mis_tenancy.plans import PLANS, Feature, PlanName
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Role, TenantStatus
from tenant_service.billing.opening import open_subscription
from tenant_service.billing.subscription import price_of
from tenant_service.configuration.repository import add_first
from tenant_service.domains.errors import DomainTaken
from tenant_service.domains.names import judge_domain
from tenant_service.domains.repository import new_claim
from tenant_service.lifecycle import repository
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.errors import SlugTaken, SubdomainTaken
from tenant_service.lifecycle.rules import (
    judge_features,
    judge_limits,
    judge_names,
    wanted_features,
)
from tenant_service.lifecycle.search import vector_of
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class NewOwner:
    """The first owner; without a password only an invitation lets him in."""

    email: str
    name: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant to be made; `limits` and `features` hold what differs from the plan on purpose."""

    name: str
    slug: str
    subdomain: str
    plan: PlanName
    domain: str | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)
    features: Mapping[Feature, bool] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    owner: NewOwner | None = None


@dataclass(frozen=True, slots=True)
class _Owner:
    email: Email
    name: str
    password_hash: str | None


class Creation:
    """Makes the tenant whose id `session` is bound to already."""

    def __init__(
        self,
        session: TenantSession,
        *,
        wrapping: Wrapping,
        passwords: Passwords,
        platform_hosts: Sequence[str],
        caller: Caller,
        public_url: str,
    ) -> None:
        self._public_url = public_url
        self._session = session
        self._wrapping = wrapping
        self._passwords = passwords
        self._platform_hosts = platform_hosts
        self._caller = caller

    async def create(self, new: NewTenant) -> TenantDocument:
        """Make the tenant; raise a NameTaken, or what the plan or the password policy refuses."""
        features = self._judge(new)
        owner = None if new.owner is None else await self._judge_owner(new, new.owner)
        now = datetime.now(UTC)
        await self._claim(new, now)
        price = await price_of(self._session, new.plan, None, now)
        row = self._row(new, now)
        row.search = vector_of(row)
        self._session.add(row)
        in_force = self._furnish(new, features, now)
        invitation = self._seat(owner, now)
        open_subscription(self._session, new.plan, price, now)
        self._leave_trail(new)
        await repository.insert_tenant(self._session)
        return TenantDocument(row, new.settings, in_force, invitation)

    def _judge(self, new: NewTenant) -> dict[Feature, bool]:
        judge_names({"slug": new.slug, "subdomain": new.subdomain})
        judge_domain(new.domain, self._platform_hosts)
        judge_limits(new.plan, new.limits)
        features = wanted_features(new.features, new.settings)
        judge_features(new.plan, features)
        return features

    async def _judge_owner(self, new: NewTenant, owner: NewOwner) -> _Owner:
        email = parse_email(owner.email, field="owner.email")
        name = owner.name or email.address.partition("@")[0]
        hashed = None
        if owner.password is not None:
            policy = PLANS[new.plan].configuration["security.password_policy"]
            context = (email.norm, name, new.slug, new.name)
            hashed = await self._passwords.hash_new(owner.password, policy, context, field="owner.password")
        return _Owner(email, name, hashed)

    async def _claim(self, new: NewTenant, now: datetime) -> None:
        names = {new.slug, new.subdomain}
        claimed = await repository.claim_names(self._session, names, now, new.domain)
        if new.slug not in claimed.names:
            raise SlugTaken
        if new.subdomain not in claimed.names:
            raise SubdomainTaken
        if claimed.is_domain_taken:
            raise DomainTaken

    def _row(self, new: NewTenant, now: datetime) -> TenantRow:
        plan = PLANS[new.plan]
        return TenantRow(
            id=tenant_of(self._session),
            name=new.name,
            slug=new.slug,
            subdomain=new.subdomain,
            domain=new.domain,
            plan=new.plan.value,
            status=TenantStatus.ACTIVE.value,
            status_since=now,
            max_users=new.limits.get("max_users", plan.max_users),
            max_storage=new.limits.get("max_storage", plan.max_storage),
            epoch=0,
            version=1,
            created_at=now,
            updated_at=now,
        )

    def _furnish(self, new: NewTenant, wanted: Mapping[Feature, bool], now: datetime) -> dict[Feature, bool]:
        """Add what every tenant has, and its overrides; return the features in force."""
        session, included = self._session, PLANS[new.plan].features
        session.add(TenantProfileRow(settings=dict(new.settings)))
        session.add(self._wrapping.new_data_key(tenant_of(session), 1, now))
        if new.domain is not None:
            session.add(new_claim(now))
        for feature, value in wanted.items():
            # What the plan says anyway is no override: it would outlive a change of plan.
            if value is not (feature in included):
                add_first(session, f"features.{feature.value}", value, by=self._caller, now=now)
        return {feature: wanted.get(feature, feature in included) for feature in Feature}

    def _seat(self, owner: _Owner | None, now: datetime) -> str | None:
        """Add the first owner, who takes the first seat; every plan and every limit has at least that one.

        Return the link by which an owner without a password chooses one.
        """
        taken = 0 if owner is None else 1
        self._session.add(CountersRow(users=taken, pending_invitations=0, storage_bytes=0))
        if owner is None:
            return None
        columns = member_columns(
            owner.email,
            owner.name,
            Role.OWNER,
            now=now,
            password_hash=owner.password_hash,
            status="invited" if owner.password_hash is None else "active",
        )
        add_first_member(self._session, columns)
        told = {"id": str(columns["id"]), "role": columns["role"]}
        publish(self._session, EventType.USER_CREATED, told)
        return self._invite(owner.email, columns["id"], now) if owner.password_hash is None else None

    def _invite(self, email: Email, user_id: UUID, now: datetime) -> str:
        row, token = new_invitation(
            tenant_of(self._session), email, Role.OWNER, invited_by=self._caller.id, now=now, user_id=user_id
        )
        self._session.add(row)
        return accept_url(self._public_url, token)

    def _leave_trail(self, new: NewTenant) -> None:
        session, tenant_id = self._session, tenant_of(self._session)
        changes = {"slug": {"old": None, "new": new.slug}, "plan": {"old": None, "new": new.plan.value}}
        self._caller.record_directly(
            session, "tenant.created", resource=f"tenants/{tenant_id}", changes=changes
        )
        publish(session, EventType.TENANT_CREATED, {"slug": new.slug, "plan": new.plan.value})
        # Nobody knows the tenant yet, but processes may remember that its names are nobody's.
        revoke(session, Kind.TENANT, tenant_id=tenant_id)
