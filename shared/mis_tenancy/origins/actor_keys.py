"""The keys under which audit rows keep where their actor was: each actor has his own, to be destroyed alone.

Nobody may change an audit row, and seals cover what is stored. So an origin is stored as ciphertext, and to
erase a person's is to destroy their keys: the rows stay, and verify. Keys are wrapped by a master key
(docs/decisions/0007-erasable-origins.md).
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mis_tenancy.encryption import Undecryptable, Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.sealing import NONCE_BYTES, Origin

# Whose key it is when nobody is known to have asked: strangers' origins are erased with the tenant.
NOBODY: Final = UUID(int=0)
_USER: Final = "user:"
_KEY_ID_BYTES: Final = 16
_MOST_ACTORS: Final = 20_000

Actor = tuple[UUID, UUID]


def owner_of_origin(actor: UUID | None, resource: str | None) -> UUID:
    """Return whose key a row's origin belongs under: its actor's, or that of the account that was tried."""
    if actor is not None:
        return actor
    if resource is None or not resource.startswith(_USER):
        return NOBODY
    try:
        return UUID(resource.removeprefix(_USER))
    except ValueError:
        return NOBODY


def actor_key_purpose(tenant_id: UUID, key_id: UUID) -> str:
    """Return what a wrapped actor's key is bound to."""
    return f"actor-key:{tenant_id}:{key_id}"


def key_id_of(sealed: bytes) -> UUID:
    """Return the id of the key that made `sealed`."""
    return UUID(bytes=sealed[:_KEY_ID_BYTES])


class ActorKey:
    """One key of an actor, unwrapped; what it seals is bound to the tenant and to the row it is for."""

    __slots__ = ("_cipher", "id", "tenant_id")

    def __init__(self, tenant_id: UUID, key_id: UUID, secret: bytes) -> None:
        self.tenant_id = tenant_id
        self.id = key_id
        self._cipher = AESGCM(secret)

    def seal(self, origin: Origin, row_id: UUID) -> bytes:
        """Return the key's id, a nonce and the ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return self.id.bytes + nonce + self._cipher.encrypt(nonce, origin.to_bytes(), self._context(row_id))

    def open(self, sealed: bytes, row_id: UUID) -> Origin:
        """Return the origin; raise Undecryptable when it was not sealed for this row."""
        nonce, ciphertext = sealed[_KEY_ID_BYTES:][:NONCE_BYTES], sealed[_KEY_ID_BYTES + NONCE_BYTES :]
        try:
            return Origin.from_bytes(self._cipher.decrypt(nonce, ciphertext, self._context(row_id)))
        except (InvalidTag, ValueError) as error:
            raise Undecryptable("The origin is damaged or was sealed for another row.") from error

    def _context(self, row_id: UUID) -> bytes:
        return self.tenant_id.bytes + row_id.bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fresh key and how it would be stored."""

    key: ActorKey
    wrapped: bytes


class ActorKeys:
    """Makes and opens actors' keys, and remembers those of the actors met last, to seal with.

    Only keys that are committed may be remembered: what is sealed under one whose transaction rolls back can
    never be read. To open what is stored, a key is always read anew, so that an erasure is in force at once.
    """

    def __init__(self, wrapping: Wrapping) -> None:
        self.master_key_id = wrapping.current_id
        self._wrapping = wrapping
        self._known: OrderedDict[Actor, ActorKey] = OrderedDict()

    def known(self, actor: Actor) -> ActorKey | None:
        """Return a key of the actor that is remembered."""
        key = self._known.get(actor)
        if key is not None:
            self._known.move_to_end(actor)
        return key

    def remember(self, keys: Mapping[Actor, ActorKey]) -> None:
        """Keep committed keys at hand."""
        self._known.update(keys)
        while len(self._known) > _MOST_ACTORS:
            self._known.popitem(last=False)

    def fresh(self, tenant_id: UUID) -> Candidate:
        """Return a new key of the tenant."""
        key_id, secret = new_id(), os.urandom(32)
        wrapped, _ = self._wrapping.wrap(secret, actor_key_purpose(tenant_id, key_id))
        return Candidate(ActorKey(tenant_id, key_id, secret), wrapped)

    def opened(self, tenant_id: UUID, key_id: UUID, wrapped: bytes, master_key_id: str) -> ActorKey | None:
        """Return a stored key, or None where it was destroyed or its master key is not at hand."""
        if not wrapped:
            return None
        try:
            secret = self._wrapping.unwrap(wrapped, master_key_id, actor_key_purpose(tenant_id, key_id))
        except Undecryptable:
            return None
        return ActorKey(tenant_id, key_id, secret)
