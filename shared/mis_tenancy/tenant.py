"""The values every stage passes on: tenants, principals, sources and the admission of one request.

They are frozen and do no I/O, so a cached one can be shared by every request of a process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from mis_tenancy.plans import Feature, PlanName


class TenantStatus(StrEnum):
    """The states of a tenant's life, in the words of the API."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    MAINTENANCE = "maintenance"
    SUSPENDED = "suspended"
    PENDING_DELETION = "pending_deletion"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the directory knows it.

    `configuration` is the effective one (default < plan < tenant) without encrypted values; `max_storage`
    is in GiB, `None` is unlimited. `epoch` is the tenant's half of a token's `ver`. `domain` is set only
    while its DNS proof holds. `is_purging` says of a tenant pending deletion that nobody may come back to it.
    """

    id: UUID
    slug: str
    subdomain: str
    name: str
    plan: PlanName
    status: TenantStatus
    epoch: int = 0
    domain: str | None = None
    max_users: int | None = None
    max_storage: int | None = None
    status_reason: str | None = None
    status_since: datetime | None = None
    purge_at: datetime | None = None
    is_purging: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> frozenset[Feature]:
        """The features in force: those whose `features.*` key is true."""
        return frozenset(feature for feature in Feature if self.has(feature))

    def has(self, feature: Feature) -> bool:
        """Return whether `feature` is in force for this tenant."""
        return self.configuration.get(f"features.{feature.value}") is True

    @property
    def daily_limit(self) -> int | None:
        """API requests per UTC day (`api.rate_limit`); `None` is unlimited."""
        return self.configuration["api.rate_limit"]  # type: ignore[no-any-return]  # typed by the registry

    @property
    def burst_limit(self) -> int:
        """API requests per second (`api.burst_limit`)."""
        return self.configuration["api.burst_limit"]  # type: ignore[no-any-return]  # typed by the registry


class Role(StrEnum):
    """A member's role; each contains the ones after it."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def rank(self) -> int:
        """Return 3 for an owner down to 0 for a viewer."""
        return _RANKS[self]


_RANKS = {Role.OWNER: 3, Role.ADMIN: 2, Role.MEMBER: 1, Role.VIEWER: 0}


class PrincipalKind(StrEnum):
    """Who speaks: a person of the tenant, the platform's staff, or a program with a key."""

    MEMBER = "member"
    OPERATOR = "operator"
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    `id` is the token's `sub`; for an API key the key's own id, its role that up to which it may manage people
    and `user_epoch` its creator's. An operator on the platform has neither tenant nor role; one who acts in a
    tenant has both, and `acting_for` names him. `restricted` marks the narrow token of an owner whose tenant
    is ending: its permissions are `scopes` alone, whatever the role.
    """

    id: UUID
    kind: PrincipalKind
    tenant_id: UUID | None = None
    role: Role | None = None
    scopes: frozenset[str] = frozenset()
    session_id: UUID | None = None
    token_id: str = ""
    user_epoch: int = 0
    tenant_epoch: int = 0
    expires_at: float = 0.0
    acting_for: UUID | None = None
    restricted: bool = False


class SourceKind(StrEnum):
    """Where a request may name its tenant."""

    HEADER_ID = "header_id"
    HEADER_SLUG = "header_slug"
    SUBDOMAIN = "subdomain"
    DOMAIN = "domain"
    QUERY = "query"
    TOKEN = "token"  # noqa: S105  # the name of a source, not a secret
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Source:
    """One naming of a tenant, normalised: a slug or a host in lower case, or an id.

    A `TOKEN` source carries the id that the verified token proves; every other one is a hint. A `DOMAIN`
    source carries its `host`, and the `id` of the tenant whose verified domain that is once the directory
    was asked.
    """

    kind: SourceKind
    slug: str | None = None
    id: UUID | None = None
    host: str | None = None

    @property
    def value(self) -> str:
        """The value as the caller may see it again."""
        return self.host or self.slug or str(self.id or "")


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limiter's answer for one request.

    `burst_*` are requests and seconds of the per-second window, `daily_*` of the UTC day (`None`: unlimited).
    `mode` is `shared` when Redis decided and `local` when this process did.
    """

    admitted: bool
    burst_limit: int
    burst_remaining: int
    burst_reset: float
    daily_limit: int | None = None
    daily_remaining: int | None = None
    daily_reset: int = 0
    retry_after: float = 0.0
    refused_by: str | None = None
    mode: str = "shared"


@dataclass(frozen=True, slots=True)
class Admission:
    """What the middleware established about a request before the endpoint saw it."""

    request_id: str
    client_address: str
    sources: tuple[Source, ...] = ()
    tenant: Tenant | None = None
    principal: Principal | None = None
    allowance: Allowance | None = None
