"""Every statement about operators' second factors."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import any_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import OperatorRow, OperatorSessionRow

_NOTHING: Final[dict[str, Any]] = {
    "totp_secret": None,
    "totp_key_id": None,
    "totp_last_step": None,
    "totp_confirmed_at": None,
    "recovery_codes": None,
}


async def find(session: AsyncSession, operator_id: UUID) -> OperatorRow | None:
    """Return the operator, if active, as they are now."""
    own = select(OperatorRow).where(OperatorRow.id == operator_id, OperatorRow.status == "active")
    return await session.scalar(own.execution_options(populate_existing=True))


async def put_pending(session: AsyncSession, operator_id: UUID, sealed: tuple[bytes, str]) -> bool:
    """Store a secret that waits to be confirmed, in place of one before; return False where one is set."""
    secret, key_id = sealed
    values = _NOTHING | {"totp_secret": secret, "totp_key_id": key_id}
    return await _change(session, operator_id, OperatorRow.totp_confirmed_at.is_(None), values)


async def confirm(session: AsyncSession, operator_id: UUID, secret: bytes, step: int, now: datetime) -> bool:
    """Set the app whose secret waits, its code of `step` used; return False where another waits by now."""
    waits = OperatorRow.totp_confirmed_at.is_(None) & (OperatorRow.totp_secret == secret)
    return await _change(session, operator_id, waits, {"totp_confirmed_at": now, "totp_last_step": step})


async def use_step(session: AsyncSession, operator_id: UUID, step: int) -> bool:
    """Use the code of a step up, and those of all steps before; return False where that had happened."""
    unused = or_(OperatorRow.totp_last_step.is_(None), OperatorRow.totp_last_step < step)
    is_set = OperatorRow.totp_confirmed_at.is_not(None)
    return await _change(session, operator_id, is_set & unused, {"totp_last_step": step})


async def use_recovery_code(session: AsyncSession, operator_id: UUID, digest: bytes) -> bool:
    """Use a recovery code up; return False where there is no such code, or not any more."""
    is_there = any_(OperatorRow.recovery_codes) == digest
    left = func.array_remove(OperatorRow.recovery_codes, digest)
    return await _change(session, operator_id, is_there, {"recovery_codes": left})


async def set_recovery_codes(session: AsyncSession, operator_id: UUID, digests: Sequence[bytes]) -> bool:
    """Replace all recovery codes; return False where no app is set."""
    is_set = OperatorRow.totp_confirmed_at.is_not(None)
    return await _change(session, operator_id, is_set, {"recovery_codes": list(digests)})


async def remove(session: AsyncSession, operator_id: UUID) -> bool:
    """Forget app and recovery codes; return whether an app was set."""
    return await _change(session, operator_id, OperatorRow.totp_confirmed_at.is_not(None), _NOTHING)


async def has_signed_in_within(session: AsyncSession, session_id: UUID, age: timedelta) -> bool:
    """Return whether the session began at most so long ago."""
    young = OperatorSessionRow.created_at > func.statement_timestamp() - age
    found = select(OperatorSessionRow.id).where(OperatorSessionRow.id == session_id, young)
    return await session.scalar(found) is not None


async def _change(session: AsyncSession, operator_id: UUID, condition: Any, values: dict[str, Any]) -> bool:
    """Change the operator where the condition holds; return whether it did. Of two at a time one is first."""
    changed = update(OperatorRow).where(OperatorRow.id == operator_id, condition).values(values)
    changed = changed.returning(OperatorRow.id).execution_options(synchronize_session=False)
    return await session.scalar(changed) is not None
