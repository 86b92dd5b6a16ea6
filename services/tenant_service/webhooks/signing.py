"""Signatures as the Standard Webhooks specification has them (version 1, HMAC-SHA256).

The signed content is `id.timestamp.body`; the header lists one signature for each secret in force, so that a
receiver verifies with whichever it knows.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> bytes:
    """Return a fresh random secret."""
    return secrets.token_bytes(_BYTES)


def spelled(secret: bytes) -> str:
    """Return the secret as it is shown, once, to whoever will verify with it."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(
    secrets_in_force: Sequence[bytes], message_id: UUID, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the three headers of a message; `timestamp` is the attempt's, in Unix seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(secret, content, hashlib.sha256) for secret in secrets_in_force)
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
