"""HTTP of the address routes."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.emails.schemas import ConfirmationIn
from auth_service.emails.service import Confirmation
from auth_service.errors import LinkInvalid, LoginThrottled
from mis_accounts.members import EmailTaken
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute

router = APIRouter(prefix="/api/v1/auth/email", tags=["emails"], route_class=DirectRoute)


@router.post("/confirm", status_code=204, responses=problems(LinkInvalid, LoginThrottled, EmailTaken))
async def confirm_email(body: ConfirmationIn, authority: AuthorityOf, caller: CallerOf) -> None:
    """Confirm a new address by the token that was mailed to it."""
    await Confirmation(authority, caller).confirm(body.token)
