"""Sends what is due: webhooks take turns over all tenants, and a slow receiver keeps only its own waiting."""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import structlog

from mis_http.outbound.reach import Reach
from mis_jobs.waking import Wakeup
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.redis import Redis
from mis_tenancy.tracing import Tracer
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks.lanes_repository import Lane, Room
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.posting import Posting
from tenant_service.webhooks.transport import TOTAL_SECONDS, Transport, Wire
from tenant_service.webhooks.turns import Batch, Sent, Turn

_log = structlog.get_logger(__name__)

LANES_AT_ONCE: Final = 64
_PER_TENANT: Final = 8
# One attempt takes no longer than `TOTAL_SECONDS`; what is left is for a database that is slow.
LEASE: Final = timedelta(seconds=3 * TOTAL_SECONDS)
_POLL_SECONDS: Final = 0.5
# A webhook with much to be told steps back now and then, behind those that wait.
_TURN_SECONDS: Final = 5.0
# How much a killed worker may have sent without anybody knowing: what went out within so long.
_UNWRITTEN_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 3.0
_COUNT_SECONDS: Final = 15.0


class Sending:
    """One worker process's share of the sending.

    `platform` claims lanes over all tenants; what happens inside a tenant happens as `application`, bound to
    it. `slots` webhooks are sent to at a time, and half of them never to receivers that failed last time.
    """

    def __init__(
        self,
        platform: Database,
        application: Database,
        keys: TenantKeys,
        reach: Reach,
        transport: Transport,
        metrics: WebhookMetrics,
        redis: Redis | None = None,
        *,
        tracer: Tracer | None = None,
        slots: int = LANES_AT_ONCE,
        lease: timedelta = LEASE,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self.worker = f"sender-{secrets.token_hex(6)}"
        self._platform = platform
        self._application = application
        self._keys = keys
        self._posting = Posting(reach, metrics, tracer)
        self._transport = transport
        self._metrics = metrics
        self._slots = slots
        self._lease = lease
        self._patience = patience
        self._is_ending = False
        self._running: dict[asyncio.Task[None], Lane] = {}
        self._wakeup = Wakeup(redis, lanes.CHANNEL, _POLL_SECONDS)

    async def run(self) -> None:
        """Send what falls due until cancelled; what does not end soon then goes back for a successor."""
        await self._wakeup.start()
        counting = asyncio.create_task(self._count(), name="webhook count")
        try:
            while True:
                await self._claim()
                await self._wakeup.wait()
        finally:
            counting.cancel()
            await self._end()

    async def _count(self) -> None:
        """Show in the metrics how much waits, now and then."""
        while True:
            try:
                async with self._platform.platform_transaction() as session:
                    self._metrics.stands(await lanes.standing(session))
            except Exception as error:
                _log.warning("webhooks.count_failed", error=repr(error))
            await asyncio.sleep(_COUNT_SECONDS)

    async def _end(self) -> None:
        """Let the attempts under way come to their end, which most do in moments; give the others back."""
        self._is_ending = True
        under_way = set(self._running)
        if under_way:
            _, slow = await asyncio.wait(under_way, timeout=self._patience)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with self._platform.platform_transaction() as session:
                await lanes.leave(session, self.worker)

    async def _claim(self) -> None:
        failing = sum(lane.failing for lane in self._running.values())
        room = Room(
            slots=self._slots - len(self._running),
            failing_slots=max(0, self._slots // 2 - failing),
            per_tenant=_PER_TENANT,
        )
        if room.slots <= 0:
            return
        try:
            async with self._platform.platform_transaction() as session:
                claimed = await lanes.claim(session, self.worker, room, self._lease)
        except Exception as error:
            _log.warning("webhooks.claim_failed", error=repr(error))
            return
        for lane in claimed:
            task = asyncio.create_task(self._serve(lane), name=f"webhook {lane.webhook_id}")
            self._running[task] = lane
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wakeup.wake()

    async def _serve(self, lane: Lane) -> None:
        """Send to one webhook what is due, in order, for as long as its turn lasts."""
        end = monotonic() + _TURN_SECONDS
        turn = Turn(self._application, self._keys, lane, self.worker, self._lease)
        try:
            async with self._transport.wire() as wire:
                batch = await turn.first()
                while batch is not None:
                    sent = await self._send(wire, lane, batch)
                    batch = await turn.next(sent, is_over=self._is_ending or monotonic() > end)
        except Exception as error:
            # The lane comes back when its lease runs out.
            _log.warning("webhooks.turn_failed", webhook=str(lane.webhook_id), error=repr(error))

    async def _send(self, wire: Wire, lane: Lane, batch: Batch) -> list[Sent]:
        """Send what gets through at once; a failure, or a moment that has passed, is written down first."""
        end = monotonic() + _UNWRITTEN_SECONDS
        sent = []
        for parcel in batch.parcels:
            outcome = await self._posting.attempt(wire, lane.tenant_id, batch, parcel)
            sent.append(Sent(parcel, outcome, datetime.now(UTC)))
            if not outcome.is_success or self._is_ending or monotonic() > end:
                break
        return sent
