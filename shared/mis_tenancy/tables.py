"""The one declarative Base, and the tables the middleware itself needs.

Every tenant table derives from `TenantScoped`, which is what the session's criteria, the flush guard, the
policies in the migrations and the isolation tests all key on. Text with a CHECK stands in for enums,
because enum equality is not leakproof and so cannot be an index condition under row-level security.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The metadata of every table of the suite: one database, one migration chain."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it as a class attribute
        str: Text,
        datetime: DateTime(timezone=True),
        UUID: Uuid(as_uuid=True),
        int: BigInteger,
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[str]: JSONB,
    }


def _tenant_of_connection(context: DefaultExecutionContext) -> UUID | None:
    """Return the tenant the transaction is bound to, for inserts that name none; policies check it."""
    driver: Any = context.root_connection.connection.driver_connection
    tenant: UUID | None = driver.tenant
    return tenant


class TenantScoped:
    """A row of one tenant: `tenant_id` leads its primary key, its uniques and its foreign keys."""

    @declared_attr
    def tenant_id(cls) -> Mapped[UUID]:  # declared_attr hands over the class
        """Return the column every policy and every criterion compares."""
        return mapped_column(
            Uuid(as_uuid=True),
            # The column and not its name, which a Base of the adopter's own would look for in its own schema.
            ForeignKey(TenantRow.__table__.c.id),
            nullable=False,
            default=_tenant_of_connection,
            sort_order=-100,
        )


def one_of(column: str, *values: str) -> CheckConstraint:
    """Return a CHECK that `column` is one of `values`: what an enum would say, leakproof."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=column)


class TenantRow(Base):
    """A tenant. Every column is directory data: readable by each service, so nothing secret belongs here."""

    __tablename__ = "tenants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    subdomain: Mapped[str] = mapped_column(unique=True)
    # Claimed by anybody and proven by one.
    domain: Mapped[str | None]
    domain_verified_at: Mapped[datetime | None]
    plan: Mapped[str]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    status_since: Mapped[datetime]
    # What a restoration leads back to, while the tenant is pending deletion.
    status_before: Mapped[str | None]
    purge_at: Mapped[datetime | None]
    # From here on there is no way back, although rows may be left.
    purging_since: Mapped[datetime | None]
    max_users: Mapped[int | None]
    max_storage: Mapped[int | None] = mapped_column(comment="GiB; null is unlimited")
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    # What operators find it by; written with the names and read by the list's own statement alone.
    search: Mapped[str | None] = mapped_column(TSVECTOR, deferred=True)

    __table_args__ = (
        one_of("plan", "basic", "premium", "enterprise", "custom"),
        one_of("status", "provisioning", "active", "maintenance", "suspended", "pending_deletion", "purged"),
        CheckConstraint("slug = lower(slug) and subdomain = lower(subdomain)", name="lower_case"),
        Index(
            "uq_tenants_verified_domain",
            "domain",
            unique=True,
            postgresql_where=text("domain_verified_at is not null and status <> 'purged'"),
        ),
        # The operators' list, whatever it is narrowed by, reads one of these from its page's place on.
        Index("ix_tenants_present", text("(status = 'purged')"), "id"),
        Index("ix_tenants_present_plan", text("(status = 'purged')"), "plan", "id"),
        Index("ix_tenants_status", "status", "id"),
        Index("ix_tenants_status_plan", "status", "plan", "id"),
        Index("ix_tenants_search", "search", postgresql_using="gin"),
        Index("ix_tenants_purge_at", "purge_at", postgresql_where=text("status = 'pending_deletion'")),
    )


class TenantNameRow(Base):
    """One value of the shared namespace of slugs and subdomains, live or held back after its release.

    A value that a tenant holds as slug or as subdomain is refused to all others, and stays so until
    `reserved_until` once it is released (null while it is held).
    """

    __tablename__ = "tenant_names"

    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(index=True)
    reserved_until: Mapped[datetime | None]


