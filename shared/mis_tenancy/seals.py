"""The chain that seals an audit log: what is hashed, and how it is signed.

A row's digest is over its fields as Postgres spells them, ciphertext where a field is erasable. A seal's
link is over its rows' digests and the link before, so it stands for the whole log up to there; it needs no
key. The seal's hash is an HMAC over the link and the seal's own fields, under a key that is derived from a
master key and never in the database: whoever rewrites rows and links still cannot sign them.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mis_tenancy.settings import MasterKeys
from mis_tenancy.tables import AuditRow

# What a row says. Its tenant is in the seal's head, and its transaction only finds the seal. A field that is
# null is left out, so that a column added later does not change what old rows have said.
SEALED_COLUMNS: Final = tuple(
    sorted(column.name for column in AuditRow.__table__.columns if column.name not in ("tenant_id", "xid"))
)
MARK_BYTES: Final = 8
NO_LINK: Final = bytes(32)

_NAMES: Final = tuple(len(name).to_bytes(1, "big") + name.encode() for name in SEALED_COLUMNS)
_FORMAT: Final = b"mis audit seal 1"
_KEY_INFO: Final = b"mis audit seals"


@dataclass(frozen=True, slots=True)
class SealHead:
    """What a seal says of the rows it covers; `first_id` and `last_id` are the lowest and the highest id."""

    tenant_id: UUID
    seq: int
    count: int
    first_id: UUID
    last_id: UUID
    sealed_at: datetime

    def to_bytes(self) -> bytes:
        """Return what is hashed of it."""
        numbers = self.seq.to_bytes(8, "big", signed=True) + self.count.to_bytes(8, "big", signed=True)
        moment = int(self.sealed_at.timestamp() * 1_000_000).to_bytes(8, "big", signed=True)
        return self.tenant_id.bytes + numbers + self.first_id.bytes + self.last_id.bytes + moment


def row_digest(texts: Sequence[str | None]) -> bytes:
    """Return the SHA-256 of a row, given as the texts of SEALED_COLUMNS in their order."""
    parts: list[bytes] = []
    for name, text in zip(_NAMES, texts, strict=True):
        if text is not None:
            value = text.encode()
            parts += (name, len(value).to_bytes(4, "big"), value)
    return hashlib.sha256(b"".join(parts)).digest()


def marks_of(digests: Iterable[bytes]) -> bytes:
    """Return the first bytes of each digest: enough to find the row that was touched, not to vouch for it."""
    return b"".join(digest[:MARK_BYTES] for digest in digests)


def link_of(before: bytes, head: SealHead, digests: Iterable[bytes]) -> bytes:
    """Return the link of a seal: the seal before, its own head, and its rows' digests in the order of ids."""
    rows = hashlib.sha256(b"".join(digests)).digest()
    return hashlib.sha256(_FORMAT + before + head.to_bytes() + rows).digest()


class SealKeys:
    """Signs seals under the current master key, and knows a signature of any that is at hand."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self.current_id = master_keys.current_id
        self._keys: Mapping[str, bytes] = {
            key_id: HKDF(SHA256(), 32, salt=None, info=_KEY_INFO).derive(key)
            for key_id, key in master_keys.keys.items()
        }

    def sign(self, head: SealHead, link: bytes, *, pruned: bool = False) -> bytes:
        """Return the seal's hash under the current key."""
        return self._signature(self.current_id, head, link, pruned)

    def signed(self, key_id: str, head: SealHead, link: bytes, signature: bytes, *, pruned: bool) -> bool:
        """Return whether `signature` is the hash that the key `key_id` gives the seal; no without it."""
        if key_id not in self._keys:
            return False
        return hmac.compare_digest(self._signature(key_id, head, link, pruned), signature)

    def knows(self, key_id: str) -> bool:
        """Return whether the master key is at hand."""
        return key_id in self._keys

    def _signature(self, key_id: str, head: SealHead, link: bytes, pruned: bool) -> bytes:
        said = _FORMAT + head.to_bytes() + link + (b"\x01" if pruned else b"\x00")
        return hmac.digest(self._keys[key_id], said, "sha256")
