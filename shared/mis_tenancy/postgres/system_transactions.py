"""Transactions of the package's own work, which start as nobody's and go from one tenant to another."""

import asyncio
from typing import Any, Final
from uuid import UUID

import asyncpg

from mis_tenancy.postgres.connection import TenantConnection

# What nodes hold that is committed or rolled back any moment; Citus names it by its process and number.
_PREPARED: Final = """
select result from run_command_on_workers(
    'select string_agg(gid, chr(32)) from pg_prepared_xacts where database = current_database()')
"""
_LOOKS: Final = 50
_BETWEEN_LOOKS: Final = 0.01


class SystemTransaction:
    """A driver-level transaction that starts as nobody's and can be turned to one tenant after another.

    It serves the packages' own work (directory, feed, audit drain) and is never handed to an endpoint.
    """

    def __init__(self, connection: TenantConnection, *, on_nodes: bool) -> None:
        self._connection = connection
        self.on_nodes = on_nodes

    async def bind(self, tenant_id: UUID) -> None:
        """Show and accept this tenant's rows from here on."""
        await self._connection.rebind(tenant_id)

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement with bound parameters and return its records."""
        return await self._connection.fetch(sql, *arguments)  # type: ignore[no-any-return]

    async def is_settled(self) -> bool:
        """Return whether all that had been committed before this call can be read by now.

        On Citus a transaction over several nodes is committed by the coordinator first and on the nodes a
        moment later; they hold it as prepared until then.
        """
        if not self.on_nodes:
            return True
        awaited = await self._prepared()
        for _ in range(_LOOKS):
            if not awaited:
                return True
            await asyncio.sleep(_BETWEEN_LOOKS)
            awaited &= await self._prepared()
        return not awaited

    async def _prepared(self) -> set[str]:
        return {gid for row in await self.fetch(_PREPARED) for gid in (row["result"] or "").split()}
