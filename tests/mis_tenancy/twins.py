"""In-memory twins of the middleware's collaborators, and a small world of tenants for them to know."""

import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from starlette.types import Scope

from mis_tenancy.errors import AuditUnavailable, TenantUnavailable
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PLANS, PlanName
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.settings import MasterKeys, TenancySettings
from mis_tenancy.tenant import Allowance, Principal, Tenant, TenantStatus
from mis_tenancy.tokens.keyring import KeyRing
from mis_tenancy.tokens.signing import SigningKey, load_signing_key, new_signing_key, sign_access_token

T = TypeVar("T")

ISSUER = "https://mis.example"
AUDIENCE = "mis"
KEY = new_signing_key()
PRIVATE_KEY = load_signing_key(KEY.private_pem)


def settings(**changes: Any) -> TenancySettings:
    values: dict[str, Any] = {
        "database_url": "postgresql://mis_app@127.0.0.1/none",
        "issuer": ISSUER,
        "spool_directory": Path("unused"),
        "master_keys": MasterKeys({"k": b"0" * 32}, "k"),
        "base_domains": ("mis.local", "localhost"),
    }
    return TenancySettings(**(values | changes))


def tenant(slug: str, status: TenantStatus = TenantStatus.ACTIVE, **changes: Any) -> Tenant:
    values: dict[str, Any] = {
        "id": new_id(),
        "slug": slug,
        "subdomain": slug,
        "name": slug.title(),
        "plan": PlanName.BASIC,
        "status": status,
        "status_since": datetime(2026, 1, 1, tzinfo=UTC),
        "configuration": PLANS[PlanName.BASIC].configuration,
    }
    return Tenant(**(values | changes))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; fail where it would have to wait for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("It awaited something.")


class Directory:
    """The tenants it was given, and how often it was asked."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self.tenants = list(tenants)
        self.lookups: list[str] = []

    async def by_id(self, tenant_id: UUID) -> Tenant | None:
        return self._find("id", tenant_id)

    async def by_slug(self, slug: str) -> Tenant | None:
        return self._find("slug", slug)

    async def by_subdomain(self, label: str) -> Tenant | None:
        return self._find("subdomain", label)

    async def by_domain(self, host: str) -> Tenant | None:
        return self._find("domain", host)

    def replace(self, old: Tenant, **changes: Any) -> Tenant:
        new = replace(old, **changes)
        self.tenants[self.tenants.index(old)] = new
        return new

    def _find(self, attribute: str, value: object) -> Tenant | None:
        self.lookups.append(attribute)
        return next((tenant for tenant in self.tenants if getattr(tenant, attribute) == value), None)


@dataclass
class Feed:
    """Revocations by session, and whether they can be trusted."""

    revoked_sessions: set[UUID | None] = field(default_factory=set)
    is_confirmable: bool = True
    on_confirm: Callable[[], None] = lambda: None

    async def confirm(self) -> None:
        if not self.is_confirmable:
            raise TenantUnavailable
        self.on_confirm()

    def is_revoked(self, principal: Principal) -> bool:
        return principal.session_id in self.revoked_sessions


@dataclass
class Limiter:
    """Counts; refuses tenants by `refused_by`, and addresses past `address_limit`."""

    refused_by: str | None = None
    address_limit: int = 1_000_000
    counted: dict[str, int] = field(default_factory=dict)
    local_decisions: int = 0

    async def admit(self, tenant: Tenant, *, daily_exempt: bool) -> Allowance:
        refused_by = None if daily_exempt and self.refused_by == "daily" else self.refused_by
        if refused_by is None:
            self.counted[str(tenant.id)] = self.counted.get(str(tenant.id), 0) + 1
        return Allowance(
            admitted=refused_by is None,
            burst_limit=20,
            burst_remaining=19,
            burst_reset=0.05,
            daily_limit=1_000,
            daily_remaining=0 if refused_by == "daily" else 999,
            daily_reset=3_600,
            retry_after=1.0,
            refused_by=refused_by,
        )

    async def admit_address(self, network: str, per_second: int) -> Allowance:
        used = self.counted[network] = self.counted.get(network, 0) + 1
        admitted = used <= self.address_limit
        return Allowance(
            admitted=admitted,
            burst_limit=per_second,
            burst_remaining=0,
            burst_reset=1.0,
            retry_after=0.0 if admitted else 1.0,
            refused_by=None if admitted else "burst",
        )


@dataclass
class Recorder:
    """Keeps what it is told."""

    admitted: dict[UUID, AuditRecord] = field(default_factory=dict)
    finished: dict[UUID, tuple[int | None, str]] = field(default_factory=dict)
    noted: list[AuditRecord] = field(default_factory=list)
    features: dict[UUID, str | None] = field(default_factory=dict)
    is_full: bool = False

    def admit(self, record: AuditRecord) -> None:
        self._write()
        self.admitted[record.id] = record

    def finish(
        self,
        identifier: UUID,
        status: int | None,
        outcome: str,
        duration_us: int,
        feature: str | None = None,
    ) -> None:
        assert identifier in self.admitted
        assert identifier not in self.finished
        assert duration_us >= 0
        self.finished[identifier] = (status, outcome)
        self.features[identifier] = feature
        self._write()

    def note(self, record: AuditRecord) -> None:
        self._write()
        self.noted.append(record)

    def _write(self) -> None:
        if self.is_full:
            raise AuditUnavailable

    @property
    def outcomes(self) -> list[tuple[int | None, str]]:
        assert self.finished.keys() == self.admitted.keys()
        return list(self.finished.values())


def claims_of(tenant: Tenant | None, **changes: Any) -> dict[str, Any]:
    """Return good claims: a member's of `tenant`, or of a platform operator; `...` removes a claim."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(new_id()),
        "exp": now + 600,
        "iat": now,
        "jti": str(new_id()),
        "sid": str(new_id()),
        "ver": [0, 0],
        "role": "operator",
        "scope": "",
    }
    if tenant is not None:
        claims |= {
            "tenantId": str(tenant.id),
            "tenantSlug": tenant.slug,
            "role": "member",
            "scope": "users:read",
        }
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def token_of(tenant: Tenant | None, **changes: Any) -> str:
    return sign_access_token(PRIVATE_KEY, KEY.kid, claims_of(tenant, **changes))


def key_ring(*keys: SigningKey) -> KeyRing:
    async def load() -> Mapping[str, Mapping[str, Any]]:
        return {key.kid: key.public_jwk for key in keys or (KEY,)}

    ring = KeyRing(load)
    at_once(ring.refresh())
    return ring


def http_scope(
    path: str = "/api/v1/users",
    *,
    headers: Iterable[tuple[str, str | bytes]] = (),
    query: bytes = b"",
    method: str = "GET",
    client: tuple[str, int] | None = ("203.0.113.9", 1234),
) -> Scope:
    encoded = [
        (name.lower().encode(), value.encode("latin-1") if isinstance(value, str) else value)
        for name, value in headers
    ]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": encoded,
        "query_string": query,
        "client": client,
    }
