"""HTTP of the key routes."""

from typing import Final

from fastapi import APIRouter, Response

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.operators.dependencies import OperatorOnly
from auth_service.signing_keys.schemas import Discovery, KeySet, SigningKeyOut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.tokens.verification import ALGORITHM

router = APIRouter(tags=["signing keys"], route_class=DirectRoute)

# Far below the time a retired key still verifies, so that no cache outlives what it holds.
_CACHED: Final = "public, max-age=300"


@router.get("/.well-known/jwks.json")
async def read_key_set(response: Response, authority: AuthorityOf) -> KeySet:
    """Return the public keys that access tokens are verified with."""
    response.headers["Cache-Control"] = _CACHED
    return KeySet(keys=await authority.keys.published())


@router.get("/.well-known/openid-configuration")
@router.get("/.well-known/oauth-authorization-server")
async def read_discovery(response: Response, authority: AuthorityOf) -> Discovery:
    """Return where the keys and the token routes are; never derived from the request's Host."""
    response.headers["Cache-Control"] = _CACHED
    issuer = authority.tenancy.settings.issuer
    return Discovery(
        issuer=issuer,
        jwks_uri=f"{issuer}/.well-known/jwks.json",
        token_endpoint=f"{issuer}/api/v1/auth/login",
        revocation_endpoint=f"{issuer}/api/v1/auth/logout",
        userinfo_endpoint=f"{issuer}/api/v1/auth/me",
        scopes_supported=sorted(Permission),
        response_types_supported=["token"],
        grant_types_supported=["password", "refresh_token"],
        token_endpoint_auth_methods_supported=["none"],
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=[ALGORITHM],
    )


@router.post("/api/v1/auth/signing-keys/rotate", responses=problems(PermissionDenied))
async def rotate_signing_keys(
    authority: AuthorityOf, by: OperatorOnly, caller: CallerOf
) -> list[SigningKeyOut]:
    """Let the next key sign; the current one goes on verifying until its last token has expired."""
    return [SigningKeyOut.of(key) for key in await authority.keys.rotate(by, caller)]
