"""Numbers the transactions of a restored audit log anew.

Rows and seals find one another by the numbers of transactions, which belong to one server. Loaded into
another by a logical dump, they may lie ahead of that server's own: then new rows would seem old. Moved below
zero they keep their order and stay below every number to come; no seal breaks, as none covers numbers.
"""

from typing import Final

import asyncpg

# One statement, so that it can stand in the transaction that restores the log.
RENUMBER: Final = """
do $$
declare
    highest bigint := greatest((select max(xid) from public.audit_logs),
                               (select max(horizon) from public.audit_seals),
                               (select max(mark) from public.schedules where name = 'audit_seals'));
begin
    if highest > pg_current_xact_id()::text::bigint then
        update public.audit_logs set xid = xid - highest - 1;
        update public.audit_seals set horizon = horizon - highest - 1;
        update public.schedules set mark = mark - highest - 1 where name = 'audit_seals';
    end if;
end
$$;
"""
_NEWEST: Final = "select max(xid) from audit_logs"


async def renumber(url: str) -> bool:
    """Move the numbers below the server's own, as the owner of the tables; return whether they had to be."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            before = await connection.fetchval(_NEWEST)
            await connection.execute(RENUMBER)
            return bool(before != await connection.fetchval(_NEWEST))
    finally:
        await connection.close()
