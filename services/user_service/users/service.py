"""The rules of a tenant's membership: who joins, changes and leaves, and what ends with that."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from mis_accounts.attributes import require_schema
from mis_accounts.departures import end_sessions, raise_epoch
from mis_accounts.emails import Email, parse_email
from mis_accounts.members import add_member, renew_terms
from mis_accounts.passwords import Passwords
from mis_accounts.recent_sign_ins import ProofRequired, is_recent
from mis_accounts.seats import lock_seats, release_seats
from mis_accounts.withdrawals import withdraw_invitations
from mis_http.etags import Precondition
from mis_http.pages import Page
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import UserRow
from mis_tenancy.access import require_grant, require_rank
from mis_tenancy.replicas.reads import Reads
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Role, Tenant
from user_service.users import repository
from user_service.users.addresses import AddressChanges
from user_service.users.errors import UserNotFound
from user_service.users.filters import UserFilter
from user_service.users.rules import refuse_visiting_operator, require_other_owner
from user_service.users.schemas import UserCreate
from user_service.verifications.discarding import discard_pictures

# Fields whose change touches rules about the whole membership, or ends tokens.
_STANDING: Final = frozenset({"role", "status"})
_EMAIL_ASKED: Final = "user.email_change_requested"
_SIGN_IN_AGAIN: Final = (
    "Your sign-in is more than ten minutes ago. Sign in again to change an e-mail address."
)


async def page_of_users(reads: Reads, tenant: Tenant, wanted: UserFilter, page: Page) -> Sequence[Any]:
    """Return the records of a page of the tenant's users, through the door for the hottest reads."""
    return await repository.page_through_door(reads, tenant.id, wanted, page)


