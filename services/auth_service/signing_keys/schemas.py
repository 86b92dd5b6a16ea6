"""Bodies of the key routes."""

from typing import Any, Literal, Self

from pydantic import BaseModel

from mis_http.schemas import Moment, ResponseBody
from mis_tenancy.tables import PublicSigningKeyRow


class KeySet(BaseModel):
    """A JWK set (RFC 7517 §5)."""

    keys: list[dict[str, Any]]


class Discovery(BaseModel):
    """The metadata of an authorization server (RFC 8414), as far as this one is one."""

    issuer: str
    jwks_uri: str
    token_endpoint: str
    revocation_endpoint: str
    userinfo_endpoint: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]


class SigningKeyOut(ResponseBody):
    """A signing key, without the key."""

    kid: str
    state: Literal["next", "current", "retired"]
    created_at: Moment
    retired_at: Moment | None
    verifies_until: Moment | None

    @classmethod
    def of(cls, row: PublicSigningKeyRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)
