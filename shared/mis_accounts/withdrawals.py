"""Invitations whose addresses become members' some other way: they end, and their seats move.

Left open, such an invitation would hold a second seat for one person for a week, and its link would open
nothing. The callers hold the counters (`lock_seats`), so nobody accepts one or makes another meanwhile.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Row, any_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from mis_accounts.seats import release_held_seats
from mis_models.links import InvitationRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role


async def invited_roles(session: TenantSession, norms: Collection[str]) -> dict[str, Role]:
    """Return as what those of the addresses are invited that hold a seat without being a user's."""
    columns = select(InvitationRow.email_norm, InvitationRow.role).where(*_waiting(norms))
    return {row.email_norm: Role(row.role) for row in await session.execute(columns)}


async def withdraw_invitations(session: TenantSession, norms: Collection[str]) -> Sequence[Row[UUID, str]]:
    """End the invitations of the addresses, give their seats back, and return the `id` and `role` of each."""
    gone = delete(InvitationRow).where(*_waiting(norms)).execution_options(synchronize_session=False)
    withdrawn = (await session.execute(gone.returning(InvitationRow.id, InvitationRow.role))).all()
    if withdrawn:
        await release_held_seats(session, len(withdrawn))
    return withdrawn


async def drop_invitation(session: TenantSession, user_id: UUID) -> None:
    """End the invitation that a user waits for, who has a seat already and gets in otherwise."""
    own = delete(InvitationRow).where(InvitationRow.user_id == user_id)
    await session.execute(own.execution_options(synchronize_session=False))


def _waiting(norms: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    listed = bindparam("norms", list(norms), type_=ARRAY(TEXT))
    return InvitationRow.email_norm == any_(listed), InvitationRow.user_id.is_(None)
