"""Signing access tokens, and other compact JWS, with the keys for it; the counterpart of `tokens`."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mis_tenancy.tokens.jose import P256_ORDER, encode_segment
from mis_tenancy.tokens.verification import ALGORITHM, TOKEN_TYPE

_ENCODER: Final = msgspec.json.Encoder()


class SigningKey(NamedTuple):
    """A new key: its name, its private half as unencrypted PKCS#8 PEM, and its public half as a JWK."""

    kid: str
    private_pem: bytes
    public_jwk: dict[str, Any]


def new_signing_key() -> SigningKey:
    """Make a P-256 key; its `kid` is its thumbprint (RFC 7638)."""
    private = generate_private_key(SECP256R1())
    jwk = public_jwk(private)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(jwk["kid"], pem, jwk)


def public_jwk(private_key: EllipticCurvePrivateKey) -> dict[str, Any]:
    """Return the public half of a P-256 key as a JWK that is named by its thumbprint."""
    point = private_key.public_key().public_numbers()
    core = {
        "crv": "P-256",
        "kty": "EC",
        "x": encode_segment(point.x.to_bytes(32)),
        "y": encode_segment(point.y.to_bytes(32)),
    }
    kid = encode_segment(sha256(_ENCODER.encode(core)).digest())
    return {**core, "kid": kid, "use": "sig", "alg": ALGORITHM}


def load_signing_key(private_pem: bytes) -> EllipticCurvePrivateKey:
    """Return the private key in `private_pem`; raise ValueError where it is not a P-256 key."""
    key = load_pem_private_key(private_pem, password=None)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("An access token is signed with an EC key on P-256.")
    return key


def sign_access_token(private_key: EllipticCurvePrivateKey, kid: str, claims: Mapping[str, Any]) -> str:
    """Return `claims` as a signed access token (RFC 9068)."""
    return sign_compact(private_key, kid, TOKEN_TYPE, claims)


def sign_compact(
    private_key: EllipticCurvePrivateKey, kid: str, token_type: str, claims: Mapping[str, Any]
) -> str:
    """Return `claims` as a compact JWS of that `typ`, with the smaller of the two signatures."""
    header = {"alg": ALGORITHM, "typ": token_type, "kid": kid}
    signed = f"{encode_segment(_ENCODER.encode(header))}.{encode_segment(_ENCODER.encode(dict(claims)))}"
    r, s = decode_dss_signature(private_key.sign(signed.encode("ascii"), ECDSA(SHA256())))
    s = min(s, P256_ORDER - s)
    return f"{signed}.{encode_segment(r.to_bytes(32) + s.to_bytes(32))}"
