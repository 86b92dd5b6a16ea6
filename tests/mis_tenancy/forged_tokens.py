"""Access tokens that must not be accepted: every way of bending one that is known, each with a name."""

import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mis_tenancy.tokens.jose import P256_ORDER, encode_segment
from mis_tenancy.tokens.signing import load_signing_key, new_signing_key, sign_access_token
from tests.mis_tenancy.twins import ISSUER, KEY, PRIVATE_KEY, claims_of, tenant, token_of

Forgery = tuple[str, str]

TENANT = tenant("alpha")
HEADER: dict[str, Any] = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
ATTACKER = new_signing_key()


def segment(value: Any) -> str:
    return encode_segment(value if isinstance(value, bytes) else json.dumps(value).encode())


def signed(header: Any, payload: Any, key: ec.EllipticCurvePrivateKey = PRIVATE_KEY) -> str:
    """Return a token with a good signature by `key`, whatever it says."""
    text = f"{segment(header)}.{segment(payload)}"
    return f"{text}.{encode_segment(raw_signature(text, key))}"


def raw_signature(text: str, key: ec.EllipticCurvePrivateKey = PRIVATE_KEY) -> bytes:
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return r.to_bytes(32) + min(s, P256_ORDER - s).to_bytes(32)


def good(**changes: Any) -> dict[str, Any]:
    return claims_of(TENANT, **changes)


def with_text(old: str, new: str, **claims: Any) -> str:
    """Return a token whose payload's JSON text was edited and then signed."""
    return signed(HEADER, json.dumps(good(**claims)).replace(old, new).encode())


def algorithms() -> Iterator[Forgery]:
    """Catalogue 54, 55."""
    for name in ("none", "None", "NONE", "nOnE", "noNe", "NoNe"):
        text = f"{segment(HEADER | {'alg': name})}.{segment(good())}"
        yield f"alg {name}, no signature", f"{text}."
        yield f"alg {name}, old signature", f"{text}.{token_of(TENANT).rpartition('.')[2]}"
    public = PRIVATE_KEY.public_key()
    secrets = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "point": public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "JWK": json.dumps(KEY.public_jwk).encode(),
        "nothing": b"",
    }
    for algorithm, digest in (
        ("HS256", "sha256"),
        ("HS384", "sha384"),
        ("HS512", "sha512"),
        ("ES256", "sha256"),
    ):
        for form, secret in secrets.items():
            text = f"{segment(HEADER | {'alg': algorithm})}.{segment(good())}"
            mac = hmac.new(secret, text.encode(), digest).digest()
            yield f"{algorithm} keyed with our public {form}", f"{text}.{encode_segment(mac)}"
    wrong: list[Any] = [
        "ES384",
        "ES512",
        "ES256K",
        "RS256",
        "PS256",
        "EdDSA",
        "Ed25519",
        "es256",
        "ES256 ",
        "",
        None,
        7,
        ["ES256"],
    ]
    for other in wrong:
        yield f"alg {other!r} over an ES256 signature", signed(HEADER | {"alg": other}, good())
    text = f"{segment(HEADER | {'alg': 'RS256'})}.{segment(good())}"
    rsa_key = rsa.generate_private_key(65537, 2048)
    yield "RS256", f"{text}.{encode_segment(rsa_key.sign(text.encode(), PKCS1v15(), SHA256()))}"
    text = f"{segment(HEADER | {'alg': 'EdDSA'})}.{segment(good())}"
    yield "EdDSA", f"{text}.{encode_segment(ed25519.Ed25519PrivateKey.generate().sign(text.encode()))}"


def headers() -> Iterator[Forgery]:
    """Catalogue 56, 57, 58, 65."""
    theirs = load_signing_key(ATTACKER.private_pem)
    pointers = {
        "jwk": ATTACKER.public_jwk,
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": [b64encode(b"certificate").decode()],
        "x5t": "AAAA",
    }
    for member, value in pointers.items():
        yield f"{member} of an attacker, his signature", signed(HEADER | {member: value}, good(), theirs)
        yield f"{member} of an attacker, our signature", signed(HEADER | {member: value}, good())
    members: list[tuple[str, Any]] = [
        ("crit", ["exp"]),
        ("crit", []),
        ("crit", ["b64"]),
        ("b64", False),
        ("b64", True),
        ("zip", "DEF"),
        ("enc", "A256GCM"),
        ("cty", "JWT"),
        ("x", 1),
        ("", ""),
    ]
    for name, given in members:
        yield f"header member {name!r} = {given!r}", signed(HEADER | {name: given}, good())
    kids: list[Any] = [
        "../../etc/passwd",
        "' or 1=1 --",
        "a\x00b",
        "k" * 10_000,
        ["a"],
        {"a": 1},
        None,
        1,
        "",
        "é",
        f"{KEY.kid} ",
        f"{KEY.kid}\n",
        "file:///dev/null",
        "http://evil.example/k",
        True,
        "k" * 65,
    ]
    for number, kid in enumerate(kids):
        yield f"kid that is none, {number}", signed(HEADER | {"kid": kid}, good())
    for missing in HEADER:
        yield f"no {missing}", signed({k: v for k, v in HEADER.items() if k != missing}, good())
    types: list[Any] = [
        "JWT",
        "jwt",
        "AT+JWT",
        "at+JWT",
        "application/at+jwt",
        "rt+jwt",
        "id_token",
        "mfa+jwt",
        "at+jwt ",
        "",
        None,
        1,
        ["at+jwt"],
    ]
    for kind in types:
        yield f"typ {kind!r}", signed(HEADER | {"typ": kind}, good())
    yield "unknown kid", sign_access_token(theirs, ATTACKER.kid, good())
    yield "our kid, another's signature", sign_access_token(theirs, KEY.kid, good())
    twice = json.dumps(HEADER).replace("{", '{"alg": "none", ').encode()
    yield "alg twice", signed(twice, good())
    yield "kid twice", signed(json.dumps(HEADER).replace("{", '{"kid": "other", ').encode(), good())
    for form, header in (
        ("array", [HEADER]),
        ("string", "ES256"),
        ("number", 1),
        ("null", None),
        ("empty", {}),
    ):
        yield f"header is {form}", signed(header, good())
    yield "header nested too deeply", signed(b"[" * 5_000, good())
    yield "header is not UTF-8", signed(json.dumps(HEADER).encode("utf-16"), good())
    yield "header with a byte order mark", signed(b"\xef\xbb\xbf" + json.dumps(HEADER).encode(), good())
    yield "header followed by more", signed(json.dumps(HEADER).encode() + b"{}", good())


