"""The rules of webhooks: where they may lead, what they want to hear, and what they are signed with."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from mis_accounts.claims import LimitExceeded
from mis_http.outbound.destinations import Destination, DestinationRefused, origin_of
from mis_http.outbound.reach import NameUnresolved, Reach
from mis_http.pages import Page
from mis_jobs.outbox import EventType
from mis_models.webhooks import WebhookRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.turns import lock_tenant
from tenant_service.trail import Caller
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks import repository
from tenant_service.webhooks.alarms import end_alarm
from tenant_service.webhooks.attempts import REQUESTED, age, disable, enable
from tenant_service.webhooks.errors import WebhookNotFound, WebhookUrlRefused
from tenant_service.webhooks.secrets import WebhookSecrets
from tenant_service.webhooks.signing import new_secret, spelled

MOST_WEBHOOKS: Final = 20
# For so long a replaced secret signs beside the new one.
OVERLAP: Final = timedelta(hours=24)
_LOOK_UP_SECONDS: Final = 3.0

Hold = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a webhook is to change; None stays."""

    url: str | None = None
    events: Sequence[EventType] | None = None
    status: str | None = None
    rotate_secret: bool = False


@dataclass(frozen=True, slots=True)
class Unveiled:
    """A webhook with the secret that was just made for it, if one was."""

    row: WebhookRow
    secret: str | None


class Webhooks:
    """The webhooks of the session's tenant, as `caller` may see and change them."""

    def __init__(self, session: TenantSession, secrets: WebhookSecrets, reach: Reach, caller: Caller) -> None:
        self._session = session
        self._secrets = secrets
        self._reach = reach
        self._caller = caller

    async def page(self, asked: Page) -> Sequence[WebhookRow]:
        """Return a page of webhooks, and one more where there is more."""
        return await repository.page(self._session, asked)

    async def get(self, webhook_id: UUID) -> WebhookRow:
        """Return the webhook; raise WebhookNotFound."""
        return await found(self._session, webhook_id)

    async def create(self, url: str, events: Sequence[EventType]) -> Unveiled:
        """Add a webhook; raise WebhookUrlRefused, or LimitExceeded when the tenant has its 20."""
        destination = await self._judged(url)
        await lock_tenant(self._session)
        used = await repository.count(self._session)
        if used >= MOST_WEBHOOKS:
            raise LimitExceeded(resource="webhooks", limit=MOST_WEBHOOKS, used=used, requested=1)
        webhook_id, secret, now = new_id(), new_secret(), datetime.now(UTC)
        row = WebhookRow(
            id=webhook_id,
            url=destination.url,
            events=[event.value for event in events],
            status="active",
            secret=await self._secrets.seal(webhook_id, secret),
            version=1,
            created_at=now,
            updated_at=now,
        )
        self._session.add(row)
        lanes.open_lane(self._session, webhook_id)
        changes = {
            "url": {"old": None, "new": origin_of(destination.url)},
            "events": {"old": [], "new": row.events},
        }
        self._record("webhook.created", row.id, changes)
        return Unveiled(row, spelled(secret))

    async def change(self, webhook_id: UUID, wanted: Changes, hold: Hold) -> Unveiled:
        """Change the webhook; `hold` raises where the caller expected another version.

        Raise WebhookUrlRefused or WebhookNotFound.
        """
        destination = None if wanted.url is None else await self._judged(wanted.url)
        row = await locked(self._session, webhook_id)
        hold(row.version)
        now = datetime.now(UTC)
        changes = _apply(row, wanted, destination)
        secret = None
        if wanted.rotate_secret:
            secret = await self._rotate(row, now)
            changes["secret"] = {}
        if changes:
            age(row, now)
            await lanes.settle(self._session, row)
            if "status" in changes and row.status == "active":
                await end_alarm(self._session, row)
            self._record("webhook.updated", row.id, changes)
        return Unveiled(row, secret)

    async def remove(self, webhook_id: UUID, hold: Hold) -> None:
        """Delete the webhook with all its deliveries; raise WebhookNotFound."""
        row = await locked(self._session, webhook_id)
        hold(row.version)
        await end_alarm(self._session, row)
        await repository.delete(self._session, row)
        await lanes.close_lane(self._session, webhook_id)
        self._record("webhook.deleted", webhook_id)

    async def _judged(self, url: str) -> Destination:
        """Return where `url` leads; call it before the first statement, because a name server may be slow."""
        try:
            destination = self._reach.read(url)
            # A name that has no address yet may get one. Each attempt to send looks anew.
            with suppress(NameUnresolved, TimeoutError):
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    await self._reach.addresses(destination.host, destination.port)
        except DestinationRefused as error:
            raise WebhookUrlRefused("url", f"The URL {error}.") from error
        return destination

    async def _rotate(self, row: WebhookRow, now: datetime) -> str:
        secret = new_secret()
        row.previous_secret, row.previous_until = row.secret, now + OVERLAP
        row.secret = await self._secrets.seal(row.id, secret)
        return spelled(secret)

    def _record(self, action: str, webhook_id: UUID, changes: dict[str, Any] | None = None) -> None:
        self._caller.record(self._session, action, resource=f"webhooks/{webhook_id}", changes=changes)


async def found(session: TenantSession, webhook_id: UUID) -> WebhookRow:
    """Return the webhook of the session's tenant; raise WebhookNotFound."""
    row = await repository.find(session, webhook_id)
    if row is None:
        raise WebhookNotFound
    return row


async def locked(session: TenantSession, webhook_id: UUID) -> WebhookRow:
    """Return the webhook, held against all others to the end of the transaction; raise WebhookNotFound."""
    if not await lanes.hold(session, webhook_id):
        raise WebhookNotFound
    return await found(session, webhook_id)


def _apply(row: WebhookRow, wanted: Changes, destination: Destination | None) -> dict[str, Any]:
    """Change what differs, and return it as the audit log shows it."""
    changes: dict[str, Any] = {}
    if destination is not None and destination.url != row.url:
        changes["url"] = {"old": origin_of(row.url), "new": origin_of(destination.url)}
        row.url = destination.url
    if wanted.events is not None and sorted(wanted.events) != sorted(row.events):
        changes["events"] = {"old": row.events, "new": [event.value for event in wanted.events]}
        row.events = changes["events"]["new"]
    if wanted.status is not None and wanted.status != row.status:
        changes["status"] = {"old": row.status, "new": wanted.status}
        if wanted.status == "active":
            enable(row)
        else:
            disable(row, REQUESTED)
    return changes
