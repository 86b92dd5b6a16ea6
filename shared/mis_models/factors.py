"""What a user proves to be themselves with beside the password, and proofs that are under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped

from mis_tenancy.tables import Base, TenantScoped, one_of


class TotpFactorRow(TenantScoped, Base):
    """A user's authenticator app: pending until `confirmed_at`, then asked for at every sign-in.

    `secret` is ciphertext under the tenant's data key (`mis_accounts.totp_secrets`). `last_step` is the
    30-second step of the code that was taken last; no code of it, or of one before, is taken again. From
    `reset_at` on a sign-in takes the app away, because an operator was told that it is lost.
    """

    __tablename__ = "totp_factors"

    user_id: Mapped[UUID]
    secret: Mapped[bytes]
    last_step: Mapped[int | None]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    reset_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
    )


class RecoveryCodeRow(TenantScoped, Base):
    """A recovery code that has not been used, by its SHA-256; the row goes with its use."""

    __tablename__ = "recovery_codes"

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    code_hash: Mapped[bytes]
    created_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("ix_recovery_codes_user", "tenant_id", "user_id"),
    )


class PasskeyRow(TenantScoped, Base):
    """A WebAuthn credential of a user, good at hosts below `rp_id`.

    `user_handle` is what authenticators know the user by: random, and the same in all passkeys of theirs.
    `sign_count` is what the authenticator counted last; one that counts backwards has been copied.
    """

    __tablename__ = "passkeys"

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    user_handle: Mapped[bytes]
    rp_id: Mapped[str]
    name: Mapped[str]
    sign_count: Mapped[int]
    backed_up: Mapped[bool]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "credential_id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("ix_passkeys_user", "tenant_id", "user_id", "id"),
    )


class ChallengeRow(TenantScoped, Base):
    """A proof that somebody was asked for, by the SHA-256 of its token; it is answered once, or runs out.

    `session_id` and `user_handle` belong to the registration of a passkey: the sign-in that asked for it, and
    what the authenticator was told to know the user by.
    """

    __tablename__ = "challenges"

    id: Mapped[UUID]
    purpose: Mapped[str]
    user_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
    user_handle: Mapped[bytes | None]
    token_hash: Mapped[bytes]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        one_of("purpose", "second_factor", "passkey_registration", "passkey_sign_in"),
        Index("ix_challenges_user", "tenant_id", "user_id"),
        Index("ix_challenges_expires_at", "tenant_id", "expires_at"),
    )
