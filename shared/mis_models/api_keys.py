"""Keys with which a tenant's programs sign in, by the SHA-256 of their text."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped

# What the audit log says of a new one; its resource is `api_key:<id>`.
API_KEY_CREATED: Final = "api_key.created"


class ApiKeyRow(TenantScoped, Base):
    """A program's key. It lives with its creator, whose role bounds what it may do, and goes with them.

    `prefix` is the beginning of its text, by which people tell it from others. A revoked one stays, so that
    whoever still sends it hears that it was revoked. `last_used_at` is behind by up to a minute: the audit
    log's drain writes it.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID]
    name: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_by: Mapped[UUID]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "created_by"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        Index("ix_api_keys_created_by", "tenant_id", "created_by"),
    )
