"""From a bearer to a verified principal: access tokens of our own issuer, and a seam for opaque keys.

RFC 8725 and RFC 9068: algorithm, type, issuer, audience and key are pinned. A verified token is remembered
by its digest until it expires, because checking a signature costs a hundred times the rest; its revocation
is asked for each time all the same.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from string import ascii_letters, digits
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm
from starlette.types import Scope

from mis_tenancy.errors import TokenExpired, TokenInvalid, TokenRevoked
from mis_tenancy.http.requests import header_values
from mis_tenancy.tenant import Principal
from mis_tenancy.tokens.claims import principal_of
from mis_tenancy.tokens.jose import LONGEST_TOKEN, P256_ORDER, Compact, parse_compact
from mis_tenancy.tokens.keyring import KID, KeyRing

OPAQUE_PREFIX: Final = "mis_"
ALGORITHM: Final = "ES256"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  # the type of a token, not a secret
# The characters of a bearer (RFC 9110 §11.2, token68).
_TOKEN68: Final = f"{ascii_letters}{digits}-._~+/=".encode()
_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
_ES256: Final = ECAlgorithm(ECAlgorithm.SHA256)

OpaqueVerifier = Callable[[str], Awaitable[Principal]]


class _UnknownKey(Exception):
    """The token names a key that this process has not heard of."""


def bearer_of(scope: Scope) -> str | None:
    """Return the bearer of the one `Authorization` header, or None where there is none; raise TokenInvalid.

    Nothing else carries a token: no query parameter, cookie or WebSocket subprotocol.
    """
    headers = header_values(scope, b"authorization")
    if not headers:
        return None
    scheme, _, bearer = headers[0].strip(b" \t").partition(b" ")
    bearer = bearer.lstrip(b" ")
    if len(headers) > 1 or scheme.lower() != b"bearer" or not bearer or bearer.translate(None, _TOKEN68):
        raise TokenInvalid
    return bearer.decode("ascii")


class TokenVerifier:
    """Verifies bearers; `is_revoked` is asked at every use, `opaque` verifies keys that begin with `mis_`.

    At most `remembered` verified tokens are kept. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        issuer: str,
        audience: str,
        is_revoked: Callable[[Principal], bool],
        opaque: OpaqueVerifier | None = None,
        remembered: int = 20_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._is_revoked = is_revoked
        self._opaque = opaque
        self._capacity = remembered
        self._clock = clock
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()
        self._generation = keys.generation

    async def principal_of(self, bearer: str, *, allow_ended: bool = False) -> Principal:
        """Return the principal of a bearer of either kind; raise TokenInvalid, TokenExpired or TokenRevoked.

        `allow_ended` is for signing out, which a token may still do that has expired or was revoked.
        """
        if bearer.startswith(OPAQUE_PREFIX):
            if self._opaque is None or len(bearer) > LONGEST_TOKEN:
                raise TokenInvalid
            return self.ensure_valid(await self._opaque(bearer))
        try:
            return self._of_jwt(bearer, allow_ended)
        except _UnknownKey:
            await self._keys.ask_for_unknown()
        return self.verify_jwt(bearer, allow_ended=allow_ended)

    def verify_jwt(self, token: str, *, allow_ended: bool = False) -> Principal:
        """Return the principal of an access token whose key is known; raise as `principal_of` does."""
        try:
            return self._of_jwt(token, allow_ended)
        except _UnknownKey as error:
            raise TokenInvalid from error

    def ensure_valid(self, principal: Principal) -> Principal:
        """Return `principal`; raise TokenRevoked where it has been revoked meanwhile."""
        if self._is_revoked(principal):
            raise TokenRevoked
        return principal

    def _of_jwt(self, token: str, allow_ended: bool) -> Principal:
        digest = sha256(token.encode("utf-8", "replace")).digest()
        if self._generation != self._keys.generation:
            # A key may have been withdrawn, and with it every token it signed.
            self._verified.clear()
            self._generation = self._keys.generation
        principal = self._verified.get(digest)
        if principal is None:
            principal = self._verify(token)
            self._remember(digest, principal)
        else:
            self._verified.move_to_end(digest)
        if not allow_ended and principal.expires_at <= self._clock():
            self._verified.pop(digest, None)
            raise TokenExpired
        return principal if allow_ended else self.ensure_valid(principal)

    def _verify(self, token: str) -> Principal:
        try:
            compact = parse_compact(token)
            key = self._key_of(compact)
            if not _is_signed(token, compact.signature, key):
                raise TokenInvalid
            return principal_of(
                compact.payload, issuer=self._issuer, audience=self._audience, now=self._clock()
            )
        except ValueError as error:
            raise TokenInvalid from error

    def _key_of(self, compact: Compact) -> EllipticCurvePublicKey:
        header = compact.header
        if header.keys() != _HEADER_MEMBERS or header["alg"] != ALGORITHM or header["typ"] != TOKEN_TYPE:
            raise TokenInvalid
        kid = header["kid"]
        if not isinstance(kid, str) or not KID.fullmatch(kid):
            raise TokenInvalid
        key = self._keys.get(kid)
        if key is None:
            raise _UnknownKey
        return key

    def _remember(self, digest: bytes, principal: Principal) -> None:
        self._verified[digest] = principal
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)


def _is_signed(token: str, signature: bytes, key: EllipticCurvePublicKey) -> bool:
    """Return whether `signature` is the key's over the first two parts (RFC 7518 §3.4).

    Of the two signatures that every ECDSA signature has, only the one with the smaller s counts, so that
    nobody can make a second text of a good token.
    """
    if len(signature) != 64 or int.from_bytes(signature[32:]) > P256_ORDER // 2:
        return False
    return _ES256.verify(token.rpartition(".")[0].encode("ascii"), key, signature)
