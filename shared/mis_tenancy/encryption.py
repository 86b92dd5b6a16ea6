"""Secrets of a tenant: AES-256-GCM under the tenant's own versioned data keys, which a master key wraps.

What a ciphertext belongs to (tenant, purpose, key version) is its additional authenticated data, so a value
moved to another row, key or tenant does not decrypt. Nonces are 96 random bits (NIST SP 800-38D §8.2.2).
"""

import hmac
import os
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.settings import MasterKeys
from mis_tenancy.tables import DataKeyRow

_NONCE: Final = 12
_VERSION: Final = 4
_MOST_TENANTS: Final = 10_000


class Undecryptable(Exception):
    """A ciphertext is damaged, or belongs to another tenant, purpose or key."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """One version of a tenant's key, unwrapped; it never leaves the process."""

    tenant_id: UUID
    version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.tenant_id}, {self.version})"

    def encrypt(self, plaintext: bytes, purpose: str) -> bytes:
        """Return the key's version, a nonce and the ciphertext, bound to the tenant and `purpose`."""
        head = self.version.to_bytes(_VERSION, "big")
        return head + _seal(self.secret, plaintext, self._context(purpose))

    def decrypt(self, ciphertext: bytes, purpose: str) -> bytes:
        """Return the plaintext; raise Undecryptable when the ciphertext was not made for this place."""
        if key_version(ciphertext) != self.version:
            raise Undecryptable(f"The ciphertext is not of version {self.version} of the tenant's key.")
        return _unseal(self.secret, ciphertext[_VERSION:], self._context(purpose))

    def _context(self, purpose: str) -> bytes:
        return self.tenant_id.bytes + self.version.to_bytes(_VERSION, "big") + purpose.encode()


def key_version(ciphertext: bytes) -> int:
    """Return the version of the data key that made `ciphertext`."""
    return int.from_bytes(ciphertext[:_VERSION], "big")


class Wrapping:
    """What the master keys do: wrap secrets for rest, and open them again."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self.current_id = master_keys.current_id
        self._keys = master_keys

    def wrap(self, secret: bytes, purpose: str) -> tuple[bytes, str]:
        """Return `secret` sealed for `purpose`, and the id of the master key that did it."""
        key_id = self._keys.current_id
        return _seal(self._keys.keys[key_id], secret, purpose.encode()), key_id

    def unwrap(self, wrapped: bytes, key_id: str, purpose: str) -> bytes:
        """Return the secret; raise Undecryptable when the master key is not at hand or is not the one."""
        key = self._keys.keys.get(key_id)
        if key is None:
            raise Undecryptable(f"The master key {key_id!r} is not among MIS_MASTER_KEYS; add it back.")
        return _unseal(key, wrapped, purpose.encode())

    def rewrap(self, wrapped: bytes, key_id: str, purpose: str) -> tuple[bytes, str]:
        """Return what `wrap` would for the secret behind `wrapped`; raise Undecryptable as `unwrap` does."""
        return self.wrap(self.unwrap(wrapped, key_id, purpose), purpose)

    def fingerprint(self, text: bytes) -> bytes:
        """Return an HMAC-SHA256 of `text` under the current master key, which shows equal texts only."""
        return hmac.digest(self._keys.keys[self._keys.current_id], b"fingerprint\n" + text, "sha256")

    def new_data_key(self, tenant_id: UUID, version: int, now: datetime | None = None) -> DataKeyRow:
        """Return the row of a fresh data key for the tenant."""
        wrapped, key_id = self.wrap(os.urandom(32), data_key_purpose(tenant_id, version))
        return DataKeyRow(
            tenant_id=tenant_id,
            version=version,
            wrapped_key=wrapped,
            master_key_id=key_id,
            created_at=now or datetime.now(UTC),
        )

    def open_data_key(self, row: DataKeyRow) -> DataKey:
        """Return the key of `row`, unwrapped."""
        purpose = data_key_purpose(row.tenant_id, row.version)
        return DataKey(row.tenant_id, row.version, self.unwrap(row.wrapped_key, row.master_key_id, purpose))


class TenantKeys:
    """Data keys by tenant and version; unwrapped ones are kept for the tenants met last."""

    def __init__(self, wrapping: Wrapping) -> None:
        self._wrapping = wrapping
        self._open: OrderedDict[UUID, dict[int, DataKey]] = OrderedDict()

    async def current(self, session: TenantSession) -> DataKey:
        """Return the newest key of the session's tenant; raise Undecryptable when it has none.

        The key's row is shared until the transaction ends, so that no rotation destroys a key under which
        something is about to be committed.
        """
        newest = select(DataKeyRow).order_by(DataKeyRow.version.desc()).limit(1)
        newest = newest.with_for_update(read=True, key_share=True)
        return self._opened(await session.scalar(newest), session)

    async def of(self, session: TenantSession, version: int) -> DataKey:
        """Return the key of that version; raise Undecryptable when there is none."""
        known = self._open.get(tenant_of(session), {}).get(version)
        if known is not None:
            return known
        return self._opened(
            await session.scalar(select(DataKeyRow).where(DataKeyRow.version == version)), session
        )

    async def decrypt(self, session: TenantSession, ciphertext: bytes, purpose: str) -> bytes:
        """Return the plaintext of a ciphertext of the session's tenant; raise Undecryptable."""
        key = await self.of(session, key_version(ciphertext))
        return key.decrypt(ciphertext, purpose)

    def _opened(self, row: DataKeyRow | None, session: AsyncSession) -> DataKey:
        if row is None:
            raise Undecryptable(f"Tenant {tenant_of(session)} has no such data key.")
        keys = self._open.setdefault(row.tenant_id, {})
        if row.version not in keys:
            keys[row.version] = self._wrapping.open_data_key(row)
        self._open.move_to_end(row.tenant_id)
        if len(self._open) > _MOST_TENANTS:
            self._open.popitem(last=False)
        return keys[row.version]

    def forget(self, tenant_id: UUID) -> None:
        """Drop the tenant's unwrapped keys; for news of the tenant, whose keys may have been shredded."""
        self._open.pop(tenant_id, None)


def data_key_purpose(tenant_id: UUID, version: int) -> str:
    """Return what a wrapped data key is bound to."""
    return f"data-key:{tenant_id}:{version}"


def _seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def _unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
    except (InvalidTag, ValueError) as error:
        raise Undecryptable("The ciphertext is damaged or was made for another place.") from error
