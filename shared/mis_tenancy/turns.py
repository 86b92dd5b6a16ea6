"""A tenant's turn: whoever changes its row of the directory, or its configuration, does so alone."""

from sqlalchemy import func, select

from mis_tenancy.session import ON_NODES, TenantSession, tenant_of
from mis_tenancy.tables import TenantRow


async def lock_tenant(session: TenantSession) -> TenantRow:
    """Return the session's tenant, locked against other changes of it until the transaction ends.

    The lock leaves foreign keys to the row alone, so other work of the tenant goes on. On Citus the directory
    stands on every node, and whoever locks one row of it locks all tenants'. There the turn is a number's,
    which the coordinator keeps until the nodes have committed as well.
    """
    own = select(TenantRow).where(TenantRow.id == tenant_of(session))
    if session.info.get(ON_NODES):
        number = func.hashtextextended(f"tenant:{tenant_of(session)}", 0)
        # It reads no table, so there is nothing to narrow to the tenant.
        await session.execute(
            select(func.pg_advisory_xact_lock(number)), execution_options={"unscoped": True}
        )
    else:
        own = own.with_for_update(key_share=True)
    return (await session.scalars(own)).one()
