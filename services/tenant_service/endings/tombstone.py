"""What is left of a purged tenant: an id without a name, names that nobody may take, and the certificate."""

from datetime import timedelta
from typing import Final

from mis_jobs.jobs import enqueue
from mis_models.endings import DeletionCertificateRow
from mis_models.platform import PlatformAuditRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.endings import purge_repository as repository
from tenant_service.endings.certificates import Certifier, Completion
from tenant_service.endings.repository import moment
from tenant_service.lifecycle.repository import RESERVED_FOR

LATER_LOOK: Final = "tenant_purge_look"
# A request or a job that was let in before the purge may end after it: most are over in a minute, and an
# upload or an import of an hour is a long one.
LATER_LOOKS: Final = (timedelta(minutes=1), timedelta(hours=1))


class Tombstones:
    """Sets up tombstones, with certificates of `certifier`."""

    def __init__(self, certifier: Certifier) -> None:
        self._certifier = certifier

    async def set_up(self, session: TenantSession, row: TenantRow) -> None:
        """Turn the held `row` of a tenant of which nothing is left into its tombstone, and certify that."""
        now = await moment(session)
        until = now + RESERVED_FOR
        record = await repository.record(session)
        await repository.reserve_names(session, until)
        await repository.publish_key(session, self._certifier.kid, self._certifier.jwk, now)
        record.certificate = self._certifier.certify(record, Completion(now, until))
        record.completed_at = now
        record.failure = record.failed_at = None
        _blank(row)
        row.status, row.status_since, row.updated_at = TenantStatus.PURGED.value, now, now
        row.version += 1
        session.add(_trace(record))
        revoke(session, Kind.TENANT, tenant_id=row.id)
        for number, after in enumerate(LATER_LOOKS, 1):
            await enqueue(
                session,
                LATER_LOOK,
                {"tenantId": str(row.id)},
                tenant_id=None,
                run_at=now + after,
                dedupe_key=f"{number}",
                lane=row.id,
            )


def _blank(row: TenantRow) -> None:
    """Take everything out that tells who the tenant was; a slug that is an id can be nobody's name."""
    row.name = ""
    row.slug = row.subdomain = str(row.id)
    row.domain = row.domain_verified_at = row.status_reason = row.status_before = row.search = None
    row.purging_since = row.max_users = row.max_storage = None


def _trace(record: DeletionCertificateRow) -> PlatformAuditRow:
    pending, purged = TenantStatus.PENDING_DELETION.value, TenantStatus.PURGED.value
    return PlatformAuditRow(
        id=new_id(),
        kind="change",
        action="tenant.purged",
        resource=f"tenants/{record.tenant_id}",
        tenant_id=record.tenant_id,
        outcome="success",
        changes={"status": {"old": pending, "new": purged}},
    )
