"""Every statement about API keys; those that verify one are in `mis_tenancy.tokens.api_keys`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select

from mis_http.pages import Page
from mis_models.api_keys import ApiKeyRow
from mis_tenancy.session import TenantSession


async def add(session: TenantSession, row: ApiKeyRow) -> None:
    """Insert the key."""
    session.add(row)
    await session.flush()


async def page_of(session: TenantSession, page: Page) -> Sequence[ApiKeyRow]:
    """Return a page of the keys that nobody has revoked, one more than it holds where there is more."""
    statement = select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None))
    return (await session.scalars(page.apply(statement, ApiKeyRow.id))).all()  # type: ignore[arg-type]  # the mapped column is the column


async def live_ones(session: TenantSession) -> int:
    """Return how many of the tenant's keys open something: neither revoked nor past their time."""
    live = (
        ApiKeyRow.revoked_at.is_(None),
        or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.statement_timestamp()),
    )
    return await session.scalar(select(func.count()).select_from(ApiKeyRow).where(*live)) or 0


async def revoke(session: TenantSession, key_id: UUID, now: datetime) -> ApiKeyRow | None:
    """Mark the key as revoked and return it; None where there is none, or it was revoked before."""
    own = select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
    row = await session.scalar(own.with_for_update())
    if row is not None:
        row.revoked_at = now
        await session.flush()
    return row
