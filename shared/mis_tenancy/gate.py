"""Who asks, for which tenant, and whether that tenant may be served; else the first refusal that applies.

It decides about a request and neither limits nor records it, so that the same decision can be explained
without being carried out.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from starlette.types import Scope

from mis_tenancy.errors import (
    ActAsRequired,
    AuthenticationRequired,
    PermissionDenied,
    ProblemError,
    TenantNotFound,
    TenantPendingDeletion,
    TenantRequired,
    TenantSuspended,
    TenantUnavailable,
    TokenRevoked,
)
from mis_tenancy.resolution import HIDDEN, Directory, Resolver
from mis_tenancy.routes import Access
from mis_tenancy.tenant import Allowance, Principal, PrincipalKind, Source, SourceKind, Tenant, TenantStatus
from mis_tenancy.tokens.verification import TokenVerifier, bearer_of

PAST_DUE: Final = "past_due"
_NOT_SERVING: Final = frozenset({TenantStatus.PROVISIONING, TenantStatus.MAINTENANCE})


class Feed(Protocol):
    """What makes caches trustworthy."""

    async def confirm(self) -> None:
        """Return when the process is up to date; raise TenantUnavailable when that cannot be known."""
        ...


@dataclass(slots=True)
class Findings:
    """What is known about a request so far; a refusal leaves it as far as it came."""

    sources: tuple[Source, ...] = ()
    principal: Principal | None = None
    tenant: Tenant | None = None
    allowance: Allowance | None = None

    @property
    def is_of_tenant(self) -> bool:
        """Whether a verified principal of a known tenant asks: only then is the request the tenant's."""
        return self.principal is not None and self.tenant is not None

    @property
    def is_operators(self) -> bool:
        """Whether the platform's staff asks, whose requests use up nothing of the tenant's."""
        return self.principal is not None and self.principal.kind is PrincipalKind.OPERATOR


class Gate:
    """Establishes principal and tenant of a request, stage by stage."""

    def __init__(
        self, *, resolver: Resolver, directory: Directory, feed: Feed, verifier: TokenVerifier
    ) -> None:
        self._resolver = resolver
        self._directory = directory
        self._feed = feed
        self._verifier = verifier

    async def admit_stranger(self, scope: Scope, access: Access, findings: Findings) -> None:
        """Find the tenant that the hints name, where the route needs one; raise the refusal that applies."""
        findings.sources = self._resolver.survey(scope).judged()
        if findings.sources:
            await self._feed.confirm()
            findings.sources = await self._resolver.settle(findings.sources)
        if access is Access.PUBLIC_TENANT:
            if not findings.sources:
                raise TenantRequired
            findings.tenant = await self._resolver.resolve_hints(findings.sources)
            if findings.tenant is None:
                raise TenantNotFound
            _refuse_unavailable(findings.tenant)
        else:
            # Such a route may know a tenant that is hidden from strangers (to sign its owner in); it asks
            # itself.
            named = await self._resolver.resolve_any(findings.sources)
            findings.tenant = None if named is None or named.status in HIDDEN else named

    async def identify(self, scope: Scope, access: Access, findings: Findings) -> None:
        """Verify the bearer and load its tenant; raise the refusal that applies."""
        findings.sources = self._resolver.survey(scope).judged()
        bearer = bearer_of(scope)
        if bearer is None:
            raise AuthenticationRequired
        principal = await self._verifier.principal_of(bearer)
        await self._feed.confirm()
        # Asked again, because confirming may have brought the news.
        self._verifier.ensure_valid(principal)
        if principal.tenant_id is not None:
            findings.tenant = await self._living(principal.tenant_id)
        findings.principal = principal
        if findings.tenant is None and not access.takes_operators:
            raise ActAsRequired

    async def validate(self, findings: Findings) -> None:
        """Hold the hints against the token's tenant, and its status against the principal."""
        principal, tenant = findings.principal, findings.tenant
        if principal is None or tenant is None:
            return
        findings.sources = await self._resolver.settle(findings.sources, tenant)
        self._resolver.agree_with_principal(findings.sources, tenant)
        findings.sources += (Source(SourceKind.TOKEN, id=tenant.id),)
        if tenant.status is not TenantStatus.ACTIVE:
            _refuse_status(principal, tenant)

    def require_kind(self, access: Access, findings: Findings) -> None:
        """Raise PermissionDenied where the route is for people and a program asks."""
        principal = findings.principal
        if access is Access.PERSON and principal is not None and principal.kind is PrincipalKind.API_KEY:
            raise PermissionDenied(
                "This route is for people. An API key cannot use it; sign in instead.", required="person"
            )

    async def confirm(self, scope: Scope) -> None:
        """Raise the refusal that a caller who was let in would meet now."""
        await self._let_in(scope, Findings())

    async def explain(self, scope: Scope) -> dict[str, Any]:
        """Return `{verdict, code, sources: [{kind, value, tenantId}]}`: what this very request would meet.

        `tenantId` is there only for the caller's own tenant, which only a verified token can show.
        """
        findings, code = Findings(), None
        try:
            await self._examine(scope, findings)
        except ProblemError as refusal:
            code = refusal.code
        sources = findings.sources or self._resolver.survey(scope).sources
        own = findings.tenant if findings.principal is not None else None
        return {
            "verdict": "accepted" if code is None else "refused",
            "code": code,
            "sources": [_explained(source, own) for source in sources],
        }

    async def _living(self, tenant_id: UUID) -> Tenant:
        tenant = await self._directory.by_id(tenant_id)
        if tenant is None or tenant.status is TenantStatus.PURGED:
            raise TokenRevoked
        return tenant

    async def _let_in(self, scope: Scope, findings: Findings) -> None:
        await self.identify(scope, Access.OPERATOR_OR_MEMBER, findings)
        await self.validate(findings)

    async def _examine(self, scope: Scope, findings: Findings) -> None:
        if any(name == b"authorization" for name, _ in scope["headers"]):
            await self._let_in(scope, findings)
        else:
            await self.admit_stranger(scope, Access.PUBLIC_TENANT, findings)


def _refuse_unavailable(tenant: Tenant) -> None:
    if tenant.status in _NOT_SERVING:
        raise TenantUnavailable(retry_after=5)


def _refuse_status(principal: Principal, tenant: Tenant) -> None:
    """Refuse who may not enter a tenant of this status; operators inside it and its ending owner may."""
    _refuse_unavailable(tenant)
    if tenant.is_purging:
        raise TenantPendingDeletion(purgeAt=tenant.purge_at)
    if principal.kind is PrincipalKind.OPERATOR:
        return
    if tenant.status is TenantStatus.SUSPENDED:
        if not (principal.restricted and tenant.status_reason == PAST_DUE):
            raise TenantSuspended(reason=tenant.status_reason, since=tenant.status_since)
    elif not principal.restricted:
        raise TenantPendingDeletion(purgeAt=tenant.purge_at)


def _explained(source: Source, own: Tenant | None) -> dict[str, Any]:
    names_own = own is not None and _refers_to(source, own)
    return {
        "kind": source.kind.value,
        "value": source.value,
        "tenantId": str(own.id) if own is not None and names_own else None,
    }


def _refers_to(source: Source, tenant: Tenant) -> bool:
    return tenant.id == source.id or source.slug in (tenant.slug, tenant.subdomain)
