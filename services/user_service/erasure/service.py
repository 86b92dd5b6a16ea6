"""Erases a person (GDPR, article 17) in one transaction; the audit log keeps a pseudonym.

The user's id stays in the audit log, where it names nobody any more: no row of the log is changed, so its
chain still verifies, and the key under which it kept addresses and browsers is destroyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mis_accounts.departures import raise_epoch
from mis_accounts.emails import norm_of
from mis_accounts.seats import lock_seats, release_seats
from mis_accounts.space import release_space
from mis_accounts.withdrawals import withdraw_invitations
from mis_jobs.jobs import enqueue
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import UserRow
from mis_tenancy.access import require_rank
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.origins.rows import erase_actor
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Role, Tenant
from user_service.erasure import repository
from user_service.erasure.answers import drop_answers
from user_service.erasure.mail import drop_mail
from user_service.media.service import DISCARD
from user_service.users.errors import UserNotFound
from user_service.users.repository import lock, statuses_of_other_owners
from user_service.users.rules import require_other_owner
from user_service.verifications.discarding import discard_pictures


@dataclass(frozen=True, slots=True)
class Remains:
    """Something that may still hold data of the person, and until when."""

    kind: str
    id: UUID
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """What an erasure removed, counted by kind, and what it could not reach."""

    user_id: UUID
    erased_at: datetime
    removed: dict[str, int]
    remains: Sequence[Remains] = field(default_factory=tuple)


class Erasure:
    """Erases people of one tenant on behalf of the caller `by`."""

    def __init__(
        self, session: TenantSession, tenant: Tenant, by: Admission, wrapping: Wrapping, keys: TenantKeys
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._by = by
        self._principal = principal_of(by)
        self._wrapping = wrapping
        self._keys = keys

    async def erase(self, user_id: UUID) -> Report:
        """Remove what there is of the user, who may have been deleted or erased before, and report it.

        Raise UserNotFound for who was never there, PermissionDenied for a role above the caller's, LastOwner.
        """
        was_erased = await repository.was_erased(self._session, user_id)
        # Before any row is locked, because it waits for others who are writing down what the user does.
        origins = await erase_actor(self._session, user_id)
        for key_id in await repository.keys_made_by(self._session, user_id):
            # A program often runs where its author sits.
            origins += await erase_actor(self._session, key_id)
        await lock_seats(self._session)
        user = await lock(self._session, user_id)
        if user is not None:
            removed = await self._remove(user)
        elif was_erased or await repository.was_member(self._session, user_id):
            # What role they had nobody knows any more.
            require_rank(self._principal, Role.OWNER)
            removed = {"media": await self._drop_files(user_id)}
            removed["keptAnswers"] = await drop_answers(self._session, self._keys, user_id, frozenset())
        else:
            raise UserNotFound
        return await self._reported(user_id, removed | {"auditOrigins": origins})

    async def _remove(self, user: UserRow) -> dict[str, int]:
        require_rank(self._principal, Role(user.role))
        if user.role == Role.OWNER and user.status != "disabled":
            others = await statuses_of_other_owners(self._session, user.id)
            require_other_owner(user.status, others)
        removed = {"users": 1, **await repository.counted(self._session, user.id)}
        addresses = [user.email, *await repository.requested_addresses(self._session, user.id)]
        norms = {norm_of(address) for address in addresses}
        removed["invitations"] = len(await withdraw_invitations(self._session, norms))
        removed["media"] = await self._drop_files(user.id)
        await discard_pictures(self._session, user.id)
        removed["mails"] = await drop_mail(self._session, self._wrapping, self._tenant.id, norms)
        named = frozenset(address.lower().encode() for address in addresses)
        removed["keptAnswers"] = await drop_answers(self._session, self._keys, user.id, named)
        raise_epoch(self._session, user)
        role = user.role
        await repository.delete_user(self._session, user)
        await release_seats(self._session)
        publish(self._session, EventType.USER_DELETED, {"id": str(user.id), "role": role})
        return removed

    async def _drop_files(self, user_id: UUID) -> int:
        files = await repository.drop_files(self._session, user_id)
        for one in files:
            await enqueue(self._session, DISCARD, {"mediaId": str(one.id)}, tenant_id=self._tenant.id)
        if files:
            await release_space(self._session, sum(one.size for one in files), files=len(files))
        return len(files)

    async def _reported(self, user_id: UUID, removed: dict[str, int]) -> Report:
        changes: dict[str, Any] = {"removed": {"old": None, "new": removed}}
        record(self._session, self._by, "user.erased", resource=f"user:{user_id}", changes=changes)
        exports = await repository.exports_with_people(self._session)
        remains = [Remains("export", one.id, one.expires_at) for one in exports]
        remains += [Remains("import", one, None) for one in await repository.imports_under_way(self._session)]
        return Report(user_id, datetime.now(UTC), removed, remains)