class Users:
    """The users of one tenant, as the caller `by` may see and change them."""

    def __init__(
        self,
        session: TenantSession,
        tenant: Tenant,
        by: Admission,
        passwords: Passwords,
        addresses: AddressChanges,
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._by = by
        self._principal = principal_of(by)
        self._passwords = passwords
        self._addresses = addresses

    async def get(self, user_id: UUID) -> UserRow:
        """Return the user; raise UserNotFound, also for one of another tenant."""
        return _found(await repository.find(self._session, user_id))

    async def create(self, body: UserCreate) -> UserRow:
        """Add a user who may do no more than the caller; raise what the address, password or seats refuse.

        Whoever waited for an invitation has the seat that it held, and its link opens nothing any more.
        """
        require_grant(self._principal, body.role)
        require_schema(self._tenant.configuration, body.attributes)
        email = parse_email(body.email)
        hashed = None
        if body.password is not None:
            hashed = await self._hash(body.password, email, body.name)
        await lock_seats(self._session)
        settled = await self._settle_invitation(email)
        user = await add_member(
            self._session,
            email=email,
            name=body.name,
            role=body.role,
            password_hash=hashed,
            attributes=body.attributes,
            now=datetime.now(UTC),
        )
        changes = {field: {"old": None, "new": getattr(user, field)} for field in ("email", "name", "role")}
        self._record(EventType.USER_CREATED, user, changes | settled)
        return user

    async def change(self, user_id: UUID, fields: Mapping[str, Any], expected: Precondition) -> UserRow:
        """Change a user of at most the caller's own role; disabling them ends what they have open.

        Another `email` is only asked for here: it becomes theirs when it confirms.
        """
        if _STANDING & fields.keys():
            await lock_seats(self._session)
        user = _found(await repository.lock(self._session, user_id))
        if user_id != self._principal.id:
            require_rank(self._principal, Role(user.role))
        expected.hold(user.version)
        asked = await self._ask_for_address(user, fields.get("email", user.email))
        changed = {
            name: value for name, value in fields.items() if name != "email" and getattr(user, name) != value
        }
        if changed:
            await self._allow(user, changed)
            await self._apply(user, changed, asked)
        elif asked:
            record(self._session, self._by, _EMAIL_ASKED, resource=f"user:{user.id}", changes=asked)
        return user

    async def remove(self, user_id: UUID, expected: Precondition) -> None:
        """Delete a user of at most the caller's own role, and give the seat back."""
        await lock_seats(self._session)
        user = _found(await repository.lock(self._session, user_id))
        require_rank(self._principal, Role(user.role))
        expected.hold(user.version)
        await self._keep_an_owner(user)
        raise_epoch(self._session, user)
        await discard_pictures(self._session, user.id)
        await repository.delete(self._session, user)
        await release_seats(self._session)
        self._record(EventType.USER_DELETED, user)

    async def _ask_for_address(self, user: UserRow, email: str) -> dict[str, Any]:
        """Have another address confirm, and return what the audit row says of that."""
        if email == user.email:
            return {}
        # Whoever reads the account's mail can set its password, and is that person then.
        refuse_visiting_operator(self._principal, "change e-mail addresses")
        if user.id != self._principal.id:
            require_grant(self._principal, Role(user.role))
        session_id = self._principal.session_id
        if session_id is not None and not await is_recent(self._session, session_id):
            # So a stolen access token does not turn into a mailbox that outlasts it; a key has no sign-in.
            raise ProofRequired(_SIGN_IN_AGAIN)
        is_asked = await self._addresses.ask(user, email)
        return {"requestedEmail": {}} if is_asked else {}

    async def _settle_invitation(self, email: Email) -> dict[str, Any]:
        """End the address's invitation, which may be for at most the caller's own role; return the change."""
        changes: dict[str, Any] = {}
        for one in await withdraw_invitations(self._session, [email.norm]):
            require_rank(self._principal, Role(one.role))
            changes["invitation"] = {"old": str(one.id), "new": None}
        return changes

    async def _hash(self, password: str, email: Email, name: str) -> str:
        refuse_visiting_operator(self._principal, "set passwords")
        context = (email.norm, name, self._tenant.slug, self._tenant.name)
        policy = self._tenant.configuration["security.password_policy"]
        return await self._passwords.hash_new(password, policy, context)

    async def _allow(self, user: UserRow, changed: Mapping[str, Any]) -> None:
        if "role" in changed:
            refuse_visiting_operator(self._principal, "change roles")
            require_grant(self._principal, Role(changed["role"]))
        if "attributes" in changed:
            require_schema(self._tenant.configuration, changed["attributes"])
        if "role" in changed or changed.get("status") == "disabled":
            await self._keep_an_owner(user)

    async def _keep_an_owner(self, user: UserRow) -> None:
        if user.role == Role.OWNER and user.status != "disabled":
            others = await repository.statuses_of_other_owners(self._session, user.id)
            require_other_owner(user.status, others)

    async def _apply(self, user: UserRow, changed: Mapping[str, Any], asked: dict[str, Any]) -> None:
        """Change the user; the one audit row also says what was `asked` for."""
        now = datetime.now(UTC)
        changes = {name: {"old": getattr(user, name), "new": value} for name, value in changed.items()}
        for name, value in changed.items():
            setattr(user, name, value)
        user.version += 1
        user.updated_at = now
        disabled = changed.get("status") == "disabled"
        if _STANDING & changed.keys():
            raise_epoch(self._session, user)
        if disabled:
            await end_sessions(self._session, user.id, reason="user_disabled", now=now)
        if "name" in changed:
            await renew_terms(self._session, user)
        self._record(
            EventType.USER_DISABLED if disabled else EventType.USER_UPDATED,
            user,
            changes | asked,
            changed=sorted(changes),
        )

    def _record(
        self,
        event: EventType,
        user: UserRow,
        changes: Mapping[str, Any] | None = None,
        changed: Sequence[str] = (),
    ) -> None:
        """Leave the audit row, and tell whoever subscribed: of personal fields only that they changed."""
        record(self._session, self._by, event.value, resource=f"user:{user.id}", changes=changes)
        told: dict[str, Any] = {"id": str(user.id), "role": user.role}
        if event is EventType.USER_UPDATED:
            told["changed"] = changed
        publish(self._session, event, told)


def _found(user: UserRow | None) -> UserRow:
    if user is None:
        raise UserNotFound
    return user
