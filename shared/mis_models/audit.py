"""The seals of tenants' audit logs."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import PrimaryKeyConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped


class AuditSealRow(TenantScoped, Base):
    """A link of the chain that seals a tenant's audit log (see `mis_tenancy.seals`).

    It covers the rows whose `xid` lies below its `horizon` and not below that of the seal before. `link`
    ties its rows to the seal before, `hash` is the HMAC of it all under the master key `key_id`, and `marks`
    holds eight bytes of each row's digest, in the order of ids, which tell the row that was touched. A
    `pruned` seal is the anchor that retention left of itself and of all before it.
    """

    __tablename__ = "audit_seals"

    seq: Mapped[int]
    first_id: Mapped[UUID]
    last_id: Mapped[UUID]
    count: Mapped[int]
    horizon: Mapped[int]
    sealed_at: Mapped[datetime]
    pruned: Mapped[bool] = mapped_column(server_default=false())
    marks: Mapped[bytes]
    link: Mapped[bytes]
    hash: Mapped[bytes]
    key_id: Mapped[str]

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "seq"),)
