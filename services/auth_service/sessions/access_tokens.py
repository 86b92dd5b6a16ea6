"""Access tokens: what is claimed for whom, and for how long (RFC 9068)."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from mis_tenancy.access import (
    ACT_AS_PERMISSIONS,
    RESTRICTED_PERMISSIONS,
    ROLE_PERMISSIONS,
    Permission,
    scope_of,
)
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Role, Tenant
from mis_tenancy.tokens.claims import LONGEST_LIFETIME, OPERATOR
from mis_tenancy.tokens.signing import sign_access_token

TOKEN_TYPE: Final = "Bearer"  # noqa: S105  # how the token is presented, not a secret

CurrentKey = Callable[[], Awaitable[tuple[str, EllipticCurvePrivateKey]]]


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a token is for: `epoch` is their half of its `ver`, `session_id` what it lives and dies with."""

    id: UUID
    epoch: int
    session_id: UUID


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token, and its life in seconds."""

    text: str = field(repr=False)
    expires_in: int


class AccessTokens:
    """Signs access tokens with the key that `current_key` returns; `clock` gives seconds since 1970."""

    def __init__(
        self, current_key: CurrentKey, *, issuer: str, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._current_key = current_key
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def for_member(
        self, holder: Holder, role: Role, tenant: Tenant, *, restricted: bool
    ) -> AccessToken:
        """Return a member's token; a `restricted` one has only what the owner of an ending tenant keeps."""
        permissions = RESTRICTED_PERMISSIONS if restricted else ROLE_PERMISSIONS[role]
        own = {"restricted": True} if restricted else {}
        lifetime = min(LONGEST_LIFETIME, tenant.configuration["session.timeout"])
        return await self._sign(holder, lifetime, _in_tenant(holder, tenant, role, permissions) | own)

    async def for_operator(self, holder: Holder) -> AccessToken:
        """Return the token of an operator on the platform, which opens no tenant."""
        return await self._sign(
            holder, LONGEST_LIFETIME, {"ver": [holder.epoch, 0], "role": OPERATOR, "scope": ""}
        )

    async def for_visit(self, holder: Holder, tenant: Tenant) -> AccessToken:
        """Return the token with which an operator acts in a tenant, and which says so (RFC 8693 §4.1)."""
        own = _in_tenant(holder, tenant, Role.ADMIN, ACT_AS_PERMISSIONS)
        return await self._sign(holder, LONGEST_LIFETIME, own | {"act": {"sub": str(holder.id)}})

    async def _sign(self, holder: Holder, lifetime: int, own: dict[str, Any]) -> AccessToken:
        kid, private = await self._current_key()
        issued = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(holder.id),
            "iat": issued,
            "exp": issued + lifetime,
            "jti": str(new_id()),
            "sid": str(holder.session_id),
        }
        return AccessToken(sign_access_token(private, kid, claims | own), lifetime)


def _in_tenant(
    holder: Holder, tenant: Tenant, role: Role, permissions: frozenset[Permission]
) -> dict[str, Any]:
    return {
        "ver": [holder.epoch, tenant.epoch],
        "role": role.value,
        "scope": scope_of(permissions),
        "tenantId": str(tenant.id),
        "tenantSlug": tenant.slug,
    }
