"""The rules of a bulk: in order, each operation for itself, until the end or a breakdown."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from typing import Final

import structlog

from mis_http.kept_answers import KeyOfRequest
from mis_http.problems import bare_problem
from mis_tenancy.encryption import Wrapping
from mis_tenancy.errors import InternalError, ProblemError, TokenRevoked
from tenant_service.bulk.keys import KeyOnce
from tenant_service.bulk.operations import Done, Operations
from tenant_service.bulk.schemas import (
    CreateOperation,
    DeleteOperation,
    MigrateOperation,
    Operation,
    Outcome,
    SuspendOperation,
    name_of,
    parse,
)
from tenant_service.trail import Caller

log = structlog.get_logger(__name__)

# So many operations in a row that fail for no reason of their own mean that something we stand on is away.
_BREAKDOWN: Final = 5


class Bulk:
    """Carries out what `caller` sends; `is_revoked` tells whether he may still."""

    def __init__(
        self,
        operations: Operations,
        wrapping: Wrapping,
        caller: Caller,
        path: str,
        is_revoked: Callable[[], bool],
    ) -> None:
        self._operations = operations
        self._wrapping = wrapping
        self._caller = caller
        self._path = path
        self._is_revoked = is_revoked

    async def run(self, parts: Iterable[bytes]) -> AsyncIterator[Outcome]:
        """Yield the outcome of each part; those that have none were not tried."""
        breakdowns = 0
        for index, part in enumerate(parts):
            if self._is_revoked():
                yield Outcome(index, name_of(part), ok=False, problem=bare_problem(TokenRevoked()))
                return
            outcome = await self._outcome(index, part)
            yield outcome
            broke_down = outcome.problem is not None and outcome.problem["code"] == InternalError.code
            breakdowns = breakdowns + 1 if broke_down else 0
            if breakdowns == _BREAKDOWN:
                return

    async def _outcome(self, index: int, part: bytes) -> Outcome:
        name = name_of(part)
        try:
            done = await self._carry_out(parse(part))
        except ProblemError as refusal:
            return Outcome(index, name, ok=False, problem=bare_problem(refusal))
        except Exception as error:
            log.error("bulk.operation_failed", index=index, operation=name, exc_info=error)
            return Outcome(index, name, ok=False, problem=bare_problem(InternalError()))
        return Outcome(index, name, True, done.tenant_id, done.owner_invitation, done.is_replayed)

    async def _carry_out(self, operation: Operation) -> Done:
        once = self._once(operation)
        if isinstance(operation, CreateOperation):
            return await self._operations.create(operation.value(), once)
        if isinstance(operation, SuspendOperation):
            return await self._operations.suspend(operation.tenant_id, operation.reason, once)
        if isinstance(operation, MigrateOperation):
            return await self._operations.migrate(operation.tenant_id, operation.order(), once)
        if isinstance(operation, DeleteOperation):
            days = operation.grace_days
            grace = None if days is None else timedelta(days=days)
            return await self._operations.delete(operation.tenant_id, grace, once)
        return await self._operations.reactivate(operation.tenant_id, once)

    def _once(self, operation: Operation) -> KeyOnce | None:
        if operation.key is None:
            return None
        # Keyed, because an operation may hold a password, which a bare hash would let a reader guess.
        fingerprint = self._wrapping.fingerprint(operation.model_dump_json(exclude={"key"}).encode())
        request = KeyOfRequest(self._caller.id, "POST", self._path, operation.key, fingerprint)
        return KeyOnce(self._wrapping, request)
