"""The arithmetic of codes: those of an authenticator app (RFC 6238), and those on paper.

A recovery code carries 80 random bits, so its bare hash gives nothing away; the hash covers tenant and user,
so a row that is moved opens nothing.
"""

import base64
import os
from hashlib import sha256
from typing import Final
from uuid import UUID

from pyotp import TOTP, OTPVerificationError, random_base32

RECOVERY_CODES: Final = 10
_DIGITS: Final = 6
# One step of 30 seconds either way, for clocks that disagree and people who type slowly.
_WINDOW: Final = 1
_RECOVERY_BYTES: Final = 10
_GROUP: Final = 4


def new_totp_secret() -> str:
    """Return a fresh secret of 160 bits in base32."""
    return random_base32()


def otpauth_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return what a QR code says to an authenticator app."""
    return TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def step_of(secret: str, code: str, at: float) -> int | None:
    """Return the 30-second step whose code this is, of those that are good `at` that time, or None."""
    plain = "".join(code.split())
    if len(plain) != _DIGITS or not (plain.isascii() and plain.isdecimal()):
        return None
    try:
        return TOTP(secret).verify_and_get_timecode(plain, for_time=at, valid_window=_WINDOW)
    except OTPVerificationError:
        return None


def new_recovery_codes() -> list[str]:
    """Return fresh codes, in groups that can be read aloud."""
    return [_grouped(base64.b32encode(os.urandom(_RECOVERY_BYTES)).decode()) for _ in range(RECOVERY_CODES)]


def recovery_digest(tenant_id: UUID, user_id: UUID, code: str) -> bytes:
    """Return what is stored of a code, however it was typed."""
    plain = "".join(character for character in code.upper() if character.isalnum())
    return sha256(b"recovery code" + tenant_id.bytes + user_id.bytes + plain.encode()).digest()


def _grouped(text: str) -> str:
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
