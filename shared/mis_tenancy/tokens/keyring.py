"""The public keys that access tokens are verified with, by `kid`.

A key that no process has heard of yet may be new, so an unknown `kid` asks the loader once; that is
throttled, because anybody can invent one. New keys are published before they sign and every change is
announced by the revocation feed, so the throttle never makes a good token wait.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)

from mis_tenancy.tokens.jose import decode_segment

KeyLoader = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]

KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RELOAD_PAUSE: Final = 30.0

_log = structlog.get_logger(__name__)


class KeyRing:
    """The keys that `load` returned last: their JWKs by `kid`, only those that may still verify.

    `generation` grows with each change of the keys, so that whoever remembers verified tokens can forget
    them. `clock` is monotonic, in seconds.
    """

    def __init__(self, load: KeyLoader, clock: Callable[[], float] = time.monotonic) -> None:
        self.generation = 0
        self._load = load
        self._clock = clock
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def get(self, kid: str) -> EllipticCurvePublicKey | None:
        """Return the key, or None where this process knows none of that name."""
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Load the keys anew; raise what the loader raises, and keep the old keys then."""
        keys = {kid: public_key(jwk) for kid, jwk in (await self._load()).items()}
        if keys != self._keys:
            self._keys = keys
            self.generation += 1

    async def ask_for_unknown(self) -> None:
        """Load the keys for an unknown `kid`: at most once in 30 s, shared by all who ask meanwhile."""
        if self._asking is None:
            if self._clock() - self._asked_at < _RELOAD_PAUSE:
                return
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask(), name="signing keys")
        # A caller that is cancelled must not take the answer away from the others.
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            await self.refresh()
        except Exception as error:
            _log.warning("signing_keys_unreadable", error=repr(error))
        finally:
            self._asking = None


def public_key(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey:
    """Return the P-256 key of `jwk` (RFC 7518 §6.2); raise ValueError for any other or for no point of it."""
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise ValueError("A signing key must be an EC key on P-256.")
    x, y = (int.from_bytes(decode_segment(str(jwk[member]))) for member in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
