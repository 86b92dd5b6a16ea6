"""Tenants one after another, however many there are: a page is held at a time, and no transaction between."""

from collections.abc import AsyncIterator
from typing import Any, Final

from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.tables import TenantRow
from tenant_service.lifecycle import list_repository
from tenant_service.lifecycle.filters import TenantFilter
from tenant_service.lifecycle.schemas import TenantListed

_PAGE: Final = 200


async def each_tenant(platform: Database, asked: TenantFilter, most: int | None) -> AsyncIterator[TenantRow]:
    """Yield up to `most` tenants, newest first."""
    page, left = Page(_PAGE), most
    while True:
        async with platform.platform_transaction() as session:
            rows = await list_repository.listed(session, asked, page)
        for row in rows[:_PAGE][:left]:
            yield row
        left = None if left is None else left - _PAGE
        if len(rows) <= _PAGE or (left is not None and left <= 0):
            return
        page = Page(_PAGE, after=rows[_PAGE - 1].id)


def listed_document(row: TenantRow) -> dict[str, Any]:
    """Return the tenant as the operators' list shows it, but for the features in force."""
    return TenantListed.listed(row, {}).model_dump(mode="json", by_alias=True, exclude={"features"})
