"""Users of an archive: who is known is brought up to date, who is not becomes a member without a password.

A user is known by the id, in the tenant that the archive is from, or else by the e-mail address. Of a known
user only name and attributes change: what somebody may do, whether they may sign in and where their mail goes
is decided by people, not by an old file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mis_accounts.emails import Email, parse_email
from mis_accounts.members import insert_members, member_columns, renew_terms
from mis_accounts.seats import Seats, claim_seats, lock_seats
from mis_jobs.outbox import EventType, publish, publish_many
from mis_tenancy.access import may_manage
from mis_tenancy.errors import TenantUnavailable, ValidationFailed
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role
from tenant_service.imports import report, repository
from tenant_service.imports.report import Tally
from tenant_service.imports.rows import ArchivedUser, Row, is_same_json, not_after, user_of

ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class _Known:
    """Somebody who is a member already, or has just become one."""

    id: UUID
    norm: str
    name: str
    role: str
    attributes: dict[str, Any]


class UserImport:
    """Brings the users of an archive into the session's tenant, as far as `role` may.

    With `keeps_ids` they keep the ids of the archive. It holds the tenant's membership from its first batch
    to the end of the transaction, so what it counts stays true.
    """

    def __init__(self, session: TenantSession, role: Role | None, *, keeps_ids: bool, now: datetime) -> None:
        self._session = session
        self._role = role
        self._keeps_ids = keeps_ids
        self._now = now
        self._seats: Seats | None = None
        self.tally = Tally()

    async def take(self, rows: Sequence[Row]) -> None:
        """Judge some rows and write what becomes of them."""
        if self._seats is None:
            self._seats = await lock_seats(self._session)
        users = [user_of(row) for row in rows]
        known = await self._known(users)
        fresh: list[dict[str, Any]] = []
        changed: dict[UUID, ArchivedUser] = {}
        for user in users:
            self.tally.total += 1
            self._judge(user, known, fresh, changed)
        # Beyond the last seat nothing is written: it would only be taken back.
        if self._seats.fit(self.tally.create) == self.tally.create:
            await self._insert(fresh)
        await self._change(changed)

    async def settle(self) -> report.Seats:
        """Return whether those who are created have seats, and claim them where they have."""
        seats = self._seats or await lock_seats(self._session)
        fits = seats.fit(self.tally.create) == self.tally.create
        if fits and self.tally.create:
            await claim_seats(self._session, self.tally.create)
        return report.Seats(seats.limit, seats.used, self.tally.create, fits)

    async def _known(self, users: Sequence[ArchivedUser | None]) -> "_Book":
        ids = [user.id for user in users if user is not None] if self._keeps_ids else []
        norms = [email.norm for user in users if (email := _address(user)) is not None]
        found = await repository.members(self._session, ids, norms)
        return _Book(
            [_Known(row.id, row.email_norm, row.name, row.role, row.attributes) for row in found],
            by_id=self._keeps_ids,
        )

    def _judge(
        self,
        user: ArchivedUser | None,
        known: "_Book",
        fresh: list[dict[str, Any]],
        changed: dict[UUID, ArchivedUser],
    ) -> None:
        email = _address(user)
        if user is None or email is None:
            self.tally.refuse("" if user is None else str(user.id), "row_invalid")
            return
        same, namesake = known.find(user.id, email.norm)
        if same is not None and namesake is not None and same.id != namesake.id:
            self.tally.refuse(str(user.id), "email_taken")
            return
        member = same or namesake
        if member is None:
            self._create(user, email, known, fresh)
        else:
            self._update(user, member, changed)

    def _create(self, user: ArchivedUser, email: Email, known: "_Book", fresh: list[dict[str, Any]]) -> None:
        if not may_manage(self._role, user.role):
            self.tally.refuse(str(user.id), "permission_denied")
            return
        identifier = user.id if self._keeps_ids else new_id()
        self.tally.create += 1
        self.tally.remapped += int(identifier != user.id)
        attributes = dict(user.attributes)
        columns = member_columns(
            email, user.name, user.role, now=self._now, status=user.status, attributes=attributes
        )
        moment = {"id": identifier, "created_at": not_after(user.created_at, self._now)}
        fresh.append(columns | moment)
        known.add(_Known(identifier, email.norm, user.name, user.role.value, attributes))

    def _update(self, user: ArchivedUser, member: _Known, changed: dict[UUID, ArchivedUser]) -> None:
        self.tally.remapped += int(member.id != user.id)
        if member.name == user.name and is_same_json(member.attributes, user.attributes):
            self.tally.skip += 1
        elif member.id in changed or not may_manage(self._role, Role(member.role)):
            code = "row_repeated" if member.id in changed else "permission_denied"
            self.tally.refuse(str(user.id), code)
        else:
            self.tally.update += 1
            changed[member.id] = user

    async def _insert(self, fresh: Sequence[dict[str, Any]]) -> None:
        inserted = await insert_members(self._session, fresh)
        if len(inserted) < len(fresh):
            raise TenantUnavailable("Somebody took an address of the archive meanwhile. Try again.")
        told = ({"id": str(member["id"]), "role": member["role"]} for member in fresh)
        await publish_many(self._session, EventType.USER_CREATED, told)

    async def _change(self, changed: dict[UUID, ArchivedUser]) -> None:
        for row in await repository.lock_members(self._session, list(changed)):
            user = changed[row.id]
            differing = {
                "name": row.name != user.name,
                "attributes": not is_same_json(row.attributes, user.attributes),
            }
            row.name, row.attributes = user.name, dict(user.attributes)
            row.version += 1
            row.updated_at = self._now
            if differing["name"]:
                await renew_terms(self._session, row)
            changes = sorted(field for field, differs in differing.items() if differs)
            told = {"id": str(row.id), "role": row.role, "changed": changes}
            publish(self._session, EventType.USER_UPDATED, told)


class _Book:
    """Who is known to a batch, by id where ids count, and by address."""

    def __init__(self, members: Sequence[_Known], *, by_id: bool) -> None:
        self._by_id = {member.id: member for member in members} if by_id else {}
        self._by_norm = {member.norm: member for member in members}
        self._counts_ids = by_id

    def find(self, identifier: UUID, norm: str) -> tuple[_Known | None, _Known | None]:
        """Return who has the id, and who has the address."""
        return self._by_id.get(identifier), self._by_norm.get(norm)

    def add(self, member: _Known) -> None:
        """Know one more."""
        self._by_norm[member.norm] = member
        if self._counts_ids:
            self._by_id[member.id] = member


def _address(user: ArchivedUser | None) -> Email | None:
    if user is None:
        return None
    try:
        return parse_email(user.email)
    except ValidationFailed:
        return None
