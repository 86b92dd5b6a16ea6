"""Whether proven domains still are: one whose record is gone is the tenant's for a grace, then no more.

Only a clear answer counts against a tenant. When nobody answers, which may be our own network's fault, the
domain stays as it is; it is asked about again, and resolves until DNS says that the record is gone.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from mis_jobs.outbox import EventType, publish
from mis_models.domains import DomainClaimRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from tenant_service.alerts.book import open_alert
from tenant_service.domains.claims import WARNING, end_warning
from tenant_service.domains.looking import look
from tenant_service.domains.proofs import Proofs, new_token

# How long a domain may be found without its record before it is the tenant's no more.
GRACE: Final = timedelta(days=3)


class Rechecks:
    """Checks one tenant's proven domain, in transactions of the tenant's own."""

    def __init__(self, application: Database, proofs: Proofs) -> None:
        self._application = application
        self._proofs = proofs

    async def check(self, tenant_id: UUID) -> None:
        """Ask DNS about the tenant's domain and note, or act on, what it says."""
        await look(self._application, self._proofs, tenant_id, _note)


async def _note(
    session: TenantSession, row: TenantRow, held: DomainClaimRow, found: bool | None, now: datetime
) -> None:
    if row.domain_verified_at is None:
        return
    held.checked_at = now
    if found is None:
        held.problem = "lookup_failed"
    elif found:
        held.problem = None
        if held.failing_since is not None:
            held.failing_since = None
            await end_warning(session)
    elif held.failing_since is None:
        held.problem, held.failing_since = "record_missing", now
        await open_alert(session, WARNING)
    elif now - held.failing_since >= GRACE:
        await _lapse(session, row, held, now)


async def _lapse(session: TenantSession, row: TenantRow, held: DomainClaimRow, now: datetime) -> None:
    """Take the proof back; the claim stays, with a new token, because the old one may stand somewhere yet."""
    row.domain_verified_at = None
    row.version += 1
    row.updated_at = now
    held.token, held.claimed_at, held.failing_since, held.problem = new_token(), now, None, "record_missing"
    resource = f"tenants/{row.id}"
    changes = {"domain_verified": {"old": row.domain, "new": None}}
    record_change(
        session, action="domain.lapsed", actor=None, actor_kind=None, resource=resource, changes=changes
    )
    revoke(session, Kind.TENANT, tenant_id=row.id)
    publish(session, EventType.TENANT_UPDATED, {"changed": ["domain"], "domainVerified": False})
