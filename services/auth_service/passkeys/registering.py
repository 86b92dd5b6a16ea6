"""Registering a passkey: asked for by a fresh proof, answered within one sign-in, once."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.challenges import repository as challenges
from auth_service.challenges.tokens import ChallengePurpose, parse_challenge_token
from auth_service.errors import PasskeyInvalid, PasskeyLimit, PasskeyTaken
from auth_service.mfa import repository as people
from auth_service.mfa.proofs import Oneself, Proof
from auth_service.passkeys import repository
from auth_service.passkeys.ceremonies import (
    CeremonyFailed,
    NewCredential,
    Person,
    challenge_of,
    registration_options,
    verify_registration,
)
from auth_service.passkeys.places import Arrival, Place
from mis_http.sessions import recorded_refusal
from mis_models.factors import PasskeyRow
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.session import TenantSession

LIFETIME: Final = timedelta(minutes=5)
MOST: Final = 20
LONGEST_NAME: Final = 100
UNNAMED: Final = "Passkey"
_HANDLE: Final = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser is asked, and the token that its answer comes with."""

    public_key: dict[str, Any]
    token: str = field(repr=False)


class Registration:
    """Registers passkeys of the member `own`, whose request came to `arrival`."""

    def __init__(self, own: Oneself, arrival: Arrival) -> None:
        self._own = own
        self._arrival = arrival
        self._user_id = own.principal.id

    async def ask(self, proof: Proof) -> Asked:
        """Return what the browser is asked.

        A passkey signs in without anything else, so a stolen access token must not be able to make one: raise
        what `proven` refuses, PasskeyOriginUnsupported, PasskeyLimit.
        """
        own = self._own
        place = self._arrival.place_for(own.tenant)
        async with own.proven(proof) as session:
            person = await people.person(session, self._user_id)
            if person is None:
                raise TokenRevoked
            known = await repository.of_user(session, self._user_id)
            if len(known) >= MOST:
                raise PasskeyLimit
            handle = known[0].user_handle if known else os.urandom(_HANDLE)
            token = await challenges.add(
                session,
                ChallengePurpose.PASSKEY_REGISTRATION,
                user_id=self._user_id,
                session_id=own.principal.session_id,
                user_handle=handle,
                now=datetime.now(UTC),
                lifetime=LIFETIME,
            )
            own.record(session, "passkey.registration_started", self._user_id)
        options = registration_options(
            place,
            own.tenant.name,
            Person(handle, person.email, person.name),
            challenge_of(token),
            [one.credential_id for one in known],
            int(LIFETIME.total_seconds()),
        )
        return Asked(options, token.text)

    async def finish(self, text: str, credential: dict[str, Any], name: str) -> PasskeyRow:
        """Return the new passkey.

        Raise PasskeyInvalid for whatever is wrong with the token or the credential, and then the token is
        used up; PasskeyTaken where the credential is registered already; PasskeyLimit,
        PasskeyOriginUnsupported.
        """
        place = self._arrival.place_for(self._own.tenant)
        token = parse_challenge_token(text, ChallengePurpose.PASSKEY_REGISTRATION)
        if token is None:
            await self._refuse()
        async with self._own.authority.tenant_transaction(self._own.tenant.id) as session:
            challenge = await challenges.hold(session, token)
            if challenge is not None:
                await challenges.close(session, challenge)
                is_own = challenge.user_id == self._user_id
                is_here = challenge.session_id == self._own.principal.session_id
                made = _made(credential, place, challenge_of(token)) if is_own and is_here else None
                if made is not None and challenge.user_handle is not None:
                    return await self._keep(session, place, challenge.user_handle, made, name)
        await self._refuse()

    async def _keep(
        self, session: TenantSession, place: Place, handle: bytes, made: NewCredential, name: str
    ) -> PasskeyRow:
        if not await repository.hold_user(session, self._user_id):
            raise TokenRevoked
        if len(await repository.of_user(session, self._user_id)) >= MOST:
            raise PasskeyLimit
        now, rp_id = datetime.now(UTC), place.rp_id
        row = await repository.add(session, self._user_id, handle, made, rp_id=rp_id, name=name, now=now)
        if row is None:
            raise PasskeyTaken
        self._own.record(session, "passkey.added", self._user_id, passkey={"old": None, "new": str(row.id)})
        await self._own.tell(session, self._user_id, "A passkey was added to your sign-in.")
        return row

    async def _refuse(self) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            self._own.record(session, "passkey.registration_failed", self._user_id, succeeded=False)

        opened = self._own.authority.transaction(self._own.tenant.id)
        await recorded_refusal(opened, trace, PasskeyInvalid())


def _made(credential: dict[str, Any], place: Place, challenge: bytes) -> NewCredential | None:
    try:
        return verify_registration(credential, place, challenge)
    except CeremonyFailed:
        return None
