"""The key of a document's picture at rest: ciphertext under the tenant's data key, bound to its verification.

It stands between the services, because one reads pictures with it and another renews it when keys rotate.
"""

from uuid import UUID

from mis_tenancy.encryption import TenantKeys
from mis_tenancy.session import TenantSession


class PictureKeys:
    """Seals and opens the keys of the session's tenant's pictures."""

    def __init__(self, session: TenantSession, keys: TenantKeys) -> None:
        self._session = session
        self._keys = keys

    async def seal(self, verification_id: UUID, secret: bytes) -> bytes:
        """Return the key as it is stored."""
        key = await self._keys.current(self._session)
        return key.encrypt(secret, _purpose(verification_id))

    async def open(self, verification_id: UUID, stored: bytes) -> bytes:
        """Return the key; raise Undecryptable where it does not belong to this verification."""
        return await self._keys.decrypt(self._session, stored, _purpose(verification_id))


def _purpose(verification_id: UUID) -> str:
    return f"verification:{verification_id}"
