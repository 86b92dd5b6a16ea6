"""Makes a person a member of a tenant: one seat, one row, the terms they are found by.

It works as any role that may insert users, also the platform's, which cannot read what it wrote: nothing here
asks for a row back.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from mis_accounts.emails import Email
from mis_accounts.search_terms import search_terms
from mis_accounts.seats import claim_seats
from mis_models.accounts import UserRow, UserTermRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.identifiers import new_id
from mis_tenancy.insertion import insert_many
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tenant import Role

_UNIQUE_EMAIL: Final = "uq_users_tenant_id_email_norm"


class EmailTaken(ProblemError):
    """Another user of the tenant has this address."""

    status = 409
    code = "email_taken"
    detail = "A user of this tenant already has this e-mail address."


async def add_member(
    session: TenantSession,
    *,
    email: Email,
    name: str,
    role: Role,
    now: datetime,
    password_hash: str | None = None,
    status: str = "active",
    attributes: Mapping[str, Any] | None = None,
) -> UserRow:
    """Insert a user of the session's tenant and return the row.

    Raise LimitExceeded when no seat is left, EmailTaken for an address in use; the transaction is then lost.
    """
    await claim_seats(session)
    columns = member_columns(
        email, name, role, now=now, password_hash=password_hash, status=status, attributes=attributes
    )
    return await seat_member(session, columns)


async def seat_member(session: TenantSession, columns: Mapping[str, Any]) -> UserRow:
    """Insert a user who has a seat already and return the row; `columns` are those of `member_columns`.

    Raise EmailTaken for an address in use; the transaction is then lost.
    """
    user = UserRow(**columns)
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        if _UNIQUE_EMAIL in str(error.orig):
            raise EmailTaken from error
        raise
    await _insert_terms(session, user)
    return user


def add_first_member(session: TenantSession, columns: Mapping[str, Any]) -> None:
    """Add the first user of a tenant that is being made, whose counters its maker adds; nothing is sent yet.

    `columns` are those of `member_columns`.
    """
    session.add(UserRow(**columns))
    for term in search_terms(columns["email"], columns["name"]):
        session.add(UserTermRow(term=term, user_id=columns["id"]))


def member_columns(
    email: Email,
    name: str,
    role: Role,
    *,
    now: datetime,
    password_hash: str | None = None,
    status: str = "active",
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return every column of a new user but the tenant's, so that the insert needs to read nothing back."""
    return {
        "id": new_id(),
        "email": email.address,
        "email_norm": email.norm,
        "name": name,
        "role": role.value,
        "status": status,
        "password_hash": password_hash,
        "attributes": dict(attributes or {}),
        "epoch": 0,
        "version": 1,
        "created_at": now,
        "updated_at": now,
        "last_login_at": None,
    }


async def insert_members(session: TenantSession, members: Sequence[dict[str, Any]]) -> set[UUID]:
    """Insert members of `member_columns` with their terms; return the ids of those whose place was free.

    Their seats are the caller's to claim. What is taken, an address or an id, is passed over.
    """
    inserted = await insert_many(session, UserRow, members, skip=True)
    terms = [
        {"term": term, "user_id": member["id"]}
        for member in members
        if member["id"] in inserted
        for term in sorted(search_terms(member["email"], member["name"]))
    ]
    await insert_many(session, UserTermRow, terms)
    return inserted


async def renew_terms(session: TenantSession, user: UserRow) -> None:
    """Replace the terms of a user whose name or address has changed."""
    await session.execute(
        delete(UserTermRow).where(UserTermRow.user_id == user.id).execution_options(synchronize_session=False)
    )
    await _insert_terms(session, user)


async def _insert_terms(session: TenantSession, user: UserRow) -> None:
    tenant_id = tenant_of(session)
    terms = [
        {"tenant_id": tenant_id, "term": term, "user_id": user.id}
        for term in sorted(search_terms(user.email, user.name))
    ]
    await session.execute(insert(UserTermRow), terms)
