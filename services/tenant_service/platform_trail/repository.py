"""The statement that writes a carried row."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects.postgresql import insert

from mis_models.platform import PlatformAuditRow
from mis_tenancy.session import PlatformSession


async def write_once(session: PlatformSession, columns: Mapping[str, Any]) -> None:
    """Insert the row, unless it is there already."""
    await session.execute(insert(PlatformAuditRow).values(dict(columns)).on_conflict_do_nothing())
