"""One attempt at a message: signed, sent, counted, and a span where spans are made.

The span stands in a trace of its own that is linked to what the message tells of, as attempts go on for days.
It says nothing of the receiver's address or words, which are the tenant's.
"""

from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

from mis_http.outbound.destinations import DestinationRefused
from mis_http.outbound.reach import Reach
from mis_tenancy.tracing import Attributes, Tracer
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.schedule import Outcome
from tenant_service.webhooks.signing import signed_headers
from tenant_service.webhooks.transport import Wire
from tenant_service.webhooks.turns import Batch, Parcel

_log = structlog.get_logger(__name__)

_FIXED_HEADERS: Final = {"content-type": "application/json", "user-agent": "mis-webhooks/1"}


class Posting:
    """Makes attempts; `reach` judges the addresses that they go to."""

    def __init__(self, reach: Reach, metrics: WebhookMetrics, tracer: Tracer | None) -> None:
        self._reach = reach
        self._metrics = metrics
        self._tracer = tracer

    async def attempt(self, wire: Wire, tenant_id: UUID, batch: Batch, parcel: Parcel) -> Outcome:
        """Send the parcel once and return how that ended."""
        began = monotonic()
        if self._tracer is None:
            outcome = await self._post(wire, batch, parcel)
        else:
            outcome = await self._traced(self._tracer, wire, tenant_id, batch, parcel)
        self._metrics.attempted(outcome, monotonic() - began)
        return outcome

    async def _traced(
        self, tracer: Tracer, wire: Wire, tenant_id: UUID, batch: Batch, parcel: Parcel
    ) -> Outcome:
        said: dict[str, str | int] = {
            "http.request.method": "POST",
            "mis.tenant.id": str(tenant_id),
            "mis.delivery.id": str(parcel.delivery_id),
            "mis.delivery.attempt": parcel.attempt,
        }
        span = tracer.message(f"webhook {parcel.type}", parcel.cause, said)
        # A worker that is stopped lets the attempt go: somebody makes it again.
        outcome = Outcome(error="given_back")
        try:
            outcome = await self._post(wire, batch, parcel)
        finally:
            span.end(_told(outcome), failed=not outcome.is_success)
            span.leave()
        return outcome

    async def _post(self, wire: Wire, batch: Batch, parcel: Parcel) -> Outcome:
        if not batch.secrets:
            return Outcome(error="secret_undecryptable")
        now = int(datetime.now(UTC).timestamp())
        signed = signed_headers(batch.secrets, parcel.delivery_id, now, parcel.body)
        try:
            return await wire.post(self._reach.read(batch.url), _FIXED_HEADERS | signed, parcel.body)
        except DestinationRefused:
            # The rules, or the setting that loosens them, have changed since the URL was saved.
            return Outcome(error="address_refused")
        except Exception as error:
            # Whatever a receiver brings about counts as an attempt, or it would be tried without end.
            _log.warning("webhooks.attempt_failed", delivery=str(parcel.delivery_id), error=repr(error))
            return Outcome(error="failed")


def _told(outcome: Outcome) -> Attributes:
    said: dict[str, str | int] = {"mis.outcome": outcome.word}
    return said if outcome.status is None else said | {"http.response.status_code": outcome.status}
