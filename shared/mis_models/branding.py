"""How a tenant looks to its own people."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Integer, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class BrandingRow(TenantScoped, Base):
    """A tenant's own look; what it leaves out is the platform's.

    `logo_id` names the object under the tenant's storage prefix. Each upload is an object of its own, so one
    that is no longer named here never will be again.
    """

    __tablename__ = "tenant_branding"

    name: Mapped[str | None]
    colors: Mapped[dict[str, Any]]
    logo_id: Mapped[UUID | None]
    logo_type: Mapped[str | None]
    logo_size: Mapped[int | None] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    updated_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        one_of("logo_type", "image/png", "image/jpeg", "image/webp"),
        CheckConstraint(
            "(logo_id is null) = (logo_type is null) and (logo_id is null) = (logo_size is null)",
            name="whole_logo",
        ),
    )