def forms() -> Iterator[Forgery]:
    """Catalogue 58."""
    token = token_of(TENANT)
    header, payload, signature = token.split(".")
    yield from (
        ("nothing", ""),
        ("one part", header),
        ("two parts", f"{header}.{payload}"),
        ("four parts", f"{token}.{signature}"),
        ("five parts of a JWE", f"{token}.{signature}.{signature}"),
        ("empty header", f".{payload}.{signature}"),
        ("empty payload", f"{header}..{signature}"),
        ("empty signature", f"{header}.{payload}."),
        ("dots", ".."),
        ("leading space", f" {token}"),
        ("trailing space", f"{token} "),
        ("trailing line break", f"{token}\n"),
        ("space inside", f"{header}. {payload}.{signature}"),
        ("line break inside", f"{header}.{payload}\n.{signature}"),
        ("NUL inside", f"{header}.{payload}\0.{signature}"),
        ("padded signature", f"{token}=="),
        ("padded payload", f"{header}.{payload}=.{signature}"),
        ("standard alphabet", standard_alphabet()),
        ("trailing bytes", f"{token}AAAA"),
        ("stray bits in the last character", with_stray_bits(token)),
        ("a non-ASCII digit", f"{header}.{payload}.{signature[:-1]}\u0661"),
        ("lower case", token.lower()),
        ("longer than 8 kB", signed(HEADER, good(scope="x " * 5_000))),
        ("JSON serialisation", json.dumps({"protected": header, "payload": payload, "signature": signature})),
        ("payload is not JSON", signed(HEADER, b"tenantId=1")),
        ("payload is an array", signed(HEADER, [good()])),
        ("payload nested too deeply", signed(HEADER, b'{"a":' * 1_200)),
        ("payload followed by more", signed(HEADER, json.dumps(good()).encode() + b" {}")),
        ("a surrogate", "\ud800"),
    )


def standard_alphabet() -> str:
    """Return a token whose signature needs `+` or `/`, spelled with them."""
    while True:
        token = token_of(TENANT)
        head, _, signature = token.rpartition(".")
        if "-" in signature or "_" in signature:
            return f"{head}.{signature.replace('-', '+').replace('_', '/')}"


