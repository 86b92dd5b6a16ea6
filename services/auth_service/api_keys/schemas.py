"""Bodies of the API key routes."""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from mis_http.person_fields import LONGEST_NAME, printable
from mis_http.schemas import Moment, RequestBody, ResponseBody, Text
from mis_models.api_keys import ApiKeyRow
from mis_tenancy.access import Permission


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie in a year that UTC has") from error


NameText = Annotated[Text, AfterValidator(printable), Field(min_length=1, max_length=LONGEST_NAME)]
Scopes = Annotated[frozenset[Permission], Field(min_length=1)]


class ApiKeyIn(RequestBody):
    """What a program is called, what it may do, and until when; without `expiresAt` until it is revoked."""

    name: NameText
    scopes: Scopes
    expires_at: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None


class ApiKeyListed(ResponseBody):
    """A key without its text, which is shown once, when it is made, and not kept.

    `lastUsedAt` is behind by up to a minute.
    """

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    expires_at: Moment | None
    last_used_at: Moment | None
    created_at: Moment
    created_by: UUID

    @classmethod
    def listed(cls, row: ApiKeyRow) -> Self:
        """Return the row as the list shows it."""
        return cls.model_validate(row, from_attributes=True)


class ApiKeyOut(ApiKeyListed):
    """A new key; `key` is its text, used as a bearer."""

    key: str = Field(repr=False)

    @classmethod
    def of(cls, row: ApiKeyRow, key: str) -> Self:
        """Return the row with its text."""
        return cls(**ApiKeyListed.listed(row).model_dump(), key=key)
