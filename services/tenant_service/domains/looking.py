"""One look at what DNS says of a tenant's claim: asked outside any transaction, noted in one of the tenant's.

DNS takes seconds, in which the tenant may claim something else: what was found is noted only while the claim
is still the one that was asked about.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from mis_models.domains import DomainClaimRow
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.turns import lock_tenant
from tenant_service.domains import repository
from tenant_service.domains.proofs import LookupFailed, Proofs

# Gets the locked tenant, its claim, whether the record was there, None where nobody answered, and the time.
Note = Callable[[TenantSession, TenantRow, DomainClaimRow, bool | None, datetime], Awaitable[None]]


async def look(application: Database, proofs: Proofs, tenant_id: UUID, note: Note) -> None:
    """Ask DNS about the tenant's claim, if it has one, and let `note` act on the answer."""
    claim = await repository.claim_to_prove(application, tenant_id)
    if claim is None:
        return
    try:
        found: bool | None = await proofs.holds(claim.domain, claim.token, for_tenant=tenant_id)
    except LookupFailed:
        found = None
    async with application.transaction(tenant_id) as session:
        row, held = await lock_tenant(session), await repository.claim_of(session)
        if held is not None and held.token == claim.token:
            await note(session, row, held, found, datetime.now(UTC))
