"""Does a tenant's audit log still say what was sealed? Recomputed row by row in one snapshot, in pages."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from mis_models.audit import AuditSealRow
from mis_tenancy.seals import MARK_BYTES, NO_LINK, SealHead, SealKeys, link_of, marks_of
from mis_tenancy.session import TenantSession
from tenant_service.audit_seals import repository
from tenant_service.audit_seals.sealing import digests_of

_SEALS_AT_ONCE: Final = 200
_ROWS_AT_ONCE: Final = 2_000


class Problem(StrEnum):
    """What is wrong with the first bad row or seal."""

    ROW_ALTERED = "row_altered"
    ROW_ADDED = "row_added"
    ROW_MISSING = "row_missing"
    SEAL_ALTERED = "seal_altered"
    SEAL_MISSING = "seal_missing"
    KEY_MISSING = "key_missing"


@dataclass(frozen=True, slots=True)
class Bad:
    """The first thing that is wrong; `row` is the row, or the one after which a row is missing."""

    problem: Problem
    seal: int | None = None
    row: UUID | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The number and the link of a seal, noted down outside the database."""

    seq: int
    link: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found; `rows` counts all there are, `unsealed` those that wait for their seal."""

    rows: int
    unsealed: int
    bad: Bad | None
    head: Anchor | None


@dataclass(frozen=True, slots=True)
class _Covered:
    """A seal's rows as they are now, by id."""

    ids: Sequence[UUID]
    digests: Sequence[bytes]


class Verification:
    """Verifies the log of the session's tenant; `anchor` is a seal the caller knows from before."""

    def __init__(self, session: TenantSession, keys: SealKeys, anchor: Anchor | None = None) -> None:
        self._session = session
        self._keys = keys
        self._anchor = anchor
        self._before: AuditSealRow | None = None
        self._rows = 0
        self._bad: Bad | None = None

    async def verify(self) -> Verdict:
        """Read the log and its seals, and compare them; the session must not have been used before."""
        await repository.freeze(self._session)
        while page := await repository.seals(self._session, self._reached, _SEALS_AT_ONCE):
            for stretch in _stretches(page):
                await self._check(stretch)
        before = self._before
        low = None if before is None else before.horizon
        unsealed, begun, liar = await repository.unsealed(self._session, low)
        if before is not None and before.horizon > begun:
            self._blame(Problem.SEAL_ALTERED, before.seq)
        if liar is not None:
            self._blame(Problem.ROW_ADDED, None, liar)
        if self._anchor is not None and self._anchor.seq > self._reached:
            self._blame(Problem.SEAL_MISSING, self._reached + 1)
        head = None if before is None else Anchor(before.seq, before.link)
        return Verdict(self._rows + unsealed, unsealed, self._bad, head)

    @property
    def _reached(self) -> int:
        return -(2**63) if self._before is None else self._before.seq

    async def _check(self, seals: Sequence[AuditSealRow]) -> None:
        low = None if self._before is None else self._before.horizon
        rows = await repository.rows_between(self._session, low, seals[-1].horizon)
        self._rows += len(rows)
        horizons = [seal.horizon for seal in seals]
        covered: list[list[Any]] = [[] for _ in seals]
        for row in rows:
            covered[min(bisect_right(horizons, row[0]), len(seals) - 1)].append(row)
        for seal, own in zip(seals, covered, strict=True):
            digests = await digests_of([row[2:] for row in own])
            self._judge(seal, _Covered([row[1] for row in own], digests))
            self._before = seal

    def _judge(self, seal: AuditSealRow, covered: _Covered) -> None:
        before, anchor = self._before, self._anchor
        head = SealHead(seal.tenant_id, seal.seq, seal.count, seal.first_id, seal.last_id, seal.sealed_at)
        follows = seal.seq == 1 or seal.pruned if before is None else seal.seq == before.seq + 1
        if not follows or (before is not None and seal.pruned):
            self._blame(Problem.SEAL_MISSING, 1 if before is None else before.seq + 1)
        if not self._keys.knows(seal.key_id):
            self._blame(Problem.KEY_MISSING, seal.seq)
        signed = self._keys.signed(seal.key_id, head, seal.link, seal.hash, pruned=seal.pruned)
        misplaced = before is not None and seal.horizon <= before.horizon
        if (
            not signed
            or misplaced
            or (anchor is not None and anchor.seq == seal.seq and anchor.link != seal.link)
        ):
            self._blame(Problem.SEAL_ALTERED, seal.seq)
        if self._bad is None:
            self._bad = _row_of_pruned(seal, covered) if seal.pruned else self._row(seal, head, covered)

    def _row(self, seal: AuditSealRow, head: SealHead, covered: _Covered) -> Bad | None:
        link_before = NO_LINK if self._before is None else self._before.link
        if (
            link_of(link_before, head, covered.digests) == seal.link
            and marks_of(covered.digests) == seal.marks
        ):
            return None
        found = _first_difference(covered, seal.marks)
        return Bad(Problem.SEAL_ALTERED, seal.seq) if found is None else replace(found, seal=seal.seq)

    def _blame(self, problem: Problem, seal: int | None, row: UUID | None = None) -> None:
        if self._bad is None:
            self._bad = Bad(problem, seal, row)


def _stretches(seals: Sequence[AuditSealRow]) -> list[list[AuditSealRow]]:
    """Cut a page of seals so that each part covers no more rows than fit in memory, as far as seals tell."""
    parts: list[list[AuditSealRow]] = []
    room = 0
    for seal in seals:
        if not parts or room <= 0:
            parts.append([])
            room = _ROWS_AT_ONCE
        parts[-1].append(seal)
        room -= max(seal.count, 1)
    return parts


def _row_of_pruned(seal: AuditSealRow, covered: _Covered) -> Bad | None:
    return Bad(Problem.ROW_ADDED, seal.seq, covered.ids[0]) if covered.ids else None


def _first_difference(covered: _Covered, marks: bytes) -> Bad | None:
    """Return the first row that differs from what was sealed, if the marks tell."""
    now = [digest[:MARK_BYTES] for digest in covered.digests]
    then = [marks[start : start + MARK_BYTES] for start in range(0, len(marks), MARK_BYTES)]
    for at in range(max(len(now), len(then))):
        if now[at : at + 1] == then[at : at + 1]:
            continue
        if at >= len(now) or (len(now) < len(then) and now[at] in then[at:]):
            return Bad(Problem.ROW_MISSING, row=covered.ids[at - 1] if at else None)
        if at >= len(then) or (len(now) > len(then) and then[at] in now[at:]):
            return Bad(Problem.ROW_ADDED, row=covered.ids[at])
        return Bad(Problem.ROW_ALTERED, row=covered.ids[at])
    return None
