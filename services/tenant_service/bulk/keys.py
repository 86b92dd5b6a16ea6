"""The `key` of an operation: its first success is kept for a day, in the operation's own transaction.

Two bulks that send one key at the same time meet at the key's row: the second waits for the first one's
commit and then repeats its outcome. A refusal keeps nothing, so that a bulk which is sent again tries it
again.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from mis_http.idempotency import IdempotencyKeyReused
from mis_http.kept_answers import KeptAnswer, KeyOfRequest, PlatformAnswers
from mis_tenancy.encryption import Wrapping
from tenant_service.bulk.operations import Done, Once


class KeyOnce(Once):
    """Lets the operation of `request` happen once."""

    def __init__(self, wrapping: Wrapping, request: KeyOfRequest) -> None:
        self._answers = PlatformAnswers(wrapping)
        self._request = request
        named = "\0".join((str(request.principal_id), request.method, request.path, request.key))
        self.mark = wrapping.fingerprint(named.encode() + request.fingerprint)

    async def before(self, session: Any) -> Done | None:
        """Return what was done the time before; raise IdempotencyKeyReused for another operation."""
        row = await self._answers.lease(session, self._request, datetime.now(UTC))
        if row is None:
            return None
        if row.fingerprint != self._request.fingerprint:
            raise IdempotencyKeyReused("This key was used for another operation. Use a new one.")
        kept = await self._answers.kept(session, self._request, row)
        return Done(*msgspec.msgpack.decode(kept.body, type=tuple[UUID, str | None]))

    async def after(self, session: Any, done: Done) -> None:
        """Keep what was done under the key; a link that opens an account is encrypted with it."""
        body = msgspec.msgpack.encode((done.tenant_id, done.owner_invitation))
        await self._answers.keep(session, self._request, KeptAnswer(200, [], body), done.tenant_id)
