"""An authenticator app's secret at rest: ciphertext under the tenant's data key, bound to its user.

It stands between the services, because one checks codes by it and another renews it when keys rotate.
"""

from uuid import UUID

from mis_tenancy.encryption import TenantKeys
from mis_tenancy.session import TenantSession


class TotpSecrets:
    """Seals and opens the secrets of the session's tenant's users."""

    def __init__(self, session: TenantSession, keys: TenantKeys) -> None:
        self._session = session
        self._keys = keys

    async def seal(self, user_id: UUID, secret: bytes) -> bytes:
        """Return the secret as it is stored."""
        key = await self._keys.current(self._session)
        return key.encrypt(secret, _purpose(user_id))

    async def open(self, user_id: UUID, stored: bytes) -> bytes:
        """Return the secret; raise Undecryptable where it does not belong to this user."""
        return await self._keys.decrypt(self._session, stored, _purpose(user_id))


def _purpose(user_id: UUID) -> str:
    return f"totp:{user_id}"
