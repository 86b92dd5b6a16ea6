"""Exports on the wire."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field

from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_models.exports import ExportRow
from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.exports.formats import ExportFormat

Status = Literal["queued", "running", "completed", "failed", "cancelled", "expired"]


def _each_once(names: list[DataTypeName]) -> list[DataTypeName]:
    return list(dict.fromkeys(names))


class ExportIn(RequestBody):
    """What to export, and how it is to be written."""

    data_types: Annotated[list[DataTypeName], AfterValidator(_each_once)] = Field(min_length=1, max_length=50)
    format: ExportFormat = ExportFormat.JSON


class ExportErrorOut(ResponseBody):
    """Why an export failed."""

    code: str
    detail: str


class ExportOut(ResponseBody):
    """An export; `progress` is in percent, `size` in bytes, `downloadUrl` good for ten minutes."""

    export_id: UUID
    status: Status
    progress: int
    data_types: list[DataTypeName]
    format: ExportFormat
    created_at: Moment
    completed_at: Moment | None
    expires_at: Moment | None
    counts: dict[DataTypeName, int] | None
    size: int | None
    sha256: str | None
    error: ExportErrorOut | None
    download_url: str | None

    @classmethod
    def of(cls, row: ExportRow, download_url: str | None) -> Self:
        """Return the export as it is shown."""
        shown: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)}
        return cls.model_validate(shown | {"export_id": row.id, "download_url": download_url})
