"""What the package's own work in the background asks of a database, so that tests can cut its line."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

from mis_tenancy.origins.actor_keys import ActorKeys

_SHARED: Final = " for key share"


def shared_or_not(sql: str) -> Mapping[bool, str]:
    """Return `sql`, which shares a tenant's row of the directory, by whether the database is a Citus one.

    There the directory stands on every node, and who shares one row of it keeps all others from inserting
    anything into any tenant: two who did that would wait for each other. The row is only read there.
    """
    return MappingProxyType({False: sql, True: sql.replace(_SHARED, "")})


class BoundConnection(Protocol):
    """A transaction's connection that can be turned to one tenant after another."""

    async def bind(self, tenant_id: UUID) -> None:
        """Show and accept this tenant's rows from here on."""

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Run one statement and return its rows."""
        ...


class SystemDatabase(Protocol):
    """Where such a transaction comes from; it commits when its block ends and rolls back when that raises."""

    actor_keys: ActorKeys | None
    on_nodes: bool

    def system_transaction(self) -> AbstractAsyncContextManager[BoundConnection]:
        """Return a transaction that belongs to nobody until it is bound."""
        ...
