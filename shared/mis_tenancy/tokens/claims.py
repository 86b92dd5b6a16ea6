"""What an access token claims, checked member by member, and the principal that it makes.

Every claim has one type and one meaning; a token that leaves one out or contradicts itself is refused, also
when our own key signed it, because another kind of token might be signed with it one day.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from mis_tenancy.slugs import parse_id, parse_slug
from mis_tenancy.tenant import Principal, PrincipalKind, Role

OPERATOR: Final = "operator"
# The revocation feed remembers for twice this long, so a token that lived longer could outlive its
# revocation.
LONGEST_LIFETIME: Final = 900
_ROLES: Final = frozenset(role.value for role in Role)
_LATEST_IAT: Final = 60
_LONGEST_JTI: Final = 128
_LARGEST_EPOCH: Final = 2**63 - 1


class ClaimsError(ValueError):
    """A claim is missing, of another type or in contradiction; the message names it."""


def principal_of(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> Principal:
    """Return the principal that `claims` describe, expired or not; raise ClaimsError."""
    # Compared with the type, because to Python `1 == True` and a list may hold what it should be.
    _require("iss", _text(claims, "iss") == issuer)
    _require("aud", _text(claims, "aud") == audience)
    expires_at = _lifetime(claims, now)
    role, tenant_id = _standing(claims)
    user_epoch, tenant_epoch = _epochs(claims)
    subject = _id(claims, "sub")
    acting_for = _acting_for(claims, subject, tenant_id, role)
    restricted = claims.get("restricted", False)
    _require("restricted", isinstance(restricted, bool) and (not restricted or role is Role.OWNER))
    is_member = role is not None and acting_for is None
    return Principal(
        id=subject,
        kind=PrincipalKind.MEMBER if is_member else PrincipalKind.OPERATOR,
        tenant_id=tenant_id,
        role=role,
        scopes=frozenset(_text(claims, "scope").split()),
        session_id=_id(claims, "sid"),
        token_id=_token_id(claims),
        user_epoch=user_epoch,
        tenant_epoch=tenant_epoch,
        expires_at=expires_at,
        acting_for=acting_for,
        restricted=restricted,
    )


def _lifetime(claims: Mapping[str, Any], now: float) -> float:
    issued, expires = _integer(claims, "iat"), _integer(claims, "exp")
    _require("iat", 0 <= issued <= now + _LATEST_IAT)
    _require("exp", 0 < expires - issued <= LONGEST_LIFETIME)
    _require("nbf", "nbf" not in claims or _integer(claims, "nbf") <= now)
    return float(expires)


def _standing(claims: Mapping[str, Any]) -> tuple[Role | None, UUID | None]:
    """Return role and tenant: a platform operator has neither, everybody else both."""
    name = _text(claims, "role")
    if name == OPERATOR:
        _require("tenantId", "tenantId" not in claims and "tenantSlug" not in claims)
        return None, None
    _require("role", name in _ROLES)
    _require("tenantSlug", parse_slug(_text(claims, "tenantSlug")) is not None)
    return Role(name), _id(claims, "tenantId")


def _acting_for(
    claims: Mapping[str, Any], subject: UUID, tenant_id: UUID | None, role: Role | None
) -> UUID | None:
    """Return the operator behind an act-as token (RFC 8693 §4.1), who is its subject too."""
    if "act" not in claims:
        return None
    act = claims["act"]
    _require("act", isinstance(act, dict) and set(act) == {"sub"})
    _require("act", _id(act, "sub") == subject and tenant_id is not None and role is Role.ADMIN)
    return subject


def _epochs(claims: Mapping[str, Any]) -> tuple[int, int]:
    versions = claims.get("ver")
    _require("ver", isinstance(versions, list) and len(versions) == 2)
    user, tenant = versions  # type: ignore[misc]  # a list of two, as just required
    _require("ver", all(type(epoch) is int and 0 <= epoch <= _LARGEST_EPOCH for epoch in (user, tenant)))
    return user, tenant


def _token_id(claims: Mapping[str, Any]) -> str:
    token_id = _text(claims, "jti")
    _require("jti", 0 < len(token_id) <= _LONGEST_JTI and token_id.isprintable())
    return token_id


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise ClaimsError(name)
    return value


def _integer(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise ClaimsError(name)
    return value


def _id(claims: Mapping[str, Any], name: str) -> UUID:
    value = parse_id(_text(claims, name))
    if value is None:
        raise ClaimsError(name)
    return value


def _require(name: str, holds: bool) -> None:
    if not holds:
        raise ClaimsError(name)
