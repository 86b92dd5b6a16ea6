"""One key signs, the next one is published in advance, the last one verifies until its tokens are gone.

So a rotation fails no verification anywhere: whoever caches the public keys knows the next one in advance.
The private half of a retired key is destroyed at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record_platform
from auth_service.caller import Caller
from auth_service.signing_keys import repository
from mis_tenancy.database import Database
from mis_tenancy.encryption import Undecryptable, Wrapping
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.settings import SettingsError
from mis_tenancy.tables import PublicSigningKeyRow
from mis_tenancy.tenant import Principal
from mis_tenancy.tokens.claims import LONGEST_LIFETIME
from mis_tenancy.tokens.signing import load_signing_key, new_signing_key

# Past the longest token's life: the time in which another process may still sign with what it has in memory.
MARGIN: Final = timedelta(seconds=60)
VERIFIES_FOR: Final = timedelta(seconds=LONGEST_LIFETIME) + MARGIN
# What an outsider needs to verify a token (RFC 7517); nothing else leaves, whatever the row may hold.
_PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "kid", "use", "alg")


@dataclass(frozen=True, slots=True)
class _Known:
    kid: str
    private: EllipticCurvePrivateKey
    public: Sequence[PublicSigningKeyRow]


class SigningKeys:
    """The keys as this process knows them; `confirm` makes sure that no news about them is outstanding."""

    def __init__(
        self, database: Database, wrapping: Wrapping, confirm: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._wrapping = wrapping
        self._confirm = confirm
        self._known: _Known | None = None
        self._generation = 0
        self._loading = asyncio.Lock()

    async def ensure(self) -> None:
        """Make a current and a next key where they are missing, and load them.

        Raise SettingsError where the current one cannot be opened with the master keys at hand.
        """
        async with self._database.platform_transaction() as session:
            await repository.lock(session)
            keys = {key.state: key for key in await repository.public_keys(session) if key.state != "retired"}
            if "current" not in keys and "next" in keys:
                keys.pop("next").state = "current"
            elif "current" not in keys:
                await self._make(session, "current")
            if "next" not in keys:
                await self._make(session, "next")
        try:
            await self._load()
        except Undecryptable as error:
            raise SettingsError(
                "The current signing key was wrapped by a master key that is not in MIS_MASTER_KEYS, or "
                "not the one of that id. Add the former master key to the list."
            ) from error

    async def forget(self) -> None:
        """Read the keys anew when they are next needed; the feed calls it when they have changed."""
        self._generation += 1
        self._known = None

    async def current(self) -> tuple[str, EllipticCurvePrivateKey]:
        """Return the name and the private half of the key that signs now."""
        await self._confirm()
        known = await self._load()
        return known.kid, known.private

    async def published(self) -> list[dict[str, Any]]:
        """Return the JWK of each key that verifies now, or will sign soon."""
        now = datetime.now(UTC)
        public = (await self._load()).public
        verifying = [key for key in public if key.verifies_until is None or key.verifies_until > now]
        return [{name: key.jwk[name] for name in _PUBLIC_MEMBERS if name in key.jwk} for key in verifying]

    async def rotate(self, by: Principal, caller: Caller) -> Sequence[PublicSigningKeyRow]:
        """Let the next key sign, retire the current one, make a new next one; return them all."""
        now = datetime.now(UTC)
        async with self._database.platform_transaction() as session:
            await repository.lock(session)
            await repository.forget_lapsed(session, now)
            for key in await repository.public_keys(session):
                await _promote(session, key, now)
            made = await self._make(session, "next")
            record_platform(
                session,
                "signing_keys.rotated",
                caller,
                kind="change",
                actor=by.id,
                resource=f"signing_key:{made.kid}",
            )
        await self.forget()
        return (await self._load()).public

    async def _make(self, session: AsyncSession, state: str) -> PublicSigningKeyRow:
        key = new_signing_key()
        wrapped = self._wrapping.wrap(key.private_pem, purpose_of(key.kid))
        row = await repository.add(session, key, wrapped, state, datetime.now(UTC))
        revoke(session, Kind.SIGNING_KEY, tenant_id=None)
        return row

    async def _load(self) -> _Known:
        while (known := self._known) is None:
            async with self._loading:
                generation = self._generation
                if self._known is None:
                    read = await self._read()
                    # What was read before the news came must not outlive it.
                    self._known = read if generation == self._generation else None
        return known

    async def _read(self) -> _Known:
        async with self._database.platform_transaction() as session:
            private = await repository.current_private_key(session)
            public = await repository.public_keys(session)
        if private is None:
            raise RuntimeError("There is no current signing key; the service makes one when it starts.")
        pem = self._wrapping.unwrap(private.wrapped_key, private.master_key_id, purpose_of(private.kid))
        return _Known(private.kid, load_signing_key(pem), public)


async def _promote(session: AsyncSession, key: PublicSigningKeyRow, now: datetime) -> None:
    if key.state == "next":
        key.state = "current"
    elif key.state == "current":
        key.state, key.retired_at, key.verifies_until = "retired", now, now + VERIFIES_FOR
        await repository.destroy_private_key(session, key.kid)


def purpose_of(kid: str) -> str:
    """Return what a wrapped signing key is bound to."""
    return f"signing-key:{kid}"