def with_stray_bits(token: str) -> str:
    """Return `token` with a last character that decodes to the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def signatures() -> Iterator[Forgery]:
    """Catalogue 59."""
    token = token_of(TENANT)
    text, _, signature = token.rpartition(".")
    header, payload = text.split(".")
    raw = raw_signature(text)
    r, s = raw[:32], int.from_bytes(raw[32:])
    for size in (1, 4, 8, 32, 63):
        yield f"signature shorter by {size}", f"{text}.{encode_segment(raw[:-size])}"
    yield "signature longer by 1", f"{text}.{encode_segment(raw + b'0')}"
    zero, order = bytes(32), P256_ORDER.to_bytes(32)
    bent = {
        "r = 0": zero + raw[32:],
        "s = 0": r + zero,
        "r = s = 0": zero * 2,
        "r = n": order + raw[32:],
        "s = n": r + order,
        "high s": r + (P256_ORDER - s).to_bytes(32),
        "swapped": raw[32:] + r,
        "all ones": b"\xff" * 64,
        "r = 1": (1).to_bytes(32) + raw[32:],
        "zero bytes in front": zero + raw,
        "DER": PRIVATE_KEY.sign(text.encode(), ec.ECDSA(SHA256())),
        "SHA-384": b"".join(
            number.to_bytes(32)
            for number in decode_dss_signature(PRIVATE_KEY.sign(text.encode(), ec.ECDSA(SHA384())))
        ),
        "SHA-256 of the text": hashlib.sha256(text.encode()).digest() * 2,
    }
    for name, forged in bent.items():
        yield f"signature: {name}", f"{text}.{encode_segment(forged)}"
    for curve in (ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()):
        foreign = ec.generate_private_key(curve)
        size = (curve.key_size + 7) // 8
        numbers = decode_dss_signature(foreign.sign(text.encode(), ec.ECDSA(SHA256())))
        yield (
            f"signature on {curve.name}",
            f"{text}.{encode_segment(b''.join(n.to_bytes(size) for n in numbers))}",
        )
    other = claims_of(TENANT, role="owner")
    yield "changed payload", f"{header}.{segment(other)}.{signature}"
    yield "changed header", f"{segment(HEADER | {'kid': KEY.kid})[:-1]}A.{payload}.{signature}"
    yield "another token's signature", f"{text}.{token_of(TENANT).rpartition('.')[2]}"
    yield "swapped parts", f"{payload}.{header}.{signature}"


def claims() -> Iterator[Forgery]:
    """Catalogue 60 to 64, 66."""
    for name in good():
        yield f"no {name}", signed(HEADER, good(**{name: ...}))
        yield f"{name} is null", signed(HEADER, good(**{name: None}))
        yield f"{name} is an object", signed(HEADER, good(**{name: {}}))
        if name != "scope":
            yield f"{name} is an empty text", signed(HEADER, good(**{name: ""}))
    for name in ("tenantId", "sub", "role", "exp"):
        value = json.dumps(good()[name])
        yield f"{name} twice", with_text("{", f'{{"{name}": {value}, ')
    now = int(time.time())
    moments: list[tuple[str, Any]] = [
        ("exp", now + 600.5),
        ("exp", str(now + 600)),
        ("exp", 10**30),
        ("exp", -1),
        ("exp", True),
        ("exp", now + 10**9),
        ("exp", now + 86_400),
        ("exp", [now + 600]),
        ("iat", now + 120),
        ("iat", 1.5),
        ("iat", "now"),
        ("iat", -1),
        ("iat", now + 10**30),
        ("nbf", now + 120),
        ("nbf", "0"),
        ("nbf", 0.5),
        ("nbf", None),
        ("iat", now + 599.0),
    ]
    for number, (name, moment) in enumerate(moments):
        yield f"impossible {name}, {number}", signed(HEADER, good(**{name: moment}))
    for constant in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5_000):
        yield f"exp = {constant[:9]}", with_text('"exp": 0', f'"exp": {constant}', exp=0)
    audiences: list[Any] = [["mis"], ["mis", "other"], "mi", "miss", "MIS", "mis ", "other-service", "*", 1]
    for audience in audiences:
        yield f"aud = {audience!r}", signed(HEADER, good(aud=audience))
    issuers: list[Any] = [
        f"{ISSUER}/",
        ISSUER[:-1],
        f"{ISSUER}.evil",
        ISSUER.upper(),
        [ISSUER],
        f" {ISSUER}",
        ISSUER.replace("https", "http"),
        "https://staging.mis.example",
    ]
    for issuer in issuers:
        yield f"iss = {issuer!r}", signed(HEADER, good(iss=issuer))
    others: list[tuple[str, Any]] = [
        ("sub", "1"),
        ("sub", "{" + good()["sub"] + "}"),
        ("sid", "x"),
        ("jti", "j" * 129),
        ("jti", "a\nb"),
        ("ver", 1),
        ("ver", [0]),
        ("ver", [0, 0, 0]),
        ("ver", [0, -1]),
        ("ver", ["0", "0"]),
        ("ver", [True, 0]),
        ("ver", [0.0, 0]),
        ("ver", [2**64, 0]),
        ("role", "OWNER"),
        ("role", "superuser"),
        ("role", ["owner"]),
        ("role", "operator"),
        ("scope", ["users:read"]),
        ("tenantId", "alpha"),
        ("tenantId", [str(TENANT.id)]),
        ("tenantSlug", "no slug"),
        ("act", {}),
        ("act", {"sub": "x"}),
        ("act", "operator"),
        ("act", None),
        ("restricted", 1),
        ("restricted", "true"),
        ("restricted", True),
        ("restricted", None),
    ]
    for number, (name, value) in enumerate(others, len(moments)):
        yield f"impossible {name}, {number}", signed(HEADER, good(**{name: value}))
    subject = good()["sub"]
    acts: list[dict[str, Any]] = [
        {"role": "member", "act": {"sub": subject}},
        {"role": "admin", "act": {"sub": str(TENANT.id)}},
        {"role": "admin", "act": {"sub": subject, "act": {"sub": subject}}},
        {"role": "operator", "act": {"sub": subject}, "tenantId": ..., "tenantSlug": ...},
    ]
    for number, act in enumerate(acts):
        yield f"contradicting act, {number}", signed(HEADER, good(sub=subject, **act))


def forgeries() -> list[Forgery]:
    groups = (algorithms(), headers(), forms(), signatures(), claims())
    return [forgery for group in groups for forgery in group]
