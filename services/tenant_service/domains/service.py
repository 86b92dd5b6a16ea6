"""How a claimed domain becomes the tenant's own, and how it is shown.

DNS is asked before the transaction that writes, so the claim is compared again under the lock: a proof is
worth something only for the token that it was found for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mis_jobs.outbox import EventType, publish
from mis_models.domains import DomainClaimRow
from mis_tenancy.database import Database
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.turns import lock_tenant
from tenant_service.domains import repository
from tenant_service.domains.claims import end_warning
from tenant_service.domains.errors import DomainLookupFailed, DomainMissing, DomainUnproven
from tenant_service.domains.proofs import LookupFailed, Proofs, record_name
from tenant_service.domains.repository import Claim
from tenant_service.trail import Caller

VERIFIED: Final = "domain.verified"


@dataclass(frozen=True, slots=True)
class DomainState:
    """A tenant's domain and its claim; both are None where it claims none."""

    row: TenantRow
    claim: DomainClaimRow | None


async def read(session: TenantSession) -> DomainState:
    """Return the state of the session's tenant's domain."""
    return DomainState(*await repository.claimed(session))


class Proving:
    """Proves the domain of the session's tenant on behalf of `caller`.

    `database` is the application's, for what is read before the session begins.
    """

    def __init__(self, session: TenantSession, database: Database, proofs: Proofs, caller: Caller) -> None:
        self._session = session
        self._database = database
        self._proofs = proofs
        self._caller = caller

    async def prove(self) -> DomainState:
        """Look for the proof and make the domain the tenant's own.

        Raise DomainMissing, DomainUnproven, DomainLookupFailed, or DomainTaken where another was first.
        """
        claim = await repository.claim_to_prove(self._database, tenant_of(self._session))
        if claim is None:
            raise DomainMissing
        await self._find(claim)
        row = await lock_tenant(self._session)
        held = await repository.claim_of(self._session)
        if held is None or held.token != claim.token:
            # Somebody has changed the domain while DNS was asked about the old one.
            raise _unproven(claim)
        await make_own(self._session, row, held, datetime.now(UTC))
        changes = {"domain_verified": {"old": None, "new": claim.domain}}
        self._caller.record(self._session, VERIFIED, resource=f"tenants/{row.id}", changes=changes)
        return DomainState(row, held)

    async def _find(self, claim: Claim) -> None:
        own = tenant_of(self._session)
        try:
            found = await self._proofs.holds(claim.domain, claim.token, for_tenant=own)
        except LookupFailed as error:
            raise DomainLookupFailed from error
        if not found:
            raise _unproven(claim)


async def make_own(session: TenantSession, row: TenantRow, held: DomainClaimRow, now: datetime) -> None:
    """Make the domain, which is proven, the tenant's own, and spread the news; `row` is locked.

    Raise DomainTaken where another was first.
    """
    await repository.refuse_taken(session, row.domain)
    held.checked_at, held.failing_since, held.problem = now, None, None
    if row.domain_verified_at is None:
        row.domain_verified_at = now
        row.version += 1
        row.updated_at = now
    with repository.one_holder():
        await session.flush()
    await end_warning(session)
    revoke(session, Kind.TENANT, tenant_id=row.id)
    publish(session, EventType.TENANT_UPDATED, {"changed": ["domain"], "domainVerified": True})


def _unproven(claim: Claim) -> DomainUnproven:
    return DomainUnproven(record={"type": "TXT", "name": record_name(claim.domain), "value": claim.token})
