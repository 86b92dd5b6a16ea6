"""Looks whether the master keys at hand open what the database holds under them."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from mis_cli.doctor.findings import Finding, fail, fine
from mis_cli.master_keys import STORES, Keys, Store
from mis_tenancy.settings import MasterKeys

# Newest and oldest rows of a table are opened; all of them would take hours where there are many tenants.
_ROWS_AT_EACH_END: Final = 500


async def keys(url: str, master_keys: MasterKeys) -> Sequence[Finding]:
    """Open what each table keeps under a master key, as the tables' owner."""
    at_hand = Keys.of(master_keys)
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return [await _look(connection, store, at_hand) for store in STORES]
    finally:
        await connection.close()


async def _look(connection: Any, store: Store, at_hand: Keys) -> Finding:
    # Every row is under another key than one that has no name.
    nobodys = store.mark("")
    opened = older = 0
    for direction in ("asc", "desc"):
        order = ", ".join(f"{column} {direction}" for column in store.key)
        rows = f"{store.table} where {store.older} order by {order} limit {_ROWS_AT_EACH_END}"
        found = await connection.fetch(f"select * from {rows}", nobodys)  # noqa: S608  # names of STORES
        if shut := [row for row in found if store.renew(at_hand, row) is None]:
            return _shut(store, shut)
        opened = max(opened, len(found))
    counting = f"select count(*) from {store.table} where {store.older}"  # noqa: S608  # names of STORES
    older = await connection.fetchval(counting, store.mark(at_hand.current_id))
    rest = f"; {older} are under older keys: keep those, or run `mis keys rotate-master`" if older else ""
    return fine(f"keys {store.table}", f"{opened} rows looked at, all open{rest}")


def _shut(store: Store, rows: Sequence[Any]) -> Finding:
    column = store.key_column
    named = f" under {', '.join(sorted({row[column] for row in rows}))}" if column else ""
    return fail(
        f"keys {store.table}",
        f"{len(rows)} of the rows looked at do not open{named}",
        "Add the master key that they are under back to MIS_MASTER_KEYS, with the value it had.",
    )
