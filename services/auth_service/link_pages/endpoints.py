"""HTTP of the pages that mailed links lead to."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from auth_service.link_pages.pages import EMAIL, INVITATION, RESET
from mis_http.routes.direct_route import DirectRoute

router = APIRouter(
    prefix="/login", tags=["pages"], default_response_class=HTMLResponse, route_class=DirectRoute
)


@router.get("/invitation")
async def invitation_page() -> HTMLResponse:
    """Show the form by which an invitation is accepted."""
    return INVITATION.answer()


@router.get("/reset")
async def reset_page() -> HTMLResponse:
    """Show the form by which a forgotten password is replaced."""
    return RESET.answer()


@router.get("/email")
async def email_page() -> HTMLResponse:
    """Show the button by which a new address is confirmed."""
    return EMAIL.answer()
