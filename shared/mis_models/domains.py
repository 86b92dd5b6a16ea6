"""What a tenant shows to prove that a domain is its own."""

from datetime import datetime

from sqlalchemy import PrimaryKeyConstraint
from sqlalchemy.orm import Mapped

from mis_tenancy.tables import Base, TenantScoped, one_of


class DomainClaimRow(TenantScoped, Base):
    """The claim behind the tenant's `domain`; whether it is proven stands with the domain in the directory.

    `token` is what the domain's TXT record must hold. It belongs to this claim alone: whoever claims a domain
    anew, also the same tenant, proves it anew. `failing_since` is when a proven domain was first found
    without its record, and `problem` what the newest check found wrong.
    """

    __tablename__ = "domain_claims"

    token: Mapped[str]
    claimed_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    problem: Mapped[str | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        one_of("problem", "record_missing", "lookup_failed"),
    )
