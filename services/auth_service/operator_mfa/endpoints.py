"""HTTP of the routes of operators' second factors."""

from typing import Annotated

from fastapi import APIRouter, Depends

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LoginThrottled, MfaAlreadySet, MfaNotPending, MfaNotSet
from auth_service.mfa.endpoints import WRONG_PROOF
from auth_service.mfa.schemas import (
    CodeIn,
    EnrolmentOut,
    ProofIn,
    RecoveryCodesOut,
    SecondStepIn,
    StandingOut,
    proof_of,
)
from auth_service.operator_mfa.proofs import OperatorOneself
from auth_service.operator_mfa.service import OperatorFactor
from auth_service.operator_mfa.signing_in import OperatorSecondStep
from auth_service.operators.dependencies import OperatorOnly
from auth_service.operators.schemas import OperatorLoginOut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import PermissionDenied, TokenInvalid

router = APIRouter(prefix="/api/v1/auth/operator/mfa", tags=["operators"], route_class=DirectRoute)


async def own_factor(authority: AuthorityOf, by: OperatorOnly, caller: CallerOf) -> OperatorFactor:
    """Return the second factor of the operator who asks."""
    return OperatorFactor(OperatorOneself(authority, by, caller))


Own = Annotated[OperatorFactor, Depends(own_factor)]


@router.get("", responses=problems(PermissionDenied))
async def read_operators_standing(own: Own) -> StandingOut:
    """Return which second factor the operator has set."""
    return StandingOut.of(await own.standing())


@router.post("/totp/enroll", responses=problems(*WRONG_PROOF, MfaAlreadySet))
async def enroll_operator(own: Own, body: ProofIn | None = None) -> EnrolmentOut:
    """Return a secret for an authenticator app, to be confirmed by a code of it."""
    return EnrolmentOut.of(await own.enroll(proof_of(body)))


@router.post(
    "/totp/confirm", responses=problems(InvalidCredentials, LoginThrottled, PermissionDenied, MfaNotPending)
)
async def confirm_operator(body: CodeIn, own: Own) -> RecoveryCodesOut:
    """Set the authenticator app by one of its codes; every sign-in asks for one from then on."""
    return RecoveryCodesOut(recovery_codes=await own.confirm(body.code))


@router.post("/totp/verify", responses=problems(TokenInvalid, InvalidCredentials, LoginThrottled))
async def verify_operator(body: SecondStepIn, authority: AuthorityOf, caller: CallerOf) -> OperatorLoginOut:
    """Finish an operator's sign-in that waits for its second factor."""
    done = await OperatorSecondStep(authority, caller).finish(body.mfa_token, body.shown())
    return OperatorLoginOut.of(done)


@router.delete("/totp", status_code=204, responses=problems(*WRONG_PROOF, MfaNotSet))
async def remove_operators_factor(own: Own, body: ProofIn | None = None) -> None:
    """Remove the operator's own authenticator app."""
    await own.remove(proof_of(body))


@router.post("/recovery-codes", responses=problems(*WRONG_PROOF, MfaNotSet))
async def renew_operators_codes(own: Own, body: ProofIn | None = None) -> RecoveryCodesOut:
    """Replace all of the operator's recovery codes by fresh ones."""
    return RecoveryCodesOut(recovery_codes=await own.renew_codes(proof_of(body)))
