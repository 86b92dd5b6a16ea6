"""The rows that are brought back, judged as a request for each of them would be."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from mis_accounts.emails import Email, parse_email
from mis_http.files.file_names import checked_name, checked_type
from mis_http.free_json import FreeValue
from mis_http.person_fields import Address, Attributes, Name
from mis_tenancy.errors import ValidationFailed
from mis_tenancy.tenant import Role
from tenant_service.configuration.schemas import ConfigKey

Row = dict[str, Any]


class _Archived(BaseModel):
    """A row of an archive; fields that it has beyond these are for other readers."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, str_strip_whitespace=True
    )


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


class ArchivedUser(_Archived):
    """A user, without a password."""

    id: UUID
    email: Address
    name: Name
    role: Role
    status: Literal["active", "invited", "disabled"]
    attributes: Annotated[Attributes, BeforeValidator(_none_is_empty)]
    created_at: AwareDatetime


class ArchivedSetting(_Archived):
    """A configuration key; of a secret there is no value."""

    config_key: ConfigKey
    config_value: FreeValue = None
    is_encrypted: bool


class ArchivedMedia(_Archived):
    """A file; its bytes stand beside its row."""

    id: UUID
    filename: Annotated[str, AfterValidator(checked_name)]
    content_type: Annotated[str, AfterValidator(checked_type)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    owner_id: UUID | None = None
    created_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class Person:
    """A user of an archive, and the address as it is compared."""

    user: ArchivedUser
    email: Email


def person_of(row: Row) -> Person | None:
    """Return the user that the row describes, None where no request could have made it."""
    try:
        user = ArchivedUser.model_validate(row)
        return Person(user, parse_email(user.email))
    except (ValidationError, ValidationFailed):
        return None


def media_of(row: Row) -> ArchivedMedia | None:
    """Return the file that the row describes, None where no request could have made it."""
    try:
        return ArchivedMedia.model_validate(row)
    except (ValidationError, ValidationFailed):
        return None


def setting_of(row: Row) -> ArchivedSetting | None:
    """Return the setting that the row describes, None where no request could have made it."""
    try:
        return ArchivedSetting.model_validate(row)
    except ValidationError:
        return None


def not_after(moment: datetime, now: datetime) -> datetime:
    """Return `moment`, or `now` where an archive claims something of the future."""
    return min(moment, now)


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two documents are the same; to Python alone `1 == True`."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
