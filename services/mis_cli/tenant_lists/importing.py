"""Brings tenants in from a file, a transaction for each, so that it can be stopped and run again anywhere.

The database itself says how far an import came: a row whose tenant is there already, as the row describes
it, is passed over. So no progress file can be lost or lie, and a second run costs one look-up for hundreds of
rows.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final
from uuid import UUID

from mis_cli.desk import Desk
from mis_cli.tenant_lists.files import TenantLine
from mis_http.problems import bare_problem
from mis_tenancy.errors import ProblemError
from mis_tenancy.tables import TenantRow
from tenant_service.lifecycle import list_repository
from tenant_service.lifecycle.creation import NewTenant
from tenant_service.lifecycle.errors import SlugTaken

_AT_ONCE: Final = 500


class Outcome(StrEnum):
    """What became of a row."""

    CREATED = "created"
    """The tenant was made, or would be."""
    PRESENT = "present"
    """It is there already."""
    FAILED = "failed"
    """It was refused."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of the row of that number, and why it was refused."""

    row: int
    slug: str
    outcome: Outcome
    tenant_id: UUID | None = None
    problem: ProblemError | None = None
    owner_invitation: str | None = field(default=None, repr=False)

    def document(self) -> dict[str, Any]:
        """Return the result for machines."""
        told: dict[str, Any] = {"row": self.row, "slug": self.slug, "outcome": self.outcome.value}
        if self.tenant_id is not None:
            told["tenantId"] = str(self.tenant_id)
        if self.owner_invitation is not None:
            told["ownerInvitation"] = self.owner_invitation
        if self.problem is not None:
            told["problem"] = bare_problem(self.problem)
        return told


class TenantImport:
    """Imports rows at `desk`; with `is_trial` each is tried and taken back, so that nothing stays."""

    def __init__(self, desk: Desk, *, is_trial: bool = False) -> None:
        self._desk = desk
        self._is_trial = is_trial
        # Names that earlier rows of a trial would hold by now.
        self._tried: set[str] = set()

    async def run(self, lines: Iterable[TenantLine]) -> AsyncIterator[RowResult]:
        """Yield what becomes of each row, in their order."""
        for batch in _batches(lines):
            present = await self._present(batch)
            for line in batch:
                yield await self._result(line, present.get(line.slug))

    async def _present(self, batch: Sequence[TenantLine]) -> dict[str, TenantRow]:
        slugs = [line.slug for line in batch if line.new is not None]
        async with self._desk.platform.platform_transaction() as session:
            return {row.slug: row for row in await list_repository.of_slugs(session, slugs)}

    async def _result(self, line: TenantLine, present: TenantRow | None) -> RowResult:
        try:
            if line.new is None:
                raise line.problem or SlugTaken
            if present is not None:
                return _compared(line, line.new, present)
            if self._is_trial:
                await self._try(line.new)
                return RowResult(line.number, line.slug, Outcome.CREATED)
            done = await self._desk.operations.create(line.new)
            return RowResult(
                line.number,
                line.slug,
                Outcome.CREATED,
                done.tenant_id,
                owner_invitation=done.owner_invitation,
            )
        except ProblemError as refusal:
            return RowResult(line.number, line.slug, Outcome.FAILED, problem=refusal)

    async def _try(self, new: NewTenant) -> None:
        names = {new.slug, new.subdomain}
        if names & self._tried:
            raise SlugTaken("An earlier row of the file takes this name.")
        await self._desk.operations.try_create(new)
        self._tried |= names


def _compared(line: TenantLine, new: NewTenant, row: TenantRow) -> RowResult:
    """Return that the row's tenant is there, unless the one there differs in what the row says."""
    said = {
        "name": new.name,
        "subdomain": new.subdomain,
        "plan": new.plan.value,
        "domain": new.domain or row.domain,
        **new.limits,
    }
    differing = [name for name, value in said.items() if getattr(row, name) != value]
    if differing:
        refusal = SlugTaken(
            f"A tenant of this slug is there and differs in {', '.join(differing)}. An import changes none."
        )
        return RowResult(line.number, line.slug, Outcome.FAILED, row.id, refusal)
    return RowResult(line.number, line.slug, Outcome.PRESENT, row.id)


def _batches(lines: Iterable[TenantLine]) -> Iterator[list[TenantLine]]:
    remaining = iter(lines)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
