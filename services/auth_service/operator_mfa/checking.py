"""What an operator can show beside the password, and whether what was sent is that; showing uses it up."""

import time
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.mfa.checking import RECOVERY_CODE, TOTP, Shown
from auth_service.mfa.codes import recovery_digest, step_of
from auth_service.operator_mfa import repository
from auth_service.operator_mfa.secrets import purpose_of
from auth_service.throttling.service import Attempt
from mis_models.platform import OperatorRow
from mis_tenancy.encryption import Undecryptable, Wrapping
from mis_tenancy.tokens.claims import OPERATOR

# Recovery codes are bound to their holder's tenant, and operators have none.
_NOWHERE: Final = UUID(int=0)

_log = structlog.get_logger(__name__)


def methods_of(operator: OperatorRow) -> list[str]:
    """Return how the operator's second factor may be shown; nothing where none is set."""
    if operator.totp_confirmed_at is None:
        return []
    return [TOTP, RECOVERY_CODE] if operator.recovery_codes else [TOTP]


def step_shown(wrapping: Wrapping, operator: OperatorRow, code: str) -> int | None:
    """Return the step whose code this is by the operator's secret, or None."""
    if operator.totp_secret is None or operator.totp_key_id is None:
        return None
    try:
        secret = wrapping.unwrap(operator.totp_secret, operator.totp_key_id, purpose_of(operator.id))
    except Undecryptable:
        # A secret that was put here from elsewhere opens nothing.
        _log.error("operator_mfa.undecryptable", operator=str(operator.id))
        return None
    return step_of(secret.decode(), code, time.time())


async def takes(session: AsyncSession, wrapping: Wrapping, operator: OperatorRow, shown: Shown) -> bool:
    """Use up what is shown; return False where it is wrong, or was used up already."""
    if shown.code is not None:
        step = step_shown(wrapping, operator, shown.code)
        return step is not None and await repository.use_step(session, operator.id, step)
    if shown.recovery_code is None:
        return False
    return await repository.use_recovery_code(
        session, operator.id, digest_of(operator.id, shown.recovery_code)
    )


def digest_of(operator_id: UUID, recovery_code: str) -> bytes:
    """Return what is stored of an operator's recovery code."""
    return recovery_digest(_NOWHERE, operator_id, recovery_code)


def attempt_at(operator_id: UUID, network: str) -> Attempt:
    """Return the counters that guesses at an operator's second factor are held against."""
    return Attempt.of(f"{OPERATOR}:second factor", str(operator_id), network)
