"""Deletion certificates: what is claimed, and under which key it is signed.

The worker signs, which never sees the keys that sign access tokens. Its own key is derived from the current
master key, so there is no further secret to keep; the public half is published and outlives the master key
(docs/decisions/0011-deletion-certificates.md).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mis_models.endings import DeletionCertificateRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import MasterKeys
from mis_tenancy.tokens.jose import P256_ORDER, decode_segment
from mis_tenancy.tokens.signing import public_jwk, sign_compact
from tenant_service.endings.tables import KEPT, KEPT_BESIDE, purged_tables

CERTIFICATE_TYPE: Final = "deletion-certificate+jwt"
_KEY_INFO: Final = b"mis deletion certificates"
# 128 bits more than the order has, so that the remainder is as good as uniform (FIPS 186-5 §A.2.1).
_SECRET_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class Completion:
    """What is known only at the end of a purge."""

    at: datetime
    names_reserved_until: datetime


class Certifier:
    """Signs certificates in the name of the platform at `issuer`; `jwk` is the public half, named `kid`."""

    def __init__(self, master_keys: MasterKeys, issuer: str) -> None:
        master = master_keys.keys[master_keys.current_id]
        secret = HKDF(SHA256(), _SECRET_BYTES, salt=None, info=_KEY_INFO).derive(master)
        scalar = int.from_bytes(secret) % (P256_ORDER - 1) + 1
        self._private = derive_private_key(scalar, SECP256R1())
        self._issuer = issuer
        self.jwk: Final = public_jwk(self._private)
        self.kid: Final[str] = self.jwk["kid"]

    def certify(self, record: DeletionCertificateRow, completion: Completion) -> str:
        """Return the certificate of a purge after which nothing was found, as a compact JWS."""
        head = {"iss": self._issuer, "iat": int(completion.at.timestamp()), "jti": str(new_id())}
        claims = head | {"sub": str(record.tenant_id)} | _claims(record, completion)
        return sign_compact(self._private, self.kid, CERTIFICATE_TYPE, claims)


def claims_of(certificate: str) -> dict[str, Any]:
    """Return what a certificate of our own claims; it is not verified."""
    claims: dict[str, Any] = msgspec.json.decode(decode_segment(certificate.split(".")[1]))
    return claims


def _claims(record: DeletionCertificateRow, completion: Completion) -> dict[str, Any]:
    # Every table of the suite that was looked at is named, also where it held nothing.
    names = sorted({table.name for table in purged_tables()} | record.deleted.keys())
    rows = {name: record.deleted.get(name, 0) for name in names}
    return {
        "requestedAt": _z(record.requested_at),
        "requestedBy": _requester(record),
        "dueAt": _z(record.due_at),
        "startedAt": _z(record.started_at),
        "completedAt": _z(completion.at),
        "deleted": {
            "rows": rows,
            "keysShredded": record.keys_shredded,
            "redisKeys": record.redis_keys,
            "objects": record.objects,
        },
        "residue": {"rows": 0, "redisKeys": 0, "objects": 0},
        "kept": {**KEPT, **KEPT_BESIDE},
        "namesReservedUntil": _z(completion.names_reserved_until),
    }


def _requester(record: DeletionCertificateRow) -> dict[str, str] | None:
    if record.requested_by is None or record.requested_by_kind is None:
        return None
    return {"id": str(record.requested_by), "kind": record.requested_by_kind}


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
