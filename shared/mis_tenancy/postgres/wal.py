"""Positions in Postgres' write-ahead log: how far the primary has written, whether a replica has followed.

They are whole numbers of bytes and only grow, so a replica that has replayed up to a position shows every
commit before it.
"""

from typing import Final

# Whether this transaction has changed anything.
HAS_WRITTEN: Final = "select pg_current_xact_id_if_assigned() is not null"
# Where the next record will go: behind every commit that has been answered.
WRITTEN: Final = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


class ReplicaBehind(Exception):
    """The replica does not show yet what the caller has to see; nothing has been read."""


def unless_replayed(position: int) -> str:
    """Return a statement that fails with a division by zero where a replica has not come to `position`.

    It rides in the message that begins a transaction, from which no rows come back. A server that is no
    replica has replayed nothing.
    """
    lsn = f"{position >> 32:X}/{position & 0xFFFF_FFFF:X}"
    return f"SELECT 1 / coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)::int"  # digits