class ConfigurationRow(TenantScoped, Base):
    """One overridden key of a tenant's configuration, at its current version.

    With `is_encrypted`, `config_value` holds `{ciphertext, keyVersion, fingerprint}` instead of the value.
    """

    __tablename__ = "tenant_configurations"

    id: Mapped[UUID]
    config_key: Mapped[str]
    config_value: Mapped[Any] = mapped_column(JSONB)
    is_encrypted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "config_key"),
        CheckConstraint("length(config_key) between 1 and 255", name="config_key_length"),
    )


class ConfigurationVersionRow(TenantScoped, Base):
    """One version of a configuration key; `config_value` null and `deleted` mark a removal."""

    __tablename__ = "tenant_configuration_versions"

    config_key: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    config_value: Mapped[Any | None] = mapped_column(JSONB)
    is_encrypted: Mapped[bool] = mapped_column(Boolean)
    deleted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    changed_by: Mapped[UUID | None]
    by_operator: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    created_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "config_key", "version"),)


class RevocationRow(Base):
    """News that every process must hear within a second; the feed reads them by `xid`.

    `kind` says what `subject` is; `epoch` is the lowest one still good, for a user or tenant whose tokens
    end.
    """

    __tablename__ = "revocations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    tenant_id: Mapped[UUID | None]
    subject: Mapped[UUID | None]
    epoch: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    # The writing transaction. A poller that asks for `xid >= the oldest one still running at its last poll`
    # misses no row, however late its transaction commits.
    xid: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint"), index=True
    )

    __table_args__ = (
        one_of("kind", "tenant", "user", "session", "key", "signing_key"),
        Index("ix_revocations_created_at", "created_at"),
    )


class PublicSigningKeyRow(Base):
    """The public half of a token signing key, as the JWKS shows it."""

    __tablename__ = "public_signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    jwk: Mapped[dict[str, Any]]
    state: Mapped[str]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    verifies_until: Mapped[datetime | None]

    __table_args__ = (one_of("state", "next", "current", "retired"),)


class DataKeyRow(TenantScoped, Base):
    """One version of a tenant's data key, wrapped by a master key."""

    __tablename__ = "tenant_data_keys"

    version: Mapped[int] = mapped_column(Integer)
    wrapped_key: Mapped[bytes]
    master_key_id: Mapped[str]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "version"),)


class AuditRow(TenantScoped, Base):
    """Who did what, when, from where and with what outcome; partitioned by the time in its id.

    `actor` is a user, key or operator id; names and addresses of people stay out. `origin` is where the
    request came from, as ciphertext under a key of its actor; `ip` and `user_agent` hold it in clear only in
    rows from before there was `origin`, and from a constructor until the flush. `changes` names fields with
    old and new values.
    """

    __tablename__ = "audit_logs"

    id: Mapped[UUID]
    kind: Mapped[str]
    actor: Mapped[UUID | None]
    actor_kind: Mapped[str | None]
    action: Mapped[str]
    resource: Mapped[str | None]
    outcome: Mapped[str]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    duration_us: Mapped[int | None]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    sources: Mapped[list[str] | None]
    origin: Mapped[bytes | None]
    changes: Mapped[dict[str, Any] | None]
    # The inserting transaction. A seal covers a range of them, so which rows it means needs no mark on a row,
    # which nobody may update, and no row is missed however late its transaction commits.
    xid: Mapped[int] = mapped_column(BigInteger, server_default=text("pg_current_xact_id()::text::bigint"))

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("kind", "change", "request", "security"),
        Index("ix_audit_logs_xid", "tenant_id", "xid"),
        # Rows lie in the order of their transactions, so this small one finds the newest of all tenants.
        Index(
            "ix_audit_logs_newest",
            "tenant_id",
            "xid",
            postgresql_using="brin",
            postgresql_with={"autosummarize": True, "pages_per_range": 32},
        ),
        Index("ix_audit_logs_actor", "tenant_id", "actor", "id"),
        Index("ix_audit_logs_action", "tenant_id", "action", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )
