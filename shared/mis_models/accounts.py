"""People and programs of a tenant: users, their sessions, and the counters their number is held by."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of

# Letters by which terms stand in the order of the list of users.
STEM: Final = 2


class UserRow(TenantScoped, Base):
    """A person of one tenant; the same address in two tenants is two users.

    `email_norm` is the address as it is compared (NFC, case-folded) and `epoch` the user's half of a
    token's `ver`.
    """

    __tablename__ = "users"

    id: Mapped[UUID]
    email: Mapped[str]
    email_norm: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    status: Mapped[str]
    password_hash: Mapped[str | None]
    attributes: Mapped[dict[str, Any]]
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "email_norm"),
        one_of("role", "owner", "admin", "member", "viewer"),
        one_of("status", "active", "invited", "disabled"),
        Index("ix_users_role", "tenant_id", "role", "id"),
        Index("ix_users_status", "tenant_id", "status", "id"),
    )


class UserTermRow(TenantScoped, Base):
    """One searchable word of a user: the e-mail or a word of the name, folded (case and accents removed).

    A prefix search is `term >= :prefix and term < :prefix_end`: text comparisons are leakproof, so it stays
    on the index under row-level security where LIKE would not. The collation is "C", so that the order is
    bytewise. By `stem`, a term's first two letters, terms stand in the order of the list of users, so that
    what many have is met soon.
    """

    __tablename__ = "user_terms"

    term: Mapped[str] = mapped_column(Text(collation="C"))
    user_id: Mapped[UUID]
    stem: Mapped[str] = mapped_column(Text(collation="C"), Computed(f'"left"(term, {STEM})', persisted=True))

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "term", "user_id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("ix_user_terms_user", "tenant_id", "user_id", "term"),
        Index("ix_user_terms_stem", "tenant_id", "stem", "user_id", "term"),
    )


class SessionRow(TenantScoped, Base):
    """A user's sign-in; it ends by logout, revocation, idleness or age."""

    __tablename__ = "sessions"

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    restricted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("ix_sessions_user", "tenant_id", "user_id", "id"),
        Index("ix_sessions_expires_at", "tenant_id", "expires_at"),
    )


class RefreshTokenRow(TenantScoped, Base):
    """One refresh token of a session's family, by the SHA-256 of its secret.

    `current` can be exchanged, `rotated` has been (its successor stands in `successor_id`), `void` was
    replaced unused within the grace.
    """

    __tablename__ = "refresh_tokens"

    id: Mapped[UUID]
    session_id: Mapped[UUID]
    token_hash: Mapped[bytes]
    state: Mapped[str]
    successor_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "session_id"], ["sessions.tenant_id", "sessions.id"], ondelete="CASCADE"
        ),
        one_of("state", "current", "rotated", "void"),
        Index("ix_refresh_tokens_session", "tenant_id", "session_id"),
    )


class CountersRow(TenantScoped, Base):
    """What a tenant holds of what its plan limits; changed in the same transaction as the fact it counts.

    `plan` is the tenant's since its first change of plan, for claims that waited for one (see
    `mis_accounts.seats`).
    """

    __tablename__ = "tenant_counters"

    users: Mapped[int] = mapped_column(server_default=text("0"))
    pending_invitations: Mapped[int] = mapped_column(server_default=text("0"))
    storage_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    files: Mapped[int] = mapped_column(server_default=text("0"))
    plan: Mapped[str | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        CheckConstraint(
            "users >= 0 and pending_invitations >= 0 and storage_bytes >= 0", name="not_negative"
        ),
        CheckConstraint("files >= 0", name="files_not_negative"),
    )
