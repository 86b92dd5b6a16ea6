"""HTTP of the passkey routes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import (
    InvalidCredentials,
    LoginThrottled,
    PasskeyInvalid,
    PasskeyLimit,
    PasskeyNotFound,
    PasskeyOriginUnsupported,
    PasskeyTaken,
    SsoRequired,
)
from auth_service.login.schemas import LoginOut
from auth_service.mfa.schemas import ProofIn, proof_of
from auth_service.passkeys.dependencies import ArrivalOf, OwnPasskeysOf, RegistrationOf, passkey_of_path
from auth_service.passkeys.schemas import AnswerIn, AskedOut, PasskeyOut, RegistrationIn
from auth_service.passkeys.signing_in import PasskeySignIn
from mis_accounts.recent_sign_ins import ProofRequired
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import (
    FeatureNotAvailable,
    PermissionDenied,
    TenantNotFound,
    TenantPendingDeletion,
    TenantRequired,
    TenantSuspended,
)
from mis_tenancy.fastapi import CurrentTenant

router = APIRouter(prefix="/api/v1/auth/passkeys", tags=["passkeys"], route_class=DirectRoute)
CLOSED = (FeatureNotAvailable, PermissionDenied)
WRONG_PROOF = (ProofRequired, InvalidCredentials, LoginThrottled)


@router.post(
    "/register/options",
    responses=problems(*CLOSED, *WRONG_PROOF, PasskeyLimit, PasskeyOriginUnsupported),
)
async def ask_for_registration(registering: RegistrationOf, body: ProofIn | None = None) -> AskedOut:
    """Return what the browser is asked to make a passkey of the caller's with."""
    return AskedOut.of(await registering.ask(proof_of(body)))


@router.post(
    "/register/verify",
    status_code=201,
    responses=problems(*CLOSED, PasskeyInvalid, PasskeyTaken, PasskeyLimit, PasskeyOriginUnsupported),
)
async def register(body: RegistrationIn, registering: RegistrationOf) -> PasskeyOut:
    """Keep the passkey that the authenticator has made."""
    return PasskeyOut.of(await registering.finish(body.challenge_token, body.credential, body.name))


@router.post(
    "/login/options",
    responses=problems(TenantRequired, TenantNotFound, FeatureNotAvailable, PasskeyOriginUnsupported),
)
async def ask_for_sign_in(
    authority: AuthorityOf, caller: CallerOf, came_to: ArrivalOf, tenant: CurrentTenant
) -> AskedOut:
    """Return what the browser is asked to sign in with; it shows the person their passkeys."""
    return AskedOut.of(await PasskeySignIn(authority, caller, came_to).ask(tenant))


@router.post(
    "/login/verify",
    responses=problems(
        InvalidCredentials,
        LoginThrottled,
        FeatureNotAvailable,
        PasskeyOriginUnsupported,
        SsoRequired,
        TenantSuspended,
        TenantPendingDeletion,
    ),
)
async def sign_in(body: AnswerIn, authority: AuthorityOf, caller: CallerOf, came_to: ArrivalOf) -> LoginOut:
    """Sign in with a passkey; it counts as both factors."""
    signing_in = PasskeySignIn(authority, caller, came_to)
    return LoginOut.of(await signing_in.finish(body.challenge_token, body.credential))


@router.get("", responses=problems(*CLOSED))
async def list_passkeys(
    passkeys: OwnPasskeysOf, page: Paged, request: Request, response: Response
) -> list[PasskeyOut]:
    """List the caller's passkeys, newest first."""
    rows = await passkeys.page(page)
    return [PasskeyOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.delete("/{passkey_id}", status_code=204, responses=problems(*CLOSED, *WRONG_PROOF, PasskeyNotFound))
async def remove_passkey(
    passkeys: OwnPasskeysOf,
    passkey_id: Annotated[UUID, Depends(passkey_of_path)],
    body: ProofIn | None = None,
) -> None:
    """Remove one of the caller's passkeys."""
    await passkeys.remove(passkey_id, proof_of(body))
