"""`/api/v1/tenants/{id}/webhooks`, their deliveries, and sending again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from mis_accounts.claims import LimitExceeded
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import ActAsRequired, AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import requires, tenancy_of
from tenant_service.sessions import TargetSession
from tenant_service.target import Target, inside_only
from tenant_service.trail import Calling
from tenant_service.webhooks.deliveries import Deliveries
from tenant_service.webhooks.errors import (
    DeliveryNotFound,
    WebhookDisabled,
    WebhookNotFound,
    WebhookUrlRefused,
)
from tenant_service.webhooks.schemas import (
    DeliveryOut,
    DeliveryStatus,
    UnveiledWebhookOut,
    WebhookIn,
    WebhookOut,
    WebhookPatch,
)
from tenant_service.webhooks.secrets import WebhookSecrets
from tenant_service.webhooks.service import Webhooks

router = APIRouter(prefix="/api/v1/tenants/{id}/webhooks", tags=["webhooks"], route_class=IdempotentRoute)

_MAY = requires(Permission.WEBHOOKS_WRITE)
_ANY = [_MAY]
# What operators of the platform could otherwise have sent to themselves.
_INSIDE = [Depends(inside_only), _MAY]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound)
_NAMED = (*_CLOSED, WebhookNotFound)


async def named_webhook(webhook_id: Annotated[str, Path(description="The webhook's id.")]) -> UUID:
    """Return the id in the path; what is no id names no webhook."""
    try:
        return UUID(webhook_id)
    except ValueError as error:
        raise WebhookNotFound from error


async def named_delivery(delivery_id: Annotated[str, Path(description="The delivery's id.")]) -> UUID:
    """Return the id in the path; what is no id names no delivery."""
    try:
        return UUID(delivery_id)
    except ValueError as error:
        raise DeliveryNotFound from error


WebhookId = Annotated[UUID, Depends(named_webhook)]
DeliveryId = Annotated[UUID, Depends(named_delivery)]


async def keeping(request: Request, session: TargetSession, caller: Calling) -> Webhooks:
    """Return the webhooks of the tenant the path names."""
    secrets = WebhookSecrets(session, tenancy_of(request).tenant_keys)
    return Webhooks(session, secrets, request.app.state.reach, caller)


async def delivering(webhook_id: WebhookId, session: TargetSession, caller: Calling) -> Deliveries:
    """Return the deliveries to the webhook the path names."""
    return Deliveries(session, webhook_id, caller)


Keeping = Annotated[Webhooks, Depends(keeping)]
Delivering = Annotated[Deliveries, Depends(delivering)]


@router.get("", dependencies=_ANY, responses=problems(*_CLOSED))
async def list_webhooks(
    webhooks: Keeping, page: Paged, request: Request, response: Response
) -> list[WebhookOut]:
    """List the tenant's webhooks, newest first; a secret is never shown again."""
    rows = await webhooks.page(page)
    return [WebhookOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.post(
    "",
    status_code=201,
    dependencies=_INSIDE,
    responses=problems(*_CLOSED, ActAsRequired, WebhookUrlRefused, LimitExceeded),
)
async def create_webhook(
    body: WebhookIn, webhooks: Keeping, target: Target, response: Response
) -> UnveiledWebhookOut:
    """Have events sent to an address; the answer shows the secret they are signed with, this once."""
    made = await webhooks.create(body.url, body.events)
    response.headers["Location"] = f"/api/v1/tenants/{target.id}/webhooks/{made.row.id}"
    response.headers["ETag"] = etag(made.row.version)
    return UnveiledWebhookOut.unveiled(made)


@router.get("/{webhook_id}", dependencies=_ANY, responses=problems(*_NAMED))
async def get_webhook(webhook_id: WebhookId, webhooks: Keeping, response: Response) -> WebhookOut:
    """Show one webhook, and why it is disabled if it is."""
    row = await webhooks.get(webhook_id)
    response.headers["ETag"] = etag(row.version)
    return WebhookOut.of(row)


@router.patch(
    "/{webhook_id}",
    dependencies=_INSIDE,
    responses=problems(*_NAMED, ActAsRequired, WebhookUrlRefused, PreconditionFailed),
)
async def change_webhook(
    webhook_id: WebhookId, body: WebhookPatch, webhooks: Keeping, if_match: IfMatch, response: Response
) -> UnveiledWebhookOut:
    """Change a webhook, switch it off and on, or give it a new secret."""
    changed = await webhooks.change(webhook_id, body.value(), if_match.hold)
    response.headers["ETag"] = etag(changed.row.version)
    return UnveiledWebhookOut.unveiled(changed)


@router.delete(
    "/{webhook_id}", status_code=204, dependencies=_ANY, responses=problems(*_NAMED, PreconditionFailed)
)
async def delete_webhook(webhook_id: WebhookId, webhooks: Keeping, if_match: IfMatch) -> None:
    """Delete a webhook, with what is on its way to it."""
    await webhooks.remove(webhook_id, if_match.hold)


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    dependencies=_ANY,
    responses=problems(*_NAMED, WebhookDisabled),
)
async def ping_webhook(deliveries: Delivering) -> DeliveryOut:
    """Send a `webhook.ping` to this webhook only."""
    return DeliveryOut.of(await deliveries.ping())


@router.get("/{webhook_id}/deliveries", dependencies=_ANY, responses=problems(*_NAMED))
async def list_webhook_deliveries(
    deliveries: Delivering,
    page: Paged,
    request: Request,
    response: Response,
    status: Annotated[DeliveryStatus | None, Query()] = None,
) -> list[DeliveryOut]:
    """List what was sent to the webhook in the last 30 days, newest first."""
    rows = await deliveries.page(page, status)
    return [DeliveryOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    dependencies=_INSIDE,
    responses=problems(*_NAMED, ActAsRequired, DeliveryNotFound, WebhookDisabled),
)
async def replay_webhook_delivery(delivery_id: DeliveryId, deliveries: Delivering) -> DeliveryOut:
    """Send a delivery again, under the same `webhook-id`."""
    return DeliveryOut.of(await deliveries.replay(delivery_id))
