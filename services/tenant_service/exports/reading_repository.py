"""The statements that read a tenant's rows for an export, in the one snapshot that they share.

Rows come in pages by their key, so memory stays constant and no cursor has to live on. Between two pages the
transaction may wait for a slow object store, which is why this one may idle for longer than a request's.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sqlalchemy import func, select, text, tuple_

from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from tenant_service.exports.data_types.shape import Extract, Values


async def be_patient(session: TenantSession) -> None:
    """Give the snapshot's transaction the time that a large tenant and a slow store take."""
    # Between two reads the bytes of some files go by, which may be large.
    for setting, time in (("idle_in_transaction_session_timeout", "1h"), ("statement_timeout", "10min")):
        # It names no rows, so there is nothing to narrow.
        unscoped = {"unscoped": True}
        await session.execute(text(f"set local {setting} = '{time}'"), execution_options=unscoped)


async def tenant_and_moment(session: TenantSession) -> tuple[TenantRow, datetime]:
    """Return the tenant's row and the moment at which the snapshot's transaction began."""
    statement = select(TenantRow, func.now()).where(TenantRow.id == tenant_of(session))
    row = (await session.execute(statement)).one()
    return row[0], row[1]


async def count(session: TenantSession, extract: Extract) -> int:
    """Return how many rows the extract has."""
    return await session.scalar(select(func.count()).select_from(extract.table)) or 0


async def pages(session: TenantSession, extract: Extract) -> AsyncIterator[Sequence[Values]]:
    """Yield the extract's rows, the values of its fields in their order, some at a time."""
    width = len(extract.key)
    columns = [*extract.key, *(field.column for field in extract.fields), *extract.hidden]
    # A field may be the key again, and two columns of one name would be one.
    labelled = [column.label(f"c{at}") for at, column in enumerate(columns)]
    first = select(*labelled).order_by(*extract.key).limit(extract.rows_at_once)
    statement = first
    while True:
        rows = (await session.execute(statement)).all()
        values: Sequence[Values] = [row[width:] for row in rows]
        yield values if extract.complete is None else await extract.complete(session, values)
        if len(rows) < extract.rows_at_once:
            return
        statement = first.where(tuple_(*extract.key) > tuple_(*rows[-1][:width]))
