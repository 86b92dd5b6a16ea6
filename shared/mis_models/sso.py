"""Who people are to their tenant's identity provider, and the sign-ins that are under way there."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped


class SsoIdentityRow(TenantScoped, Base):
    """A user as an issuer knows them: by its own `subject`, which stays when their address changes there.

    A user has one identity at an issuer, so that an address that is given to somebody else there does not
    open the account of whoever had it before.
    """

    __tablename__ = "sso_identities"

    id: Mapped[UUID]
    issuer: Mapped[str]
    subject: Mapped[str]
    user_id: Mapped[UUID]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "issuer", "subject"),
        UniqueConstraint("tenant_id", "user_id", "issuer"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
    )


class SsoAttemptRow(TenantScoped, Base):
    """A browser that was sent to a provider; the row goes when it comes back, which it may do once.

    Of the state and of what the browser's cookie holds only the SHA-256 is kept, and everything else that is
    secret about the attempt is derived from that cookie. `issuer` and `client_id` tell whether the tenant has
    changed its provider meanwhile.
    """

    __tablename__ = "sso_attempts"

    id: Mapped[UUID]
    state_hash: Mapped[bytes]
    browser_hash: Mapped[bytes]
    issuer: Mapped[str]
    client_id: Mapped[str]
    callback: Mapped[str]
    next_path: Mapped[str | None] = mapped_column(default=None)
    expires_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "state_hash"),
        Index("ix_sso_attempts_expires_at", "tenant_id", "expires_at"),
    )
