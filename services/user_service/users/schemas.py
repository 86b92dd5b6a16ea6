"""Bodies of the user routes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints
from sqlalchemy import Row

from mis_http.person_fields import Address, Attributes, Name
from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_models.accounts import UserRow
from mis_tenancy.tenant import Role

Status = Literal["active", "invited", "disabled"]


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("may be left out, but not be null")
    return value


# A field of a PATCH: left out it stays as it is; null would be a value that the column cannot take.
NotNull = BeforeValidator(_given)


class UserCreate(RequestBody):
    """A new user; without a password they set one by the forgotten-password mail."""

    email: Address
    name: Name
    role: Role = Role.MEMBER
    # Taken as it is: white space at either end is part of a password.
    # A constraint on length also refuses half of a surrogate pair, which no hash takes.
    password: Annotated[str, StringConstraints(strip_whitespace=False, max_length=4_096)] | None = Field(
        None, repr=False
    )
    attributes: Attributes = Field(default_factory=dict)


class ProfileChange(RequestBody):
    """What users may change about themselves; `attributes` replaces the object as a whole.

    `email` becomes the user's once the new address confirms, by the link that is mailed to it.
    """

    email: Annotated[Address | None, NotNull] = None
    name: Annotated[Name | None, NotNull] = None
    attributes: Annotated[Attributes | None, NotNull] = None

    def given(self) -> Mapping[str, Any]:
        """Return the fields that were sent, by column."""
        return self.model_dump(include=self.model_fields_set)


class UserChange(ProfileChange):
    """What may be changed about another user."""

    role: Annotated[Role | None, NotNull] = None
    status: Annotated[Literal["active", "disabled"] | None, NotNull] = None


class UserOut(ResponseBody):
    """A user."""

    id: UUID
    email: str
    name: str
    role: Role
    status: Status
    attributes: dict[str, Any]
    created_at: Moment
    updated_at: Moment
    last_login_at: Moment | None

    @classmethod
    def of(cls, row: UserRow | Row[Any]) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)
