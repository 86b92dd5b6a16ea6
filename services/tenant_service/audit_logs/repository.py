"""Every statement about audit rows; a range of time is a range of ids, as the partitions are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select

from mis_http.pages import Page
from mis_tenancy.identifiers import floor_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import AuditRow

# No id is older, and none could say so.
_FIRST_MOMENT: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are asked for; the range of time is half-open."""

    since: datetime | None = None
    until: datetime | None = None
    actor: UUID | None = None
    action: str | None = None
    outcome: str | None = None
    kind: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what a row must meet."""
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(AuditRow.id >= floor_id(max(self.since, _FIRST_MOMENT)))
        if self.until is not None:
            found.append(AuditRow.id < floor_id(max(self.until, _FIRST_MOMENT)))
        for name in ("actor", "action", "outcome", "kind"):
            if (value := getattr(self, name)) is not None:
                found.append(getattr(AuditRow, name) == value)
        return found


async def rows(session: TenantSession, asked: AuditFilter, page: Page) -> Sequence[AuditRow]:
    """Return the page's rows, and one more where there is more."""
    statement = page.apply(select(AuditRow).where(*asked.conditions()), AuditRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()
