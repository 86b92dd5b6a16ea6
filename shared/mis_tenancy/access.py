"""Permissions and features: what an endpoint declares that it needs, and who has it.

One table says what each role may do. A token carries its permissions as `scope`, so that a narrow token (an
API key's, an ending tenant's owner's) is judged by the same line of code as a full one.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mis_tenancy.errors import FeatureNotAvailable, PermissionDenied
from mis_tenancy.plans import Feature, plans_with
from mis_tenancy.tenant import Principal, PrincipalKind, Role, Tenant


class Permission(StrEnum):
    """What a member may be allowed to do."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    MEDIA_READ = "media:read"
    MEDIA_WRITE = "media:write"
    USAGE_READ = "usage:read"
    CONFIG_READ = "config:read"
    CONFIG_WRITE = "config:write"
    CONFIG_REVEAL = "config:reveal"
    AUDIT_READ = "audit:read"
    EXPORTS_WRITE = "exports:write"
    INVITATIONS_WRITE = "invitations:write"
    APIKEYS_WRITE = "apikeys:write"
    WEBHOOKS_WRITE = "webhooks:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    TENANT_WRITE = "tenant:write"
    TENANT_MIGRATE = "tenant:migrate"
    TENANT_DELETE = "tenant:delete"
    TENANT_RESTORE = "tenant:restore"
    KEYS_WRITE = "keys:write"


P = Permission
_VIEWER: Final = frozenset({P.USERS_READ, P.MEDIA_READ, P.USAGE_READ})
_MEMBER: Final = _VIEWER | {P.MEDIA_WRITE}
_ADMIN: Final = _MEMBER | {
    P.USERS_WRITE,
    P.CONFIG_READ,
    P.CONFIG_WRITE,
    P.AUDIT_READ,
    P.EXPORTS_WRITE,
    P.INVITATIONS_WRITE,
    P.APIKEYS_WRITE,
    P.WEBHOOKS_WRITE,
    P.BILLING_READ,
    P.TENANT_WRITE,
}
_OWNER: Final = frozenset(Permission)

ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {Role.VIEWER: _VIEWER, Role.MEMBER: _MEMBER, Role.ADMIN: _ADMIN, Role.OWNER: _OWNER}
)

# An operator inside a tenant works as its admin, but makes no keys that outlast the visit.
ACT_AS_PERMISSIONS: Final = _ADMIN - {P.APIKEYS_WRITE}

# What the owner of an ending tenant keeps: seeing, paying, exporting, restoring.
RESTRICTED_PERMISSIONS: Final = frozenset(
    {P.TENANT_RESTORE, P.EXPORTS_WRITE, P.BILLING_READ, P.BILLING_WRITE}
)


def scope_of(permissions: frozenset[Permission]) -> str:
    """Return the `scope` claim for `permissions`, in a stable order (RFC 8693 §4.2)."""
    return " ".join(sorted(permissions))


def is_platform_operator(principal: Principal) -> bool:
    """Return whether this is an operator on the platform, not one who acts inside a tenant."""
    return principal.kind is PrincipalKind.OPERATOR and principal.tenant_id is None


def require_permission(principal: Principal, permission: Permission) -> None:
    """Raise PermissionDenied, naming what was `required`, unless the token's scope has it."""
    if permission.value not in principal.scopes:
        raise PermissionDenied(required=permission.value)


def require_feature(tenant: Tenant, feature: Feature) -> None:
    """Raise FeatureNotAvailable, with the plans that include it, unless `feature` is in force."""
    if not tenant.has(feature):
        raise FeatureNotAvailable(
            feature=feature.value, plan=tenant.plan.value, availableIn=plans_with(feature)
        )


def role_of_key(scopes: frozenset[str], creators: Role) -> Role:
    """Return the role up to which an API key may manage people: at most its creator's.

    It is an administrator or owner only with everything that such a one may do. Beneath that, whom it may
    manage is decided by `users:write` alone; what it may grant is narrower (`require_grant`).
    """
    for role in (Role.OWNER, Role.ADMIN):
        if creators.rank >= role.rank and ROLE_PERMISSIONS[role] <= scopes:
            return role
    return min(Role.MEMBER, creators, key=lambda role: role.rank)


def may_manage(actor: Role | None, target: Role) -> bool:
    """Return whether someone of role `actor` may change or remove someone of role `target`."""
    return actor is not None and actor.rank >= target.rank


def require_rank(principal: Principal, role: Role) -> None:
    """Raise PermissionDenied where the role of somebody to be changed or removed is above the caller's."""
    if not may_manage(principal.role, role):
        raise PermissionDenied(
            f"Only someone of at least the role {role.value} may do this.", required=role.value
        )


def require_grant(principal: Principal, role: Role) -> None:
    """Raise PermissionDenied, naming one that is lacking, unless the caller has every permission of `role`.

    Whoever makes a person, or decides where a person's mail goes, can be that person. So a narrow key and a
    visiting operator make nobody who may do more than they (docs/decisions/0026-who-may-grant-a-role.md).
    """
    require_rank(principal, role)
    lacking = sorted(ROLE_PERMISSIONS[role] - principal.scopes)
    if lacking:
        raise PermissionDenied(
            f"Only someone who may do all that the role {role.value} may can do this.", required=lacking[0]
        )


def widest_grant(principal: Principal) -> Role | None:
    """Return the highest role that the caller may grant, or None where it is not even the lowest."""
    for role in sorted(Role, key=lambda role: role.rank, reverse=True):
        if may_manage(principal.role, role) and ROLE_PERMISSIONS[role] <= principal.scopes:
            return role
    return None
