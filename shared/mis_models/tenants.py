"""What a tenant keeps to itself beyond the directory: its free settings and its kept answers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class TenantProfileRow(TenantScoped, Base):
    """The tenant's free JSON settings, kept out of the directory because every service can read that."""

    __tablename__ = "tenant_profiles"

    settings: Mapped[dict[str, Any]]

    __table_args__ = (PrimaryKeyConstraint("tenant_id"),)


class KeptAnswer:
    """The columns of a request with an `Idempotency-Key`: its fingerprint, its lease, then its answer."""

    principal_id: Mapped[UUID]
    method: Mapped[str]
    path: Mapped[str]
    key: Mapped[str]
    fingerprint: Mapped[bytes]
    state: Mapped[str]
    leased_until: Mapped[datetime]
    answer_status: Mapped[int | None] = mapped_column(SmallInteger)
    answer: Mapped[bytes | None]
    created_at: Mapped[datetime]


class IdempotencyRow(KeptAnswer, TenantScoped, Base):
    """A tenant's kept answer; `answer` is ciphertext under the tenant's data key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "principal_id", "method", "path", "key"),
        one_of("state", "running", "answered"),
        Index("ix_idempotency_keys_created_at", "tenant_id", "created_at"),
    )


class PlatformIdempotencyRow(KeptAnswer, Base):
    """An operator's kept answer outside any tenant; `answer` is ciphertext under the master key.

    `tenant_id` is the tenant that the answer tells of, with whose purge it goes.
    """

    __tablename__ = "platform_idempotency_keys"

    tenant_id: Mapped[UUID | None]

    __table_args__ = (
        PrimaryKeyConstraint("principal_id", "method", "path", "key"),
        one_of("state", "running", "answered"),
        Index("ix_platform_idempotency_keys_created_at", "created_at"),
    )
