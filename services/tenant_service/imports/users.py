"""Users of an archive: who is known is brought up to date, who is not becomes a member without a password.

A user is known by the id, in the tenant that the archive is from, or else by the e-mail address. Of a known
user only name and attributes change: what somebody may do, whether they may sign in and where their mail goes
is decided by people, not by an old file.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mis_accounts.attributes import require_schema
from mis_accounts.claims import LimitExceeded
from mis_accounts.members import insert_members, member_columns, renew_terms
from mis_accounts.seats import claim_seats, count_seats, lock_seats
from mis_accounts.withdrawals import invited_roles, withdraw_invitations
from mis_jobs.outbox import EventType, publish, publish_many
from mis_tenancy.access import may_manage
from mis_tenancy.errors import TenantUnavailable, ValidationFailed
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import PrincipalKind, Role
from tenant_service.imports import report, repository
from tenant_service.imports.report import Tally
from tenant_service.imports.rows import ArchivedUser, Person, is_same_json, not_after

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

    With `keeps_ids` they keep the ids of the archive, where these are free (`_is_free`). Their seats are
    claimed at the very end, because from then on whoever else wants one waits until the transaction is over.
    `found` tells what the ids of those who are `sought` are here. Attributes that are written meet the
    schema in `configuration`.
    """

    def __init__(
        self,
        session: TenantSession,
        role: Role | None,
        *,
        keeps_ids: bool,
        now: datetime,
        configuration: Mapping[str, Any],
        sought: Collection[UUID] = (),
    ) -> None:
        self._session = session
        self._role = role
        self._keeps_ids = keeps_ids
        self._now = now
        self._configuration = configuration
        self._is_short = False
        # Who of those that are created waits for an invitation, and so has a seat.
        self._expected: set[str] = set()
        self._invited: dict[str, Role] = {}
        self._actors: Mapping[UUID, str] = {}
        # Whose attributes do not meet the schema, by the place in memory of what the archive says of them.
        self._unfit: frozenset[int] = frozenset()
        self._sought = sought
        self.found: dict[UUID, UUID] = {}
        self.tally = Tally()

    async def take(self, people: Sequence[Person | None]) -> None:
        """Judge some rows and write what becomes of them."""
        fit = [person for person in people if person is not None]
        known = await self._known(fit)
        self._actors = await self._actors_among(fit)
        # In a thread: a tenant's schema takes its time, and others wait for the loop.
        self._unfit = await asyncio.to_thread(self._misfits, fit)
        self._invited = await invited_roles(self._session, [person.email.norm for person in fit])
        fresh: list[dict[str, Any]] = []
        changed: dict[UUID, ArchivedUser] = {}
        for person in people:
            self.tally.total += 1
            self._judge(person, known, fresh, changed)
        await self._insert(fresh)
        await self._change(changed)

    async def settle(self) -> report.Seats:
        """Claim seats for those who are created, and return whether there are so many."""
        created, moved = self.tally.create, 0
        fits = not self._is_short
        if created and fits:
            await lock_seats(self._session)
            moved = len(await withdraw_invitations(self._session, self._expected))
            try:
                await claim_seats(self._session, created)
            except LimitExceeded:
                fits = False
        seats = await count_seats(self._session)
        used = seats.used - created + moved if fits else seats.used + moved
        return report.Seats(seats.limit, used, created - len(self._expected), fits)

    async def _known(self, people: Sequence[Person]) -> "_Book":
        ids = [person.user.id for person in people] if self._keeps_ids else []
        found = await repository.members(self._session, ids, [person.email.norm for person in people])
        return _Book(
            [_Known(row.id, row.email_norm, row.name, row.role, row.attributes) for row in found],
            by_id=self._keeps_ids,
        )

    def _judge(
        self,
        person: Person | None,
        known: "_Book",
        fresh: list[dict[str, Any]],
        changed: dict[UUID, ArchivedUser],
    ) -> None:
        if person is None:
            self.tally.refuse("", "row_invalid")
            return
        same, namesake = known.find(person.user.id, person.email.norm)
        if same is not None and namesake is not None and same.id != namesake.id:
            self.tally.refuse(str(person.user.id), "email_taken")
            return
        member = same or namesake
        if member is None:
            self._create(person, known, fresh)
        else:
            self._update(person.user, member, known, changed)

    def _create(self, person: Person, known: "_Book", fresh: list[dict[str, Any]]) -> None:
        user, email = person.user, person.email
        invited_as = self._invited.get(email.norm)
        if not all(may_manage(self._role, role) for role in (user.role, invited_as or user.role)):
            self.tally.refuse(str(user.id), "permission_denied")
            return
        # Who had none, as people who were invited, begins with none here too.
        if user.attributes and not self._fit(user):
            self.tally.refuse(str(user.id), "attributes_schema")
            return
        if invited_as is not None:
            self._expected.add(email.norm)
        identifier = user.id if self._is_free(user.id) else new_id()
        self._note(user, identifier)
        self.tally.create += 1
        self.tally.remapped += int(identifier != user.id)
        attributes = dict(user.attributes)
        columns = member_columns(
            email, user.name, user.role, now=self._now, status=user.status, attributes=attributes
        )
        moment = {"id": identifier, "created_at": not_after(user.created_at, self._now)}
        fresh.append(columns | moment)
        known.add(_Known(identifier, email.norm, user.name, user.role.value, attributes))

    def _update(
        self, user: ArchivedUser, member: _Known, known: "_Book", changed: dict[UUID, ArchivedUser]
    ) -> None:
        self.tally.remapped += int(member.id != user.id)
        self._note(user, member.id)
        if member.name == user.name and is_same_json(member.attributes, user.attributes):
            self.tally.skip += 1
        elif not may_manage(self._role, Role(member.role)):
            self.tally.refuse(str(user.id), "permission_denied")
        elif not (is_same_json(member.attributes, user.attributes) or self._fit(user)):
            self.tally.refuse(str(user.id), "attributes_schema")
        else:
            self.tally.update += 1
            changed[member.id] = user
            known.add(replace(member, name=user.name, attributes=dict(user.attributes)))

    def _fit(self, user: ArchivedUser) -> bool:
        """Return whether the user's attributes meet the tenant's schema."""
        return id(user) not in self._unfit

    def _misfits(self, people: Sequence[Person]) -> frozenset[int]:
        return frozenset(id(person.user) for person in people if not self._is_met(person.user.attributes))

    def _is_met(self, attributes: Mapping[str, Any]) -> bool:
        try:
            require_schema(self._configuration, attributes)
        except ValidationFailed:
            return False
        return True

    async def _actors_among(self, people: Sequence[Person]) -> Mapping[UUID, str]:
        ids = [person.user.id for person in people] if self._keeps_ids else []
        return await repository.kinds_of_actors(self._session, ids)

    def _is_free(self, identifier: UUID) -> bool:
        """Return whether somebody who is brought in may have the id that the archive says.

        Whoever has an id is in the audit log who ever had it, and is erased in their place. So that of
        somebody who has left is given by owners alone, as erasing them is, and a program's or an operator's
        by nobody.
        """
        kind = self._actors.get(identifier)
        is_members = kind == PrincipalKind.MEMBER and self._role is Role.OWNER
        return self._keeps_ids and (kind is None or is_members)

    def _note(self, user: ArchivedUser, identifier: UUID) -> None:
        if user.id in self._sought:
            self.found[user.id] = identifier

    async def _insert(self, fresh: Sequence[dict[str, Any]]) -> None:
        seats = await count_seats(self._session)
        # Beyond the last seat nothing more is written: it would only be taken back.
        needed = self.tally.create - len(self._expected)
        self._is_short = self._is_short or seats.fit(needed) < needed
        if self._is_short:
            return
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
        """Know one more, or something new of one."""
        self._by_norm[member.norm] = member
        if self._counts_ids:
            self._by_id[member.id] = member
