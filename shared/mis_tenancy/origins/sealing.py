"""Where a request came from: personal, so it rests nowhere in clear, neither in a spool nor in Postgres.

In a spool it is sealed under a key that is derived from a master key, in Postgres under the key of whoever
asked (see `actor_keys`), which is what an erasure destroys.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mis_tenancy.settings import MasterKeys

NONCE_BYTES: Final = 12
_IP_CAP: Final = 64
_AGENT_CAP: Final = 256
_KEY_INFO: Final = b"mis audit spool"
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(tuple[str | None, str | None])
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class Origin:
    """A client's address and its words about itself, capped and printable; its repr tells neither."""

    __slots__ = ("ip", "user_agent")

    def __init__(self, ip: str | None = None, user_agent: str | None = None) -> None:
        self.ip = None if ip is None else printable(ip, _IP_CAP)
        self.user_agent = None if user_agent is None else printable(user_agent, _AGENT_CAP)

    def __bool__(self) -> bool:
        return self.ip is not None or self.user_agent is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.ip, self.user_agent))

    def __repr__(self) -> str:
        return "Origin(…)"

    def to_bytes(self) -> bytes:
        """Return what is encrypted of it."""
        return _ENCODER.encode((self.ip, self.user_agent))

    @classmethod
    def from_bytes(cls, plain: bytes) -> "Origin":
        """Return the origin that `to_bytes` spelled; raise ValueError where it did not."""
        return cls(*_DECODER.decode(plain))


UNKNOWN_ORIGIN: Final = Origin()


def printable(text: str, cap: int) -> str:
    """Return at most `cap` characters of `text`; U+FFFD stands for what cannot be printed or encoded."""
    text = text[:cap]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _REPLACEMENT for character in text)


class SpoolCipher:
    """Seals origins for the disk under the current master key, and opens them under any that is at hand."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._keys: Mapping[str, AESGCM] = {
            key_id: AESGCM(HKDF(SHA256(), 32, salt=None, info=_KEY_INFO).derive(key))
            for key_id, key in master_keys.keys.items()
        }
        self._current = self._keys[master_keys.current_id]
        self._prefix = f"{master_keys.current_id}:"

    def seal(self, origin: Origin) -> str:
        """Return a text of ASCII characters that only a holder of the master key can read."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._current.encrypt(nonce, origin.to_bytes(), None)
        return self._prefix + b2a_base64(sealed, newline=False).decode()

    def open(self, text: str) -> Origin:
        """Return the origin; one that cannot be read any more is unknown, as its record still counts."""
        key_id, _, sealed = text.rpartition(":")
        key = self._keys.get(key_id)
        if key is None:
            return UNKNOWN_ORIGIN
        try:
            raw = a2b_base64(sealed)
            return Origin.from_bytes(key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None))
        except (InvalidTag, ValueError):
            return UNKNOWN_ORIGIN
