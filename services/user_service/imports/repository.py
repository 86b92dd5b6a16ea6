"""Every statement of an import."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import any_, bindparam, insert, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from mis_accounts.search_terms import search_terms
from mis_models.accounts import UserRow, UserTermRow
from mis_tenancy.session import TenantSession, tenant_of


async def taken_addresses(session: TenantSession, norms: Collection[str]) -> set[str]:
    """Return those of `norms` that users of the tenant already have."""
    listed = bindparam("norms", list(norms), type_=ARRAY(TEXT))
    return set(await session.scalars(select(UserRow.email_norm).where(UserRow.email_norm == any_(listed))))


async def insert_users(session: TenantSession, users: Sequence[dict[str, Any]]) -> set[UUID]:
    """Insert users and their terms; return the ids of those whose address was still free."""
    if not users:
        return set()
    statement = insert_or_skip(UserRow).on_conflict_do_nothing().returning(UserRow.id)
    inserted = set(await session.scalars(statement, users))
    tenant_id = tenant_of(session)
    terms = [
        {"tenant_id": tenant_id, "term": term, "user_id": user["id"]}
        for user in users
        if user["id"] in inserted
        for term in sorted(search_terms(user["email"], user["name"]))
    ]
    if terms:
        await session.execute(insert(UserTermRow), terms)
    return inserted
