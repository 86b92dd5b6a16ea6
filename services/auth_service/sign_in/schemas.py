"""What scripts of the tenant's own front end are told of the page's session."""

from pydantic import Field

from auth_service.sessions.schemas import PersonOut, TenantOut, TokenOut
from auth_service.sign_in.visitor import Visitor
from mis_http.schemas import ResponseBody


class PageSessionOut(ResponseBody):
    """Who has signed in, where, and what a script sends as `X-CSRF-Token`."""

    user: PersonOut
    tenant: TenantOut
    csrf_token: str = Field(repr=False)


class PageTokenOut(TokenOut):
    """An access token of the page's session, and whose it is."""

    user: PersonOut
    tenant: TenantOut


def person_of(visitor: Visitor) -> PersonOut:
    """Return the visitor as the API shows them."""
    return PersonOut(id=visitor.id, email=visitor.email, name=visitor.name, role=visitor.role.value)
