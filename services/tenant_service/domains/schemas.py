"""Domains on the wire."""

from enum import StrEnum
from typing import Literal, Self

from mis_http.schemas import Moment, ResponseBody
from mis_models.domains import DomainClaimRow
from mis_tenancy.tables import TenantRow
from tenant_service.domains.proofs import record_name
from tenant_service.domains.rechecks import GRACE
from tenant_service.domains.service import DomainState


class DomainStatus(StrEnum):
    """How far a tenant's domain has come."""

    NONE = "none"
    PENDING = "pending"
    VERIFIED = "verified"
    FAILING = "failing"


class RecordOut(ResponseBody):
    """The DNS record that proves the claim; it must stay there."""

    type: Literal["TXT"] = "TXT"
    name: str
    value: str


class DomainOut(ResponseBody):
    """A tenant's domain; `failing` still resolves, and until `lapsesAt` unless `record` comes back."""

    domain: str | None = None
    status: DomainStatus
    record: RecordOut | None = None
    verified_at: Moment | None = None
    checked_at: Moment | None = None
    problem: Literal["record_missing", "lookup_failed"] | None = None
    lapses_at: Moment | None = None

    @classmethod
    def of(cls, state: DomainState) -> Self:
        """Return the domain as it is shown."""
        row, claim = state.row, state.claim
        if row.domain is None or claim is None:
            return cls(status=DomainStatus.NONE)
        failing_since = claim.failing_since
        return cls.model_validate(
            {
                "domain": row.domain,
                "status": _status(row, claim),
                "record": {"name": record_name(row.domain), "value": claim.token},
                "verified_at": row.domain_verified_at,
                "checked_at": claim.checked_at,
                "problem": claim.problem,
                "lapses_at": None if failing_since is None else failing_since + GRACE,
            }
        )


def _status(row: TenantRow, claim: DomainClaimRow) -> DomainStatus:
    if row.domain_verified_at is None:
        return DomainStatus.PENDING
    return DomainStatus.VERIFIED if claim.failing_since is None else DomainStatus.FAILING


class HostOut(ResponseBody):
    """A host at which a tenant is served."""

    domain: str
