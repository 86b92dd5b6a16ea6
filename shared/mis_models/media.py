"""A tenant's files: what is stored, and what is still on its way into the store."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class MediaRow(TenantScoped, Base):
    """One file; its bytes lie in the object store under its id, whatever it is called.

    `uploaded_by` is the principal who sent it, a program too; `owner_id` is that person while they are a
    user of the tenant.
    """

    __tablename__ = "media"

    id: Mapped[UUID]
    filename: Mapped[str]
    content_type: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    owner_id: Mapped[UUID | None]
    uploaded_by: Mapped[UUID]
    created_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        # Whoever deletes a user lets go of the files first: Citus refuses a key that sets one column to null.
        ForeignKeyConstraint(["tenant_id", "owner_id"], ["users.tenant_id", "users.id"]),
        Index("ix_media_owner", "tenant_id", "owner_id", "id"),
    )


class UploadRow(TenantScoped, Base):
    """An upload under way, which holds `reserved` bytes of the tenant's space until it is settled.

    One that has not been prolonged until `lapses_at` belongs to a process that died: it is `discarding` from
    then on, until its object is gone.
    """

    __tablename__ = "media_uploads"

    id: Mapped[UUID]
    state: Mapped[str] = mapped_column(server_default=text("'receiving'"))
    reserved: Mapped[int]
    created_at: Mapped[datetime]
    lapses_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("state", "receiving", "discarding"),
        Index("ix_media_uploads_lapses_at", "tenant_id", "lapses_at"),
    )
