"""Numbers the transactions of a restored audit log anew.

Rows and seals find one another by the numbers of transactions, which belong to one server. Loaded into
another by a logical dump, they may lie ahead of that server's own: then new rows would seem old. Moved below
zero they keep their order and stay below every number to come; no seal breaks, as none covers numbers.
"""

from typing import Any, Final

import asyncpg

_AHEAD: Final = """
select greatest((select max(xid) from audit_logs), (select max(horizon) from audit_seals),
                (select max(mark) from schedules where name = 'audit_seals')) as highest,
       pg_current_xact_id()::text::bigint as own
"""
_SHIFTS: Final = (
    "update audit_logs set xid = xid - $1",
    "update audit_seals set horizon = horizon - $1",
    "update schedules set mark = mark - $1 where name = 'audit_seals'",
)


async def renumber(url: str) -> bool:
    """Move the numbers below the server's own, as the owner of the tables; return whether they had to be."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            found: Any = await connection.fetchrow(_AHEAD)
            if found["highest"] is None or found["highest"] <= found["own"]:
                return False
            for shift in _SHIFTS:
                await connection.execute(shift, found["highest"] + 1)
            return True
    finally:
        await connection.close()
