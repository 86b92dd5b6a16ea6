"""The statements about a tenant's webhooks and their deliveries."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select

from mis_http.pages import Page
from mis_models.webhooks import DeliveryRow, WebhookRow
from mis_tenancy.session import TenantSession


async def count(session: TenantSession) -> int:
    """Return how many webhooks the tenant has."""
    return await session.scalar(select(func.count()).select_from(WebhookRow)) or 0


async def page(session: TenantSession, asked: Page) -> Sequence[WebhookRow]:
    """Return a page of webhooks, one row longer where there is more."""
    return (await session.scalars(asked.apply(select(WebhookRow), WebhookRow.id))).all()  # type: ignore[arg-type]  # the mapped column is the column


async def find(session: TenantSession, webhook_id: UUID) -> WebhookRow | None:
    """Return the webhook, or None."""
    return await session.scalar(select(WebhookRow).where(WebhookRow.id == webhook_id))


async def delete(session: TenantSession, webhook: WebhookRow) -> None:
    """Delete the webhook, and with it its deliveries."""
    await session.delete(webhook)
    await session.flush()


async def page_of_deliveries(
    session: TenantSession, webhook_id: UUID, asked: Page, status: str | None
) -> Sequence[DeliveryRow]:
    """Return a page of a webhook's deliveries, one row longer where there is more."""
    statement = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if status is not None:
        statement = statement.where(DeliveryRow.status == status)
    return (await session.scalars(asked.apply(statement, DeliveryRow.id))).all()  # type: ignore[arg-type]  # as above


async def find_delivery(session: TenantSession, webhook_id: UUID, delivery_id: UUID) -> DeliveryRow | None:
    """Return a delivery of the webhook, or None."""
    return await session.scalar(
        select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.id == delivery_id)
    )


async def deliveries_of(session: TenantSession, ids: Sequence[UUID]) -> dict[UUID, DeliveryRow]:
    """Return those of the deliveries that there are, by id."""
    return {row.id: row for row in await session.scalars(select(DeliveryRow).where(DeliveryRow.id.in_(ids)))}


async def next_due(session: TenantSession, webhook_id: UUID, limit: int) -> Sequence[DeliveryRow]:
    """Return the deliveries of the webhook that have been due longest, in their order."""
    due = select(DeliveryRow).where(
        DeliveryRow.webhook_id == webhook_id,
        DeliveryRow.status == "pending",
        DeliveryRow.next_attempt_at <= func.clock_timestamp(),
    )
    due = due.order_by(DeliveryRow.next_attempt_at, DeliveryRow.id).limit(limit)
    return (await session.scalars(due)).all()
