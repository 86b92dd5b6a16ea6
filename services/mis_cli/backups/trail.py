"""The platform's audit log in SQL of the owner's: who took all data away, who brought older data back."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from mis_cli.desk import COMMAND_LINE, agent
from mis_tenancy.identifiers import new_id


def sql_note(action: str, changes: dict[str, Any], tenant_id: UUID | None = None) -> str:
    """Return the statement that writes the row; it may be handed to psql in the middle of a transaction."""
    told = msgspec.json.encode({name: {"new": value} for name, value in changes.items()}).decode()
    values = {
        "id": str(new_id()),
        "kind": "change",
        "actor": str(COMMAND_LINE),
        "action": action,
        "resource": "platform" if tenant_id is None else f"tenants/{tenant_id}",
        "tenant_id": None if tenant_id is None else str(tenant_id),
        "outcome": "success",
        "user_agent": agent(),
        "changes": told,
    }
    literals = ", ".join(map(_literal, values.values()))
    return f"insert into public.platform_audit_logs ({', '.join(values)}) values ({literals});"  # noqa: S608


async def note(owner_url: str, action: str, changes: dict[str, Any], tenant_id: UUID | None = None) -> None:
    """Write the row in a transaction of its own."""
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        await connection.execute(sql_note(action, changes, tenant_id))
    finally:
        await connection.close()


def _literal(value: str | None) -> str:
    """Return a string as SQL spells it, with standard_conforming_strings as every server has them."""
    return "null" if value is None else "'" + value.replace("'", "''") + "'"
