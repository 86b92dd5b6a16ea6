"""Imports on the wire."""

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict

from mis_http.schemas import Moment, ResponseBody
from mis_models.imports import ImportRow
from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.exports.formats import ExportFormat
from tenant_service.imports.report import Report

Status = Literal["receiving", "queued", "running", "completed", "failed"]


class ConflictOut(ResponseBody):
    """A row that is left out, and the code of the refusal that a request for it would have met."""

    row: int
    subject: str
    code: str


class TallyOut(ResponseBody):
    """What becomes of a data type's rows; the first hundred conflicts are listed."""

    total: int
    create: int
    update: int
    skip: int
    conflicts: int
    remapped: int
    left_out: list[str]
    first_conflicts: list[ConflictOut]


class SeatsOut(ResponseBody):
    """The tenant's seats, and whether the users that would be created fit."""

    limit: int | None
    used: int
    requested: int
    fits: bool


class SpaceOut(ResponseBody):
    """The tenant's room for files in bytes, and whether those that would be stored fit."""

    limit: int | None
    used: int
    requested: int
    fits: bool


class SourceOut(ResponseBody):
    """Which archive it is; `sameTenant` says whether ids are kept."""

    export_id: UUID
    tenant_id: UUID
    created_at: str
    format: ExportFormat
    same_tenant: bool


class ReportOut(ResponseBody):
    """What an import does, or would do."""

    source: SourceOut
    data_types: dict[DataTypeName, TallyOut]
    seats: SeatsOut | None
    storage: SpaceOut | None = None

    @classmethod
    def of(cls, report: Report) -> Self:
        """Return the report as it is shown."""
        return cls.model_validate(report.plain())


class RehearsalOut(ReportOut):
    """What importing the archive would do; nothing has been changed."""

    dry_run: Literal[True] = True


class ImportErrorOut(ResponseBody):
    """Why an import failed; further members depend on `code`, as in a problem document."""

    model_config = ConfigDict(extra="allow")

    code: str
    detail: str


class ImportOut(ResponseBody):
    """An import; its `report` is there once it is completed."""

    import_id: UUID
    status: Status
    created_at: Moment
    completed_at: Moment | None
    size: int | None
    report: ReportOut | None
    error: ImportErrorOut | None

    @classmethod
    def of(cls, row: ImportRow) -> Self:
        """Return the import as it is shown."""
        shown: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)}
        return cls.model_validate(shown | {"import_id": row.id})
