"""What a user can show beside the password, and whether what was sent is that; each code is used up by it."""

import time
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from auth_service.mfa import repository
from auth_service.mfa.codes import recovery_digest, step_of
from auth_service.throttling.service import Attempt
from mis_accounts.totp_secrets import TotpSecrets
from mis_tenancy.encryption import TenantKeys, Undecryptable
from mis_tenancy.session import TenantSession

TOTP: Final = "totp"
RECOVERY_CODE: Final = "recovery_code"
# Whoever shows the factor has not lost it, whatever an operator was told.
RESET_CALLED_OFF: Final = "mfa.reset_called_off"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody shows: a code of the app, or a recovery code."""

    code: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)


class SecondFactor:
    """The second factor of one user of the session's tenant."""

    def __init__(self, session: TenantSession, keys: TenantKeys, tenant_id: UUID, user_id: UUID) -> None:
        self._session = session
        self._secrets = TotpSecrets(session, keys)
        self._tenant_id = tenant_id
        self._user_id = user_id

    async def methods(self) -> list[str]:
        """Return how it may be shown; nothing where none is set."""
        if await repository.find(self._session, self._user_id) is None:
            return []
        left = await repository.recovery_codes_left(self._session, self._user_id)
        return [TOTP, RECOVERY_CODE] if left else [TOTP]

    async def takes(self, shown: Shown) -> bool:
        """Use up what is shown; return False where it is wrong, or was used up already.

        Of two who show the same at the same time one is let through: each use is one conditional statement.
        """
        if shown.code is not None:
            return await self._takes_code(shown.code)
        if shown.recovery_code is None:
            return False
        digest = recovery_digest(self._tenant_id, self._user_id, shown.recovery_code)
        return await repository.use_recovery_code(self._session, self._user_id, digest)

    async def step_of(self, stored: bytes, code: str) -> int | None:
        """Return the step whose code this is by a stored secret, or None."""
        try:
            secret = await self._secrets.open(self._user_id, stored)
        except Undecryptable:
            # A secret that was put here from elsewhere opens nothing.
            _log.error("mfa.undecryptable", tenant=str(self._tenant_id), user=str(self._user_id))
            return None
        return step_of(secret.decode(), code, time.time())

    async def _takes_code(self, code: str) -> bool:
        factor = await repository.find(self._session, self._user_id)
        step = None if factor is None else await self.step_of(factor.secret, code)
        return step is not None and await repository.use_step(self._session, self._user_id, step)


def attempt_at(tenant_id: UUID, user_id: UUID, network: str) -> Attempt:
    """Return the counters that guesses at a second factor are held against.

    They are not those of the password: whoever has that could otherwise start them anew with it.
    """
    return Attempt.of(f"{tenant_id}:second factor", str(user_id), network)
