"""Every statement about challenges; each is answered at most once."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.challenges.tokens import ChallengePurpose, ChallengeToken, new_challenge_token
from mis_models.factors import ChallengeRow
from mis_tenancy.session import tenant_of

_NAMES: Final[dict[str, str]] = {
    ChallengePurpose.SECOND_FACTOR: "second_factor",
    ChallengePurpose.PASSKEY_REGISTRATION: "passkey_registration",
    ChallengePurpose.PASSKEY_SIGN_IN: "passkey_sign_in",
}


async def add(
    session: AsyncSession,
    purpose: ChallengePurpose,
    *,
    now: datetime,
    lifetime: timedelta,
    user_id: UUID | None = None,
    **columns: Any,
) -> ChallengeToken:
    """Insert a challenge and return its token, which is stored nowhere."""
    token = new_challenge_token(purpose, tenant_of(session))
    session.add(
        ChallengeRow(
            id=token.id,
            purpose=_NAMES[purpose],
            user_id=user_id,
            token_hash=token.digest,
            created_at=now,
            expires_at=now + lifetime,
            **columns,
        )
    )
    await session.flush()
    return token


async def hold(session: AsyncSession, token: ChallengeToken) -> ChallengeRow | None:
    """Return the token's open challenge, which nobody else answers until the transaction ends, or None."""
    held = select(ChallengeRow).where(
        ChallengeRow.id == token.id,
        ChallengeRow.purpose == _NAMES[token.purpose],
        ChallengeRow.token_hash == token.digest,
        ChallengeRow.expires_at > func.statement_timestamp(),
    )
    return await session.scalar(held.with_for_update())


async def close(session: AsyncSession, challenge: ChallengeRow) -> None:
    """Let the challenge have been answered."""
    own = delete(ChallengeRow).where(ChallengeRow.id == challenge.id)
    await session.execute(own.execution_options(synchronize_session=False))
