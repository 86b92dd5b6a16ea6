"""The wire: a driver connection on which no transaction begins without saying whose it is.

`BEGIN` and `SET LOCAL app.tenant_id` leave in one message, so binding a tenant costs no round trip. It is
`SET LOCAL`, never `set_config()` or a session-level SET: the former does not reach Citus workers and the
latter leaks through a pool (docs/decisions/0001-two-doors.md).

asyncpg sends its transaction's text through the public `execute`, which is what this class overrides. Were
that to change, BEGIN would leave without a tenant and the policies would show no rows: it fails closed, and a
test that counts round trips would say so.
"""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg

from mis_tenancy.errors import IsolationError, TenantUnbound
from mis_tenancy.postgres.wal import HAS_WRITTEN, WRITTEN, ReplicaBehind, unless_replayed

_BEGIN: Final = re.compile(r"\s*BEGIN[A-Z ]*;?\s*")
_COMMIT: Final = re.compile(r"\s*COMMIT\s*;?\s*")
# `set … app.tenant_id`, `reset all`, `discard all`, and set_config(), whose parameters could name the
# setting.
_BINDS_BY_HAND: Final = re.compile(
    r"\bset_config\s*\(|^\s*(?:(?:set|reset)\b.*\bapp\.tenant_id|reset\s+all|discard\s+all)\b", re.I | re.S
)


class Binding(Enum):
    """What a transaction may be bound to other than a tenant."""

    # The driver's own set-up statements, before the pool first hands the connection out.
    SETUP = "setup"
    # System work that belongs to no tenant: policies then show no tenant's rows.
    NOBODY = "nobody"


Bound = UUID | Binding
# Told of a tenant, and up to where in the log it has written.
OnWrite = Callable[[UUID, int], Awaitable[None]]


def plain_uuid(tenant_id: UUID) -> UUID:
    """Return `tenant_id` as exactly a UUID; a subclass could otherwise spell itself as SQL."""
    return tenant_id if type(tenant_id) is UUID else UUID(int=tenant_id.int)


class TenantConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection that must be armed with a tenant before each transaction.

    Arming is for one transaction: a second one on the same checkout cannot inherit a tenant. `tenant` is that
    of the transaction armed or under way, which columns' defaults read.
    """

    armed: Bound | None = Binding.SETUP
    tenant: UUID | None = None
    _after: int | None = None
    _on_write: OnWrite | None = None

    def arm(self, bound: Bound | None, after: int | None = None, on_write: OnWrite | None = None) -> None:
        """Bind the next transaction to `bound`; `None` forbids it.

        It begins only on a replica that has replayed up to `after`. A tenant's commit that has written is
        told to `on_write` before anyone hears that it succeeded.
        """
        self.tenant = plain_uuid(bound) if isinstance(bound, UUID) else None
        self.armed = self.tenant or bound
        self._after, self._on_write = after, on_write

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109  # asyncpg's
        """Run `query`; where it begins a transaction, bind that in the same message.

        Raise TenantUnbound, with nothing sent, when the connection is not armed, and ReplicaBehind.
        """
        if self._on_write is not None and _COMMIT.fullmatch(query):
            return await self._commit(query, self._on_write, timeout)
        if args or not _BEGIN.fullmatch(query):
            return await super().execute(query, *args, timeout=timeout)  # type: ignore[no-any-return]
        bound, self.armed = self.armed, None
        if bound is None:
            # Nothing has left, but asyncpg believes in a transaction, in which the next would be a savepoint.
            self.terminate()
            raise TenantUnbound
        if bound is Binding.SETUP:
            self.armed = bound
        else:
            query = f"{query.rstrip('; ')}; {set_local(bound)}"
        if self._after is not None:
            query = f"{query}; {unless_replayed(self._after)}"
        try:
            return await super().execute(query, timeout=timeout)  # type: ignore[no-any-return]
        except BaseException as error:
            # asyncpg believes in a transaction that may not exist, or exists without its tenant.
            self.terminate()
            if self._after is not None and isinstance(error, asyncpg.DivisionByZeroError):
                raise ReplicaBehind from error
            raise

    async def _commit(self, query: str, on_write: OnWrite, patience: float | None) -> str:
        """Commit, and tell of it if there were writes; what fails then fails it, as a lost answer does."""
        self._on_write = None
        try:
            has_written = await super().fetchval(HAS_WRITTEN)
        except asyncpg.InFailedSQLTransactionError:
            has_written = False
        status: str = await super().execute(query, timeout=patience)
        if has_written and self.tenant is not None:
            await on_write(self.tenant, await super().fetchval(WRITTEN))
        return status

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare `query`, as SQLAlchemy does with every statement; raise IsolationError if it binds."""
        _refuse_binding(query)
        return await super().prepare(query, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> None:
        """Run `command` for each of `args`; raise IsolationError if it binds."""
        _refuse_binding(command)
        await super().executemany(command, args, **options)

    async def rebind(self, tenant_id: UUID) -> None:
        """Turn the rest of a system transaction to another tenant; one round trip."""
        tenant = plain_uuid(tenant_id)
        await super().execute(set_local(tenant))
        self.tenant = tenant


def _refuse_binding(query: str) -> None:
    """Raise IsolationError for what would outlive its transaction and reach the connection's next user."""
    if _BINDS_BY_HAND.search(query):
        raise IsolationError("Only the doors bind a transaction to a tenant. Open a session for that tenant.")


def set_local(bound: Bound) -> str:
    """Return the statement that binds a transaction; the value is a UUID's own digits, or empty."""
    value = str(plain_uuid(bound)) if isinstance(bound, UUID) else ""
    return f"SET LOCAL app.tenant_id = '{value}'"
