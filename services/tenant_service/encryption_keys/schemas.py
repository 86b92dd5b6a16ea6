"""Data keys on the wire: everything but the keys."""

from enum import StrEnum
from typing import Self
from uuid import UUID

from mis_http.schemas import Moment, ResponseBody
from mis_tenancy.tables import DataKeyRow
from tenant_service.encryption_keys.service import Rotation


class KeyState(StrEnum):
    """What a version of the key is for."""

    CURRENT = "current"
    RETIRING = "retiring"
    RETIRED = "retired"


class KeyOut(ResponseBody):
    """One version: `current` encrypts, `retiring` still decrypts, `retired` is destroyed."""

    version: int
    state: KeyState
    master_key_id: str | None
    created_at: Moment
    retired_at: Moment | None

    @classmethod
    def of(cls, row: DataKeyRow, newest: int) -> Self:
        """Return the version as it is shown, beside the newest one's number."""
        retiring = KeyState.CURRENT if row.version == newest else KeyState.RETIRING
        return cls(
            version=row.version,
            state=retiring if row.retired_at is None else KeyState.RETIRED,
            master_key_id=row.master_key_id if row.retired_at is None else None,
            created_at=row.created_at,
            retired_at=row.retired_at,
        )


class RotationOut(ResponseBody):
    """A rotation under way: what is written from now on is under `version`."""

    job_id: UUID
    version: int
    status: str = "re_encrypting"

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        """Return the rotation as it is shown."""
        return cls(job_id=rotation.job_id, version=rotation.version)
