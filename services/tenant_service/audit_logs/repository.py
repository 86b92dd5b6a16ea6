"""Every statement about audit rows; a range of time is a range of ids, as the partitions are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, select

from mis_http.pages import Page
from mis_tenancy.identifiers import floor_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import AuditRow
from tenant_service.audit_logs.filters import AuditFilter

# No id is older, and none could say so.
_FIRST_MOMENT: Final = datetime.fromtimestamp(0, UTC)


async def rows(session: TenantSession, asked: AuditFilter, page: Page) -> Sequence[AuditRow]:
    """Return the page's rows, and one more where there is more."""
    statement = page.apply(select(AuditRow).where(*_conditions(asked)), AuditRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()


def _conditions(asked: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.since is not None:
        found.append(AuditRow.id >= floor_id(max(asked.since, _FIRST_MOMENT)))
    if asked.until is not None:
        found.append(AuditRow.id < floor_id(max(asked.until, _FIRST_MOMENT)))
    for name in ("actor", "action", "outcome", "kind"):
        if (value := getattr(asked, name)) is not None:
            found.append(getattr(AuditRow, name) == value)
    return found
