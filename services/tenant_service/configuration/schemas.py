"""Configuration on the wire."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from mis_http.free_json import FreeValue
from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_tenancy.tables import ConfigurationVersionRow
from tenant_service.configuration.secrets import fingerprint_of
from tenant_service.configuration.service import Entry, Layer

KEY_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+$"

LONGEST_KEY = 255

ConfigKey = Annotated[str, StringConstraints(max_length=LONGEST_KEY, pattern=KEY_PATTERN)]


class ConfigIn(RequestBody):
    """A key to be set; any dotted key outside the platform's namespaces takes any JSON up to 64 KiB."""

    config_key: ConfigKey
    config_value: FreeValue
    is_encrypted: StrictBool = False


class Rollback(RequestBody):
    """The version whose value is to be the newest again."""

    version: StrictInt = Field(ge=1, le=2**31 - 1)


class ConfigOut(ResponseBody):
    """A key in force; `override` is the tenant's own part, and a secret shows only its `fingerprint`."""

    config_key: str
    config_value: Any
    override: Any
    source: Layer
    is_encrypted: bool
    version: int
    updated_at: Moment | None
    fingerprint: str | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return the key as it is shown."""
        return cls(
            config_key=entry.key,
            config_value=entry.value,
            override=entry.override,
            source=entry.layer,
            is_encrypted=entry.is_encrypted,
            version=entry.version,
            updated_at=entry.updated_at,
            fingerprint=entry.fingerprint,
        )


class ConfigVersionOut(ResponseBody):
    """One version of a key; `deleted` marks the removal of the tenant's own value."""

    config_key: str
    version: int
    config_value: Any
    is_encrypted: bool
    fingerprint: str | None
    deleted: bool
    changed_by: UUID | None
    created_at: Moment

    @classmethod
    def of(cls, row: ConfigurationVersionRow) -> Self:
        """Return the version as it is shown."""
        return cls(
            config_key=row.config_key,
            version=row.version,
            config_value=None if row.is_encrypted else row.config_value,
            is_encrypted=row.is_encrypted,
            fingerprint=fingerprint_of(row.config_value) if row.is_encrypted else None,
            deleted=row.deleted,
            changed_by=row.changed_by,
            created_at=row.created_at,
        )
