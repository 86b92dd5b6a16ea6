"""Bodies of the refresh route."""

from pydantic import Field

from auth_service.sessions.schemas import PairOut, RefreshTokenText, TenantOut
from mis_http.schemas import RequestBody


class RefreshIn(RequestBody):
    """The refresh token that the last sign-in or refresh brought."""

    refresh_token: RefreshTokenText = Field(repr=False)


class RefreshOut(PairOut):
    """A fresh pair; an operator's has no tenant."""

    tenant: TenantOut | None = Field(default=None, exclude_if=lambda value: value is None)
