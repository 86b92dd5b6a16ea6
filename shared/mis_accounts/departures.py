"""Ends what users have open: sign-ins by revoking their sessions, access tokens by raising an epoch."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, update

from mis_models.accounts import SessionRow, UserRow
from mis_models.factors import ChallengeRow
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession, tenant_of


async def end_sessions(
    session: TenantSession,
    user_id: UUID,
    *,
    reason: str,
    now: datetime,
    except_session: UUID | None = None,
) -> list[UUID]:
    """Revoke the user's live sessions, all or all but one, and return their ids.

    From the commit on neither their refresh nor their access tokens are good, everywhere within a second, and
    no sign-in that is half done can be finished.
    """
    under_way = delete(ChallengeRow).where(ChallengeRow.user_id == user_id)
    await session.execute(under_way.execution_options(synchronize_session=False))
    live = [SessionRow.user_id == user_id, SessionRow.revoked_at.is_(None)]
    if except_session is not None:
        live.append(SessionRow.id != except_session)
    ended = await session.scalars(
        update(SessionRow)
        .where(*live)
        .values(revoked_at=now, revoked_reason=reason)
        .returning(SessionRow.id)
        .execution_options(synchronize_session=False)
    )
    ids = list(ended)
    for session_id in ids:
        revoke(session, Kind.SESSION, session_id, tenant_id=tenant_of(session))
    return ids


async def end_all_sessions(session: TenantSession, *, reason: str, now: datetime) -> None:
    """Revoke everybody's live sessions in the tenant; who raises its epoch ends the access tokens too."""
    await session.execute(
        update(SessionRow)
        .where(SessionRow.revoked_at.is_(None))
        .values(revoked_at=now, revoked_reason=reason)
        .execution_options(synchronize_session=False)
    )


def raise_epoch(session: TenantSession, user: UserRow) -> None:
    """End every access token the user holds; a live session's refresh token still brings a new one."""
    user.epoch += 1
    revoke(session, Kind.USER, user.id, tenant_id=tenant_of(session), epoch=user.epoch)
