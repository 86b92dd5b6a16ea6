"""Bodies of the operator routes."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from auth_service.login.schemas import EmailText, PasswordText
from auth_service.operators.entering import OperatorSignedIn
from auth_service.sessions.schemas import PairOut, PersonOut, TenantOut, TokenOut, pair
from mis_http.schemas import RequestBody, Text
from mis_tenancy.tokens.claims import OPERATOR


class OperatorLoginIn(RequestBody):
    """Who signs in."""

    email: EmailText
    password: PasswordText


class OperatorLoginOut(PairOut):
    """An operator's sign-in: its tokens, and who."""

    user: PersonOut

    @classmethod
    def of(cls, done: OperatorSignedIn) -> Self:
        """Return the sign-in as the API shows it."""
        person = done.operator
        user = PersonOut(id=person.id, email=person.email, name=person.name, role=OPERATOR)
        return cls(**pair(done.access, done.refresh), user=user)


class VisitIn(RequestBody):
    """The tenant to act in, and why; the tenant can read the reason."""

    tenant_id: UUID
    reason: Annotated[Text, Field(min_length=3, max_length=500)]


class VisitOut(TokenOut):
    """A token for 15 minutes in the tenant; it is not refreshed, and ends with the operator's session."""

    tenant: TenantOut
