"""What belongs to the platform and to no tenant: operators, signing keys, throttles, prices, audit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, one_of


class OperatorRow(Base):
    """A member of the platform's staff; belongs to no tenant.

    `totp_secret` is that of their authenticator app, under the master key `totp_key_id`; it is pending until
    `totp_confirmed_at`. No code of the step `totp_last_step`, or of one before, is taken again.
    `recovery_codes` are digests of those that have not been used.
    """

    __tablename__ = "operators"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    email_norm: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    status: Mapped[str]
    password_hash: Mapped[str]
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    totp_secret: Mapped[bytes | None]
    totp_key_id: Mapped[str | None]
    totp_last_step: Mapped[int | None]
    totp_confirmed_at: Mapped[datetime | None]
    recovery_codes: Mapped[list[bytes] | None] = mapped_column(ARRAY(LargeBinary))

    __table_args__ = (one_of("status", "active", "disabled"),)


class OperatorSessionRow(Base):
    """An operator's sign-in."""

    __tablename__ = "operator_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    operator_id: Mapped[UUID] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]


class OperatorRefreshTokenRow(Base):
    """One refresh token of an operator's session; states as for a user's."""

    __tablename__ = "operator_refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("operator_sessions.id", ondelete="CASCADE"), index=True
    )
    token_hash: Mapped[bytes]
    state: Mapped[str]
    successor_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]

    __table_args__ = (one_of("state", "current", "rotated", "void"),)


class SigningKeyRow(Base):
    """The private half of a token signing key, encrypted under a master key."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(
        ForeignKey("public_signing_keys.kid", ondelete="CASCADE"), primary_key=True
    )
    wrapped_key: Mapped[bytes]
    master_key_id: Mapped[str]
    created_at: Mapped[datetime]


class LoginThrottleRow(Base):
    """Failures in a row of one counter: an account, an account on a known network, or an address."""

    __tablename__ = "login_throttles"

    subject: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    window_start: Mapped[datetime]
    blocked_until: Mapped[datetime | None]

    __table_args__ = (Index("ix_login_throttles_window_start", "window_start"),)


class PlatformAuditRow(Base):
    """What was done outside any tenant, or by the platform to one."""

    __tablename__ = "platform_audit_logs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    actor: Mapped[UUID | None]
    action: Mapped[str]
    resource: Mapped[str | None]
    tenant_id: Mapped[UUID | None] = mapped_column(index=True)
    outcome: Mapped[str]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    reason: Mapped[str | None]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    changes: Mapped[dict[str, Any] | None]

    __table_args__ = (one_of("kind", "change", "request", "security"),)


class PlanPriceRow(Base):
    """A plan's monthly price in US cents, for periods that start at or after `effective_from`."""

    __tablename__ = "plan_prices"

    plan: Mapped[str]
    effective_from: Mapped[datetime]
    monthly_price: Mapped[int]

    __table_args__ = (PrimaryKeyConstraint("plan", "effective_from"),)
