"""What a mailed link opens, by the SHA-256 of its token: an invitation, or an account."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class InvitationRow(TenantScoped, Base):
    """Somebody who may become a user of the tenant; the row goes once that is decided.

    It holds a seat, counted in `tenant_counters.pending_invitations`, unless it has a `user_id`: that user is
    there already, has a seat as a user, and waits for a password (the first owner of a tenant).
    """

    __tablename__ = "invitations"

    id: Mapped[UUID]
    email: Mapped[str]
    email_norm: Mapped[str]
    role: Mapped[str]
    token_hash: Mapped[bytes]
    invited_by: Mapped[UUID | None]
    user_id: Mapped[UUID | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "email_norm"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        one_of("role", "owner", "admin", "member", "viewer"),
        Index("ix_invitations_user", "tenant_id", "user_id"),
        Index("ix_invitations_expires_at", "tenant_id", "expires_at"),
    )


class AccountTokenRow(TenantScoped, Base):
    """A link that lets a user set a new password, or confirms a new address, which then stands in `email`."""

    __tablename__ = "account_tokens"

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    purpose: Mapped[str]
    token_hash: Mapped[bytes]
    email: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        one_of("purpose", "password_reset", "email_change"),
        Index("ix_account_tokens_user", "tenant_id", "user_id"),
        Index("ix_account_tokens_expires_at", "tenant_id", "expires_at"),
    )
