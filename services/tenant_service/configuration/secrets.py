"""Encrypted values as they are stored: ciphertext, the version of the key that made it, and a fingerprint.

The ciphertext is bound to tenant, configuration key and key version (see `mis_tenancy.encryption`). The
fingerprint tells two values apart without telling them: it is keyed, so no short secret is found by trying.
"""

import base64
import hashlib
import hmac
import json
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mis_tenancy.encryption import DataKey, TenantKeys, Undecryptable
from mis_tenancy.sealed_values import open_sealed, purpose_of
from mis_tenancy.session import TenantSession
from tenant_service.configuration.errors import ConfigUndecryptable

_FINGERPRINT_KEY: Final = b"config-fingerprint"
_FINGERPRINT_BYTES: Final = 16


class Secrets:
    """Seals and opens the encrypted values of one tenant's configuration."""

    def __init__(self, session: TenantSession, keys: TenantKeys) -> None:
        self._session = session
        self._keys = keys

    async def seal(self, config_key: str, value: Any) -> dict[str, Any]:
        """Return `value` as it is stored under `config_key`."""
        key = await self._keys.current(self._session)
        plaintext = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return {
            "ciphertext": base64.b64encode(key.encrypt(plaintext, purpose_of(config_key))).decode(),
            "keyVersion": key.version,
            "fingerprint": _fingerprint(key, config_key, plaintext),
        }

    async def open(self, config_key: str, stored: Any) -> Any:
        """Return the value behind `stored`; raise ConfigUndecryptable where it does not belong here."""
        try:
            return await open_sealed(self._keys, self._session, config_key, stored)
        except Undecryptable as error:
            raise ConfigUndecryptable from error


def fingerprint_of(stored: Any) -> str | None:
    """Return the fingerprint of a stored secret, None where it is damaged."""
    found = stored.get("fingerprint") if isinstance(stored, dict) else None
    return found if isinstance(found, str) else None


def _fingerprint(key: DataKey, config_key: str, plaintext: bytes) -> str:
    own = HKDF(SHA256(), 32, salt=None, info=_FINGERPRINT_KEY).derive(key.secret)
    digest = hmac.new(own, config_key.encode() + b"\x00" + plaintext, hashlib.sha256).digest()
    return digest[:_FINGERPRINT_BYTES].hex()
