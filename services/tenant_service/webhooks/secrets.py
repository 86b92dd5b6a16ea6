"""A webhook's signing secret at rest: ciphertext under the tenant's data key, bound to the webhook."""

from uuid import UUID

from mis_tenancy.encryption import TenantKeys
from mis_tenancy.session import TenantSession


class WebhookSecrets:
    """Seals and opens the secrets of the session's tenant's webhooks."""

    def __init__(self, session: TenantSession, keys: TenantKeys) -> None:
        self._session = session
        self._keys = keys

    async def seal(self, webhook_id: UUID, secret: bytes) -> bytes:
        """Return the secret as it is stored."""
        key = await self._keys.current(self._session)
        return key.encrypt(secret, _purpose(webhook_id))

    async def open(self, webhook_id: UUID, stored: bytes) -> bytes:
        """Return the secret; raise Undecryptable where it does not belong to this webhook."""
        return await self._keys.decrypt(self._session, stored, _purpose(webhook_id))


def _purpose(webhook_id: UUID) -> str:
    return f"webhook:{webhook_id}"
