"""Bodies of the sign-in route."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from auth_service.login.entering import SignedIn
from auth_service.sessions.schemas import PairOut, PersonOut, TenantOut, pair
from mis_http.schemas import RequestBody, Text
from mis_tenancy.http.sources import body_source

EmailText = Annotated[Text, Field(min_length=1, max_length=254)]
# Taken as it is: white space at either end is part of a password. The bound keeps a flood from the hash.
UnstrippedText = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, max_length=1_024)]
PasswordText = Annotated[UnstrippedText, Field(repr=False)]


class LoginIn(RequestBody):
    """Who signs in; `tenantSlug` serves where no header, host or parameter names the tenant."""

    email: EmailText
    password: PasswordText
    tenant_slug: str | None = None

    @model_validator(mode="before")
    @classmethod
    def judge_source_first(cls, body: Any) -> Any:
        """Raise TenantMalformed before any other field is judged, as for every other source."""
        slug = body.get("tenantSlug") if isinstance(body, dict) else None
        if slug is not None:
            body_source(slug.strip() if isinstance(slug, str) else "")
        return body


class LoginOut(PairOut):
    """A sign-in: its tokens, where, and who."""

    tenant: TenantOut
    user: PersonOut

    @classmethod
    def of(cls, done: SignedIn) -> Self:
        """Return the sign-in as the API shows it."""
        person = done.account
        return cls(
            **pair(done.access, done.refresh),
            tenant=TenantOut.of(done.tenant),
            user=PersonOut(id=person.id, email=person.email, name=person.name, role=person.role.value),
        )
