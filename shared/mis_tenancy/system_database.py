"""What the package's own work in the background asks of a database, so that tests can cut its line."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from mis_tenancy.actor_keys import ActorKeys


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

    def system_transaction(self) -> AbstractAsyncContextManager[BoundConnection]:
        """Return a transaction that belongs to nobody until it is bound."""
        ...
