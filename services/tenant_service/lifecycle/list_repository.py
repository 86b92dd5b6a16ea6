"""The statements of the operators' list, each led by one index to its page's place.

Postgres would rather walk the primary key and throw away what does not fit, as it takes columns to be
independent of one another and of age: among a hundred thousand tenants of which the newest half are purged, a
page then reads half of them. So a place in the list is a place in the very index of what is asked for, given
as a row of that index's columns, and no other index has that order.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, cast, literal, select, true, tuple_
from sqlalchemy.dialects.postgresql import TSQUERY

from mis_http.pages import Page
from mis_tenancy.session import PlatformSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.lifecycle.filters import TenantFilter
from tenant_service.lifecycle.search import query_of

_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)
# So many tenants are looked at for what is searched, before the index of words is asked.
_NEARBY: Final = 2_000

_IS_PURGED: Final = TenantRow.status == TenantStatus.PURGED.value


async def listed(session: PlatformSession, asked: TenantFilter, page: Page) -> Sequence[TenantRow]:
    """Return a page of tenants, one row longer where there is more; purged ones only where asked for.

    What most tenants are called is found among the next ones of the list; only what is not so frequent is
    looked up by its words, which collects all that fit before it can tell the next ones.
    """
    query = None if asked.text is None else query_of(asked.text)
    if query is None:
        return (await session.scalars(listing(asked, page))).all()
    ids = (await session.scalars(nearby(asked, page, query))).all()
    if len(ids) <= page.limit:
        ids = (await session.scalars(anywhere(asked, page, query))).all()
    rows = await session.scalars(select(TenantRow).where(TenantRow.id.in_(ids)))
    return sorted(rows, key=lambda row: row.id, reverse=not page.ascending)


async def of_slugs(session: PlatformSession, slugs: Sequence[str]) -> Sequence[TenantRow]:
    """Return the tenants of these slugs, in no order."""
    return (await session.scalars(select(TenantRow).where(TenantRow.slug.in_(slugs)))).all()


def listing(asked: TenantFilter, page: Page) -> Select[TenantRow]:
    """Return the statement of a page of what is not searched."""
    return select(TenantRow).where(_place(asked, page)).order_by(*_order(asked, page)).limit(page.limit + 1)


def nearby(asked: TenantFilter, page: Page, query: str) -> Select[UUID]:
    """Return the statement of those among the next tenants that `query` finds."""
    near = select(TenantRow.id, TenantRow.search).where(_place(asked, page))
    window = near.order_by(*_order(asked, page)).limit(_NEARBY).subquery()
    found = select(window.c.id).where(window.c.search.bool_op("@@")(cast(query, TSQUERY)))
    return found.order_by(_directed(window.c.id, page)).limit(page.limit + 1)


def anywhere(asked: TenantFilter, page: Page, query: str) -> Select[UUID]:
    """Return the statement of all the next tenants that `query` finds, by the index of words."""
    columns = (TenantRow.id, TenantRow.status, TenantRow.plan)
    named = select(*columns).where(TenantRow.search.bool_op("@@")(cast(query, TSQUERY)))
    # An offset, though of nothing, keeps what is outside from being planned together with the search.
    found = named.offset(literal(0)).subquery()
    fits = _fits(asked, found.c.status, found.c.plan)
    past: ColumnElement[bool] = true()
    if page.after is not None:
        past = found.c.id > page.after if page.ascending else found.c.id < page.after
    return select(found.c.id).where(fits, past).order_by(_directed(found.c.id, page)).limit(page.limit + 1)


def _fits(asked: TenantFilter, status: Any, plan: Any) -> ColumnElement[bool]:
    wanted: ColumnElement[bool] = (
        status != TenantStatus.PURGED.value if asked.status is None else status == asked.status.value
    )
    return wanted if asked.plan is None else wanted & (plan == asked.plan.value)


def _columns(asked: TenantFilter) -> list[tuple[Any, Any]]:
    """Return what leads the index of the list that is asked for, with the value it has there."""
    columns: list[tuple[Any, Any]] = (
        [(_IS_PURGED, False)] if asked.status is None else [(TenantRow.status, asked.status.value)]
    )
    return columns if asked.plan is None else [*columns, (TenantRow.plan, asked.plan.value)]


def _place(asked: TenantFilter, page: Page) -> ColumnElement[bool]:
    """Return the stretch of the index from the page's place to the end of what is asked for."""
    columns = _columns(asked)
    entry = tuple_(*(column for column, _ in columns), TenantRow.id)
    lead = [value for _, value in columns]
    first, last = (page.after or _FIRST, _LAST) if page.ascending else (_FIRST, page.after or _LAST)
    return (entry > tuple_(*lead, first)) & (entry < tuple_(*lead, last))


def _order(asked: TenantFilter, page: Page) -> list[ColumnElement[Any]]:
    return [_directed(column, page) for column in (*(column for column, _ in _columns(asked)), TenantRow.id)]


def _directed(column: Any, page: Page) -> ColumnElement[Any]:
    directed: ColumnElement[Any] = column.asc() if page.ascending else column.desc()
    return directed
