"""Verifications of users' identity documents: what was found, and until when the picture is kept."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Double, ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class VerificationRow(TenantScoped, Base):
    """One document of a user's; nothing that stands on it is kept but in its picture.

    The picture lies in the object store under the verification's id, encrypted under a key of its own that
    is `image_key`: ciphertext under the tenant's data key. Both are gone from `image_until` on.
    """

    __tablename__ = "verifications"

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    status: Mapped[str]
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    confidence: Mapped[float | None] = mapped_column(Double)
    content_type: Mapped[str]
    image_key: Mapped[bytes | None]
    image_until: Mapped[datetime | None]
    requested_by: Mapped[UUID]
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        one_of("status", "pending", "verified", "rejected", "needs_review", "failed"),
        Index("ix_verifications_user", "tenant_id", "user_id", "id"),
        Index(
            "ix_verifications_image_until",
            "tenant_id",
            "image_until",
            postgresql_where=text("image_until is not null"),
        ),
    )
