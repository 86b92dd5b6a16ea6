"""What outlives a tenant: the record of its purge, which ends as a certificate, and the keys for those."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base


class DeletionCertificateRow(Base):
    """What a tenant's purge has done so far and, once nothing was left, the signed certificate of it.

    `deleted` counts rows by table. `failure` says why the last run failed, `failed_at` when the last attempt
    did; a purge that goes on clears neither before its end.
    """

    __tablename__ = "deletion_certificates"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    requested_at: Mapped[datetime]
    requested_by: Mapped[UUID | None]
    requested_by_kind: Mapped[str | None]
    due_at: Mapped[datetime]
    started_at: Mapped[datetime]
    deleted: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    keys_shredded: Mapped[int] = mapped_column(server_default=text("0"))
    redis_keys: Mapped[int] = mapped_column(server_default=text("0"))
    objects: Mapped[int] = mapped_column(server_default=text("0"))
    failure: Mapped[dict[str, Any] | None]
    failed_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    certificate: Mapped[str | None]


class CertificateKeyRow(Base):
    """The public half of a key that signs deletion certificates, for as long as one may be verified."""

    __tablename__ = "certificate_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    jwk: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
