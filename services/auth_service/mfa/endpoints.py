"""HTTP of the routes of second factors."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import (
    InvalidCredentials,
    LoginThrottled,
    MfaAlreadySet,
    MfaNotPending,
    MfaNotSet,
    UserNotFound,
)
from auth_service.login.schemas import LoginOut
from auth_service.mfa.dependencies import Own
from auth_service.mfa.resetting import OthersFactor
from auth_service.mfa.schemas import (
    CodeIn,
    EnrolmentOut,
    ProofIn,
    RecoveryCodesOut,
    SecondStepIn,
    StandingOut,
    proof_of,
)
from auth_service.mfa.service import OwnFactor
from auth_service.mfa.signing_in import SecondStep
from mis_accounts.recent_sign_ins import ProofRequired
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import PermissionDenied, TenantPendingDeletion, TenantSuspended, TokenInvalid

router = APIRouter(prefix="/api/v1/auth/mfa", tags=["mfa"], route_class=DirectRoute)


WRONG_PROOF = (InvalidCredentials, LoginThrottled, ProofRequired, PermissionDenied)


@router.get("", responses=problems(PermissionDenied))
async def read_standing(own: Own) -> StandingOut:
    """Return which second factor the caller has set."""
    return StandingOut.of(await OwnFactor(own).standing())


@router.post("/totp/enroll", responses=problems(*WRONG_PROOF, MfaAlreadySet))
async def enroll(own: Own, body: ProofIn | None = None) -> EnrolmentOut:
    """Return a secret for an authenticator app, to be confirmed by a code of it."""
    return EnrolmentOut.of(await OwnFactor(own).enroll(proof_of(body)))


@router.post(
    "/totp/confirm", responses=problems(InvalidCredentials, LoginThrottled, PermissionDenied, MfaNotPending)
)
async def confirm(body: CodeIn, own: Own) -> RecoveryCodesOut:
    """Set the authenticator app by one of its codes; every sign-in asks for one from then on."""
    return RecoveryCodesOut(recovery_codes=await OwnFactor(own).confirm(body.code))


@router.post(
    "/totp/verify",
    responses=problems(
        TokenInvalid, InvalidCredentials, LoginThrottled, TenantSuspended, TenantPendingDeletion
    ),
)
async def verify(body: SecondStepIn, authority: AuthorityOf, caller: CallerOf) -> LoginOut:
    """Finish a sign-in that waits for its second factor."""
    return LoginOut.of(await SecondStep(authority, caller).finish(body.mfa_token, body.shown()))


@router.delete("/totp", status_code=204, responses=problems(*WRONG_PROOF, MfaNotSet, UserNotFound))
async def remove(
    own: Own,
    body: ProofIn | None = None,
    user_id: Annotated[UUID | None, Query(alias="userId", description="Somebody else, who lost it.")] = None,
) -> None:
    """Remove the caller's authenticator app; with `userId` and `users:write`, that of somebody else."""
    if user_id is None or user_id == own.principal.id:
        await OwnFactor(own).remove(proof_of(body))
    else:
        await OthersFactor(own).reset(user_id, proof_of(body))


@router.post("/recovery-codes", responses=problems(*WRONG_PROOF, MfaNotSet))
async def renew_recovery_codes(own: Own, body: ProofIn | None = None) -> RecoveryCodesOut:
    """Replace all recovery codes by fresh ones."""
    return RecoveryCodesOut(recovery_codes=await OwnFactor(own).renew_codes(proof_of(body)))
