"""Every statement about users.

A page of the list is the suite's hottest read, so it has two ways to the database: the statement door, which
serves, and the ORM's session, beside which the benchmark measures it. Both run the same statement.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, select, update
from sqlalchemy.orm import defer

from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_models.media import MediaRow
from mis_tenancy.database import Database
from mis_tenancy.replicas.reads import Reads
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role
from user_service.users.filters import UserFilter
from user_service.users.search_repository import Step, is_whole, search_of
from user_service.users.term_repository import is_exactly

Record = TypeVar("Record", bound=Sequence[Any])

_SHOWN: Final = (
    UserRow.id,
    UserRow.email,
    UserRow.name,
    UserRow.role,
    UserRow.status,
    UserRow.attributes,
    UserRow.created_at,
    UserRow.updated_at,
    UserRow.last_login_at,
)
# The hash is read by who verifies it, and by nobody else.
_WITHOUT_HASH: Final = defer(UserRow.password_hash, raiseload=True)


def page_steps(wanted: UserFilter, page: Page) -> Iterator[Step]:
    """Yield what to ask for one page until an answer is whole; no statement names a tenant."""
    search = search_of(wanted, page, _SHOWN)
    if search is None:
        yield Step(_listing(wanted.role, wanted.status, page), {})
    else:
        yield from search.steps()


@lru_cache(maxsize=512)
def _listing(role: Role | None, status: str | None, page: Page) -> Select[Any]:
    statement = select(*_SHOWN)
    if role is not None:
        statement = statement.where(is_exactly(UserRow.role, bindparam("role", role.value)))
    if status is not None:
        statement = statement.where(is_exactly(UserRow.status, bindparam("status", status)))
    return page.apply(statement, UserRow.id)  # type: ignore[arg-type]  # the mapped column is the column


async def page_through_door(
    reads: Database | Reads, tenant_id: UUID, wanted: UserFilter, page: Page
) -> Sequence[Any]:
    """Return the driver's records of a page, one more than it holds where there is more; JSON stays text."""
    return await _first_whole(
        page_steps(wanted, page), lambda step: reads.fetch(step.statement, tenant_id, step.values)
    )


async def page_through_session(session: TenantSession, wanted: UserFilter, page: Page) -> Sequence[Row[Any]]:
    """Return the rows of a page, one more than it holds where there is more."""

    async def ask(step: Step) -> Sequence[Row[Any]]:
        rows: Sequence[Row[Any]] = (await session.execute(step.statement, step.values)).all()
        return rows

    return await _first_whole(page_steps(wanted, page), ask)


async def _first_whole(
    steps: Iterator[Step], ask: Callable[[Step], Awaitable[Sequence[Record]]]
) -> Sequence[Record]:
    for step in steps:
        records = await ask(step)
        if is_whole(records):
            break
    return records


async def find(session: TenantSession, user_id: UUID) -> UserRow | None:
    """Return the user, or None."""
    return await session.scalar(select(UserRow).where(UserRow.id == user_id).options(_WITHOUT_HASH))


async def lock(session: TenantSession, user_id: UUID) -> UserRow | None:
    """Return the user as they are now, held against other writers until the transaction ends, or None."""
    statement = select(UserRow).where(UserRow.id == user_id).options(_WITHOUT_HASH)
    return await session.scalar(statement.with_for_update().execution_options(populate_existing=True))


async def is_taken(session: TenantSession, email_norm: str, *, but_by: UUID) -> bool:
    """Return whether a user other than `but_by` has the address."""
    others = select(UserRow.id).where(UserRow.email_norm == email_norm, UserRow.id != but_by)
    return await session.scalar(others) is not None


async def statuses_of_other_owners(session: TenantSession, user_id: UUID) -> Sequence[str]:
    """Return the status of each owner but this one; under `lock_seats` that stays true to the end."""
    others = select(UserRow.status).where(UserRow.role == Role.OWNER.value, UserRow.id != user_id)
    return (await session.scalars(others)).all()


async def delete(session: TenantSession, user: UserRow) -> None:
    """Delete the user, and with them their terms, sessions and refresh tokens; their files stay, unowned.

    The user is locked, so no upload of theirs can commit in between.
    """
    let_go = update(MediaRow).where(MediaRow.owner_id == user.id).values(owner_id=None)
    await session.execute(let_go.execution_options(synchronize_session=False))
    await session.delete(user)
    await session.flush()
