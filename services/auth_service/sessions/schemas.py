"""Bodies of the session routes, and what the sign-in routes have in common."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from auth_service.sessions.access_tokens import TOKEN_TYPE, AccessToken
from auth_service.sessions.books import AnySessionRow
from auth_service.sessions.refresh_tokens import RefreshToken
from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_tenancy.tenant import Tenant

# Far longer than any refresh token, and far shorter than a body may be.
RefreshTokenText = Annotated[str, Field(max_length=1_024)]


class TenantOut(ResponseBody):
    """A tenant, as its members are told which one they are in."""

    id: UUID
    slug: str
    name: str

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        """Return the tenant as the API shows it."""
        return cls(id=tenant.id, slug=tenant.slug, name=tenant.name)


class PersonOut(ResponseBody):
    """A person and their role."""

    id: UUID
    email: str
    name: str
    role: Literal["owner", "admin", "member", "viewer", "operator"]


class TokenOut(ResponseBody):
    """An access token, to be sent as `Authorization: Bearer …`; `expiresIn` is in seconds."""

    success: Literal[True] = True
    token: str = Field(repr=False)
    token_type: Literal["Bearer"] = TOKEN_TYPE
    expires_in: int


class PairOut(TokenOut):
    """An access token and the refresh token that brings the next one."""

    refresh_token: str = Field(repr=False)


def pair(access: AccessToken, refresh: RefreshToken) -> dict[str, Any]:
    """Return the fields of a PairOut."""
    return {"token": access.text, "expires_in": access.expires_in, "refresh_token": refresh.text}


class LogoutIn(RequestBody):
    """What is signed out besides the bearer."""

    refresh_token: RefreshTokenText | None = Field(default=None, repr=False)


class SessionOut(ResponseBody):
    """A sign-in that has not ended."""

    id: UUID
    created_at: Moment
    last_seen_at: Moment
    ip: str | None
    user_agent: str | None
    current: bool

    @classmethod
    def of(cls, row: AnySessionRow, current: UUID | None) -> Self:
        """Return the row as the API shows it."""
        return cls(
            id=row.id,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            ip=row.ip,
            user_agent=row.user_agent,
            current=row.id == current,
        )


class ActOut(ResponseBody):
    """The operator behind a visit to a tenant (RFC 8693 §4.1)."""

    sub: UUID


class MeOut(ResponseBody):
    """The caller: who, where, with which rights, on which session; `act` marks an operator's visit."""

    user: PersonOut
    tenant: TenantOut | None
    permissions: list[str]
    features: list[str]
    session: SessionOut
    act: ActOut | None = Field(default=None, exclude_if=lambda value: value is None)
