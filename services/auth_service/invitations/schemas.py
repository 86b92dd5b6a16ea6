"""Bodies of the invitation routes."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from auth_service.login.schemas import EmailText
from auth_service.passwords.schemas import NewPasswordText
from mis_http.person_fields import Name
from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_models.links import InvitationRow
from mis_tenancy.tenant import Role

# Far longer than any token, and far shorter than a body may be.
LinkTokenText = Annotated[str, Field(max_length=1_024, repr=False)]


class InvitationIn(RequestBody):
    """Who is invited, and as what."""

    email: EmailText
    role: Role


class AcceptanceIn(RequestBody):
    """An invitation's token, and who the new user is."""

    token: LinkTokenText
    name: Name
    password: NewPasswordText


class InvitationListed(ResponseBody):
    """An open invitation; its link is shown once, when it is made, and not kept."""

    id: UUID
    email: str
    role: Role
    expires_at: Moment
    created_at: Moment

    @classmethod
    def listed(cls, row: InvitationRow) -> Self:
        """Return the row as the list shows it."""
        return cls.model_validate(row, from_attributes=True)


class InvitationOut(InvitationListed):
    """A new invitation; `acceptUrl` is also in the mail to the invited address."""

    accept_url: str = Field(repr=False)

    @classmethod
    def of(cls, row: InvitationRow, accept_url: str) -> Self:
        """Return the row with its link."""
        return cls(**InvitationListed.listed(row).model_dump(), accept_url=accept_url)
