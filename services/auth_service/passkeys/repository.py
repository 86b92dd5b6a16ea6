"""Every statement about passkeys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.passkeys.ceremonies import Assertion, NewCredential
from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_models.factors import PasskeyRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of

_NO_MORE: Final = {"synchronize_session": False}


async def of_user(session: TenantSession, user_id: UUID) -> Sequence[PasskeyRow]:
    """Return all passkeys of the user."""
    own = select(PasskeyRow).where(PasskeyRow.user_id == user_id).order_by(PasskeyRow.id)
    return (await session.scalars(own)).all()


async def page_of(session: TenantSession, user_id: UUID, page: Page) -> Sequence[PasskeyRow]:
    """Return a page of the user's passkeys, one more than it holds where there is more."""
    own = select(PasskeyRow).where(PasskeyRow.user_id == user_id)
    return (await session.scalars(page.apply(own, PasskeyRow.id))).all()  # type: ignore[arg-type]  # the mapped column is the column


async def hold_user(session: TenantSession, user_id: UUID) -> bool:
    """Let the user's registrations take turns; return whether there is such an active user."""
    own = select(UserRow.id).where(UserRow.id == user_id, UserRow.status == "active")
    return await session.scalar(own.with_for_update(key_share=True)) is not None


async def add(
    session: TenantSession,
    user_id: UUID,
    user_handle: bytes,
    made: NewCredential,
    *,
    rp_id: str,
    name: str,
    now: datetime,
) -> PasskeyRow | None:
    """Insert a passkey and return it, or None where its credential is registered already."""
    statement = (
        insert(PasskeyRow)
        .values(
            tenant_id=tenant_of(session),
            id=new_id(),
            user_id=user_id,
            credential_id=made.id,
            public_key=made.public_key,
            user_handle=user_handle,
            rp_id=rp_id,
            name=name,
            sign_count=made.sign_count,
            backed_up=made.backed_up,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "credential_id"])
        .returning(PasskeyRow)
    )
    return await session.scalar(statement)


async def find(session: AsyncSession, credential_id: bytes) -> PasskeyRow | None:
    """Return the passkey of a credential, or None."""
    return await session.scalar(select(PasskeyRow).where(PasskeyRow.credential_id == credential_id))


async def use(session: AsyncSession, passkey_id: UUID, proof: Assertion) -> bool:
    """Note a use of the passkey; return False where its counter has not gone forward.

    An authenticator that does not count says 0 each time (WebAuthn Level 3 §6.1.1).
    """
    forward = PasskeyRow.sign_count < proof.sign_count
    if proof.sign_count == 0:
        forward = PasskeyRow.sign_count == 0
    used = (
        update(PasskeyRow)
        .where(PasskeyRow.id == passkey_id, forward)
        .values(
            sign_count=proof.sign_count,
            backed_up=proof.backed_up,
            last_used_at=func.statement_timestamp(),
        )
        .returning(PasskeyRow.id)
    )
    return await session.scalar(used.execution_options(**_NO_MORE)) is not None


async def remove(session: TenantSession, user_id: UUID, passkey_id: UUID) -> bool:
    """Delete a passkey of the user; return whether there was one."""
    own = delete(PasskeyRow).where(PasskeyRow.id == passkey_id, PasskeyRow.user_id == user_id)
    gone = own.returning(PasskeyRow.id).execution_options(**_NO_MORE)
    return await session.scalar(gone) is not None
