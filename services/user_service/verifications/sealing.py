"""Pictures at rest: each under a key of its own, which is kept under the tenant's.

So a rotation of the tenant's key renews some bytes in a row and no pictures, and destroying those bytes
makes a picture unreadable at once, in backups of the store too.
"""

import os
from uuid import UUID

from mis_accounts.picture_keys import PictureKeys
from mis_tenancy.encryption import DataKey, TenantKeys
from mis_tenancy.session import TenantSession, tenant_of

_SECRET_BYTES = 32


async def seal(
    session: TenantSession, keys: TenantKeys, verification_id: UUID, image: bytes
) -> tuple[bytes, bytes]:
    """Return the picture as it is stored, and its key as that is."""
    secret = os.urandom(_SECRET_BYTES)
    kept = await PictureKeys(session, keys).seal(verification_id, secret)
    return _key(session, secret).encrypt(image, _purpose(verification_id)), kept


async def open_picture(
    session: TenantSession, keys: TenantKeys, verification_id: UUID, stored: bytes, kept: bytes
) -> bytes:
    """Return the picture; raise Undecryptable for what is not this verification's."""
    secret = await PictureKeys(session, keys).open(verification_id, kept)
    return _key(session, secret).decrypt(stored, _purpose(verification_id))


def _key(session: TenantSession, secret: bytes) -> DataKey:
    return DataKey(tenant_of(session), 1, secret)


def _purpose(verification_id: UUID) -> str:
    return f"picture:{verification_id}"
