"""The `key` of an operation: its first success is kept for a day, in the operation's own transaction.

Two bulks that send one key at the same time meet at the key's row: the second waits for the first one's
commit and then repeats its outcome. A refusal keeps nothing, so that a bulk which is sent again tries it
again.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mis_http.idempotency import IdempotencyKeyReused
from mis_http.kept_answers import KeptAnswer, KeyOfRequest, PlatformAnswers
from mis_tenancy.encryption import Wrapping
from tenant_service.bulk.operations import Once


class KeyOnce(Once):
    """Lets the operation of `request` happen once."""

    def __init__(self, wrapping: Wrapping, request: KeyOfRequest) -> None:
        self._answers = PlatformAnswers(wrapping)
        self._request = request

    async def before(self, session: Any) -> UUID | None:
        """Return the tenant of the time before; raise IdempotencyKeyReused for another operation."""
        row = await self._answers.lease(session, self._request, datetime.now(UTC))
        if row is None:
            return None
        if row.fingerprint != self._request.fingerprint:
            raise IdempotencyKeyReused("This key was used for another operation. Use a new one.")
        kept = await self._answers.kept(session, self._request, row)
        return UUID(bytes=kept.body)

    async def after(self, session: Any, tenant_id: UUID) -> None:
        """Keep the tenant's id under the key."""
        await self._answers.keep(session, self._request, KeptAnswer(200, [], tenant_id.bytes))
