"""Looks by itself whether a claimed domain is proven by now, so that nobody has to come back and ask.

It looks often at first and ever less often, for three days; `POST …/domain/verify` works at any time.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from mis_models.domains import DomainClaimRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from tenant_service.domains.errors import DomainTaken
from tenant_service.domains.looking import look
from tenant_service.domains.proofs import Proofs
from tenant_service.domains.service import VERIFIED, make_own

# For how long after it was made a claim is looked at.
FRESH: Final = timedelta(hours=72)


class PendingClaims:
    """Looks at one tenant's claim, in transactions of the tenant's own."""

    def __init__(self, application: Database, proofs: Proofs) -> None:
        self._application = application
        self._proofs = proofs

    async def check(self, tenant_id: UUID) -> None:
        """Ask DNS about the tenant's claim, and make a domain that is proven its own."""
        await look(self._application, self._proofs, tenant_id, _note)


async def _note(
    session: TenantSession, row: TenantRow, held: DomainClaimRow, found: bool | None, now: datetime
) -> None:
    if row.domain_verified_at is not None:
        return
    held.checked_at = now
    if not found:
        held.problem = "lookup_failed" if found is None else "record_missing"
        return
    held.problem = None
    try:
        await make_own(session, row, held, now)
    except DomainTaken:
        # Whoever asks for the verification is told so.
        return
    changes = {"domain_verified": {"old": None, "new": row.domain}}
    record_change(
        session,
        action=VERIFIED,
        actor=None,
        actor_kind="system",
        resource=f"tenants/{row.id}",
        changes=changes,
    )
