"""Every statement about signing keys; they belong to no tenant and are reached as the auth role."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import SigningKeyRow
from mis_tenancy.tables import PublicSigningKeyRow
from mis_tenancy.tokens.signing import SigningKey

# Any number will do, as long as nobody else locks on it.
_LOCK: Final = 7_100_001


async def lock(session: AsyncSession) -> None:
    """Let no other process change the keys until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def public_keys(session: AsyncSession) -> Sequence[PublicSigningKeyRow]:
    """Return every key's public half, oldest first."""
    oldest_first = select(PublicSigningKeyRow).order_by(PublicSigningKeyRow.created_at)
    return (await session.scalars(oldest_first)).all()


async def current_private_key(session: AsyncSession) -> SigningKeyRow | None:
    """Return the private half of the key that signs now."""
    owner = PublicSigningKeyRow.kid == SigningKeyRow.kid
    signing = select(SigningKeyRow).join(PublicSigningKeyRow, owner)
    return await session.scalar(signing.where(PublicSigningKeyRow.state == "current"))


async def add(
    session: AsyncSession, key: SigningKey, wrapped: tuple[bytes, str], state: str, now: datetime
) -> PublicSigningKeyRow:
    """Insert both halves of a key; `wrapped` is its private half and the id of the master key over it."""
    public: dict[str, Any] = {"kid": key.kid, "jwk": key.public_jwk, "state": state, "created_at": now}
    row = PublicSigningKeyRow(**public)
    session.add(row)
    await session.flush()
    sealed, master_key_id = wrapped
    session.add(SigningKeyRow(kid=key.kid, wrapped_key=sealed, master_key_id=master_key_id, created_at=now))
    await session.flush()
    return row


async def destroy_private_key(session: AsyncSession, kid: str) -> None:
    """Delete a key's private half, so that nothing can be signed with it any more."""
    await session.execute(delete(SigningKeyRow).where(SigningKeyRow.kid == kid))


async def forget_lapsed(session: AsyncSession, now: datetime) -> None:
    """Delete keys that verify nothing any more."""
    await session.execute(delete(PublicSigningKeyRow).where(PublicSigningKeyRow.verifies_until < now))
