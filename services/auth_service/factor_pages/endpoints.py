"""HTTP of the pages of second factors and passkeys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, JSONResponse, Response

from auth_service.authority import AuthorityOf
from auth_service.errors import (
    CsrfRefused,
    InvalidCredentials,
    LoginThrottled,
    PasskeyInvalid,
    PasskeyLimit,
    PasskeyNotFound,
    PasskeyOriginUnsupported,
    PasskeyTaken,
    SsoRequired,
)
from auth_service.factor_pages.dependencies import OwnPasskeysOf, RegistrationOf
from auth_service.factor_pages.forms import credential_typed, name_typed, shown_in
from auth_service.mfa.proofs import Proof
from auth_service.mfa.signing_in import SecondStep
from auth_service.passkeys.dependencies import ArrivalOf, passkey_of_path
from auth_service.passkeys.schemas import AskedOut
from auth_service.passkeys.signing_in import PasskeySignIn
from auth_service.sign_in.forms import OWN_FORM
from auth_service.sign_in.pages import PagesOf
from auth_service.sign_in.visits import BrowserOf, SessionsOf, VisitorOf
from mis_accounts.recent_sign_ins import ProofRequired
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import AuthenticationRequired, FeatureNotAvailable, TenantNotFound, TokenInvalid

router = APIRouter(
    prefix="/login", tags=["pages"], default_response_class=HTMLResponse, route_class=DirectRoute
)

Typed = Annotated[str, Form()]
NextTyped = Annotated[str | None, Form(alias="next")]
_VISITORS = (TenantNotFound, CsrfRefused, AuthenticationRequired, FeatureNotAvailable)


@router.post(
    "/second-step",
    status_code=303,
    dependencies=[OWN_FORM],
    responses=problems(TenantNotFound, CsrfRefused, TokenInvalid, InvalidCredentials, LoginThrottled),
)
async def second_step(
    pages: PagesOf,
    sessions: SessionsOf,
    visitor: VisitorOf,
    authority: AuthorityOf,
    browser: BrowserOf,
    token: Annotated[str, Form(alias="mfaToken")] = "",
    code: Typed = "",
    recovery_code: Annotated[str, Form(alias="recoveryCode")] = "",
    next_path: NextTyped = None,
) -> Response:
    """Finish a sign-in that waits for its second factor; or ask again, or start anew, and say why."""
    try:
        done = await SecondStep(authority, browser).finish(token, shown_in(code, recovery_code))
    except TokenInvalid as refusal:
        return pages.form(next_path, refusal=refusal, wrong="That took too long. Sign in again.")
    except (InvalidCredentials, LoginThrottled) as refusal:
        return pages.second_step(token, next_path, refusal)
    if visitor is not None:
        await sessions.end(visitor)
    return pages.enter(done.refresh, next_path)


@router.post(
    "/passkey",
    status_code=303,
    dependencies=[OWN_FORM],
    responses=problems(
        *(TenantNotFound, CsrfRefused, InvalidCredentials, LoginThrottled),
        *(FeatureNotAvailable, PasskeyOriginUnsupported, SsoRequired),
    ),
)
async def sign_in_with_passkey(
    pages: PagesOf,
    sessions: SessionsOf,
    visitor: VisitorOf,
    authority: AuthorityOf,
    browser: BrowserOf,
    came_to: ArrivalOf,
    token: Annotated[str, Form(alias="challengeToken")] = "",
    credential: Typed = "",
    next_path: NextTyped = None,
) -> Response:
    """Sign in with what the authenticator has signed, and go on."""
    try:
        signing_in = PasskeySignIn(authority, browser, came_to)
        done = await signing_in.finish(token, credential_typed(credential))
    except (InvalidCredentials, LoginThrottled, SsoRequired) as refusal:
        return pages.form(next_path, refusal=refusal, wrong="The passkey could not be verified. Try again.")
    if visitor is not None:
        await sessions.end(visitor)
    return pages.enter(done.refresh, next_path)


@router.post(
    "/passkeys/options",
    response_class=JSONResponse,
    dependencies=[OWN_FORM],
    responses=problems(*_VISITORS, ProofRequired, PasskeyLimit, PasskeyOriginUnsupported),
)
async def ask_for_registration(registering: RegistrationOf) -> AskedOut:
    """Return what the browser is asked to make a passkey of the visitor's with."""
    return AskedOut.of(await registering.ask(Proof()))


@router.post(
    "/passkeys",
    status_code=303,
    dependencies=[OWN_FORM],
    responses=problems(*_VISITORS, PasskeyInvalid, PasskeyTaken, PasskeyLimit, PasskeyOriginUnsupported),
)
async def register(
    pages: PagesOf,
    registering: RegistrationOf,
    token: Annotated[str, Form(alias="challengeToken")] = "",
    credential: Typed = "",
    name: Typed = "",
) -> Response:
    """Keep the passkey that the authenticator has made, and go back to the page."""
    await registering.finish(token, credential_typed(credential), name_typed(name))
    return pages.redirect(pages.address())


@router.post(
    "/passkeys/{passkey_id}/remove",
    status_code=303,
    dependencies=[OWN_FORM],
    responses=problems(*_VISITORS, ProofRequired, PasskeyNotFound),
)
async def remove_passkey(
    pages: PagesOf, passkeys: OwnPasskeysOf, passkey_id: Annotated[UUID, Depends(passkey_of_path)]
) -> Response:
    """Remove one of the visitor's passkeys, and go back to the page."""
    await passkeys.remove(passkey_id, Proof())
    return pages.redirect(pages.address())
