"""An authenticator in software, which does what devices do (WebAuthn Level 3), and also what none should."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

USER_PRESENT, USER_VERIFIED, ATTESTED = 0x01, 0x04, 0x40
Json = dict[str, Any]


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(slots=True)
class Credential:
    """A discoverable credential as the device keeps it."""

    id: bytes
    key: ec.EllipticCurvePrivateKey
    rp_id: str
    user_handle: bytes
    sign_count: int = 0


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a browser or a device does otherwise than it should; None leaves it right."""

    origin: str | None = None
    rp_id: str | None = None
    challenge: bytes | None = None
    type: str | None = None
    flags: int | None = None
    cross_origin: bool = False
    user_handle: bytes | None = None
    sign_count: int | None = None
    fmt: str = "none"
    statement: Json = field(default_factory=dict)
    signature: bytes | None = None


RIGHT = Quirks()


class Authenticator:
    """A device with a browser at `origin` in front of it."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.credentials: list[Credential] = []

    def create(self, options: Json, quirks: Quirks = RIGHT) -> Json:
        """Make a credential as `navigator.credentials.create()` would, and return its JSON."""
        key = ec.generate_private_key(ec.SECP256R1())
        rp_id, handle = options["rp"]["id"], unb64(options["user"]["id"])
        made = Credential(os.urandom(32), key, rp_id, handle)
        self.credentials.append(made)
        client_data = self._client_data("webauthn.create", options["challenge"], quirks)
        length = len(made.id).to_bytes(2, "big")
        attested = bytes(16) + length + made.id + public_key_of(key)
        flags = USER_PRESENT | USER_VERIFIED if quirks.flags is None else quirks.flags
        data = authenticator_data(quirks.rp_id or rp_id, flags | ATTESTED, made.sign_count) + attested
        statement = {"fmt": quirks.fmt, "attStmt": quirks.statement, "authData": data}
        answer = {"clientDataJSON": b64(client_data), "attestationObject": b64(encode_cbor(statement))}
        return {"id": b64(made.id), "rawId": b64(made.id), "type": "public-key", "response": answer}

    def get(self, options: Json, quirks: Quirks = RIGHT, credential: Credential | None = None) -> Json:
        """Sign as `navigator.credentials.get()` would, by the newest credential unless one is given."""
        used = credential or self.credentials[-1]
        used.sign_count += 1
        client_data = self._client_data("webauthn.get", options["challenge"], quirks)
        flags = USER_PRESENT | USER_VERIFIED if quirks.flags is None else quirks.flags
        count = used.sign_count if quirks.sign_count is None else quirks.sign_count
        data = authenticator_data(quirks.rp_id or options["rpId"], flags, count)
        signature = used.key.sign(data + sha256(client_data).digest(), ec.ECDSA(SHA256()))
        answer = {
            "clientDataJSON": b64(client_data),
            "authenticatorData": b64(data),
            "signature": b64(quirks.signature or signature),
            "userHandle": b64(used.user_handle if quirks.user_handle is None else quirks.user_handle),
        }
        return {"id": b64(used.id), "rawId": b64(used.id), "type": "public-key", "response": answer}

    def _client_data(self, kind: str, challenge: str, quirks: Quirks) -> bytes:
        told = {
            "type": quirks.type or kind,
            "challenge": challenge if quirks.challenge is None else b64(quirks.challenge),
            "origin": quirks.origin or self.origin,
            "crossOrigin": quirks.cross_origin,
        }
        return json.dumps(told).encode()


def authenticator_data(rp_id: str, flags: int, sign_count: int) -> bytes:
    """Return authenticator data (§6.1) without anything attested."""
    return sha256(rp_id.encode()).digest() + bytes([flags]) + sign_count.to_bytes(4, "big")


def public_key_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public key as COSE writes it (RFC 9053 §2.1)."""
    numbers = key.public_key().public_numbers()
    point = {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
    return encode_cbor({1: 2, 3: -7, -1: 1} | point)


def copied(credential: Credential) -> Credential:
    """Return a copy of the credential, as a cloned device would have it."""
    return replace(credential)
