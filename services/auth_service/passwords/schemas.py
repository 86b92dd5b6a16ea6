"""Bodies of the password routes."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auth_service.login.schemas import EmailText, PasswordText
from mis_http.schemas import RequestBody, ResponseBody

# Bounded by the policy, which says so in its own words, and here only against a flood.
NewPasswordText = Annotated[
    str, StringConstraints(strip_whitespace=False, max_length=4_096), Field(repr=False)
]


class PasswordChange(RequestBody):
    """A new password, and the one it replaces."""

    current_password: PasswordText
    new_password: NewPasswordText


class Forgotten(RequestBody):
    """Whose password is forgotten; `tenantSlug` serves where nothing else names the tenant."""

    email: EmailText
    tenant_slug: str | None = None


class Reset(RequestBody):
    """A mailed link's token, and the new password."""

    # Far longer than any token, and far shorter than a body may be.
    token: Annotated[str, Field(max_length=1_024, repr=False)]
    new_password: NewPasswordText


class PasswordPolicyOut(ResponseBody):
    """What a tenant asks of a password; in the mode `nist` the `require…` fields are not applied."""

    min_length: int
    require_uppercase: bool
    require_lowercase: bool
    require_numbers: bool
    require_special_chars: bool
    policy_mode: Literal["composition", "nist"]
