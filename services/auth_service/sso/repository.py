"""Every statement about sign-ins at identity providers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from auth_service.sso.configuration import Provider
from mis_models.accounts import UserRow
from mis_models.links import InvitationRow
from mis_models.sso import SsoAttemptRow, SsoIdentityRow
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.identifiers import new_id
from mis_tenancy.sealed_keys import SSO_OIDC
from mis_tenancy.sealed_values import open_sealed
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow
from mis_tenancy.tenant import Role

# Attempts that nobody finished go a few at a time, as fast as new ones come.
_SWEPT_AT_ONCE: Final = 20


class IdentityTaken(Exception):
    """Another sign-in has just linked the user or the subject."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A browser on its way to a provider and back, by the digests of its state and of its cookie."""

    state_hash: bytes
    browser_hash: bytes
    issuer: str
    client_id: str
    callback: str
    next_path: str | None


async def provider_of(session: TenantSession, keys: TenantKeys) -> Provider | None:
    """Return the tenant's provider, or None; raise Undecryptable."""
    stored = await session.scalar(
        select(ConfigurationRow.config_value).where(ConfigurationRow.config_key == SSO_OIDC)
    )
    return None if stored is None else Provider.of(await open_sealed(keys, session, SSO_OIDC, stored))


async def add_attempt(session: TenantSession, attempt: Attempt, now: datetime, lifetime: timedelta) -> None:
    """Write down that a browser is on its way, and sweep up some that never came back."""
    session.add(
        SsoAttemptRow(
            id=new_id(),
            state_hash=attempt.state_hash,
            browser_hash=attempt.browser_hash,
            issuer=attempt.issuer,
            client_id=attempt.client_id,
            callback=attempt.callback,
            next_path=attempt.next_path,
            expires_at=now + lifetime,
        )
    )
    await session.flush()
    overdue = select(SsoAttemptRow.id).where(SsoAttemptRow.expires_at < now).limit(_SWEPT_AT_ONCE)
    await session.execute(
        delete(SsoAttemptRow)
        .where(SsoAttemptRow.id.in_(overdue.scalar_subquery()))
        .execution_options(synchronize_session=False)
    )


async def take_attempt(session: TenantSession, state_hash: bytes, now: datetime) -> Attempt | None:
    """Return the attempt of a state and forget it, so that it is there once; None where it has run out."""
    columns = (
        SsoAttemptRow.state_hash,
        SsoAttemptRow.browser_hash,
        SsoAttemptRow.issuer,
        SsoAttemptRow.client_id,
        SsoAttemptRow.callback,
        SsoAttemptRow.next_path,
        SsoAttemptRow.expires_at,
    )
    taken = delete(SsoAttemptRow).where(SsoAttemptRow.state_hash == state_hash).returning(*columns)
    row = (await session.execute(taken.execution_options(synchronize_session=False))).one_or_none()
    if row is None or row.expires_at <= now:
        return None
    return Attempt(row.state_hash, row.browser_hash, row.issuer, row.client_id, row.callback, row.next_path)


async def known_user(session: TenantSession, issuer: str, subject: str, now: datetime) -> UserRow | None:
    """Return the user whom the issuer knows as `subject`, and note that they came."""
    used = (
        update(SsoIdentityRow)
        .where(SsoIdentityRow.issuer == issuer, SsoIdentityRow.subject == subject)
        .values(last_used_at=now)
        .returning(SsoIdentityRow.user_id)
        .execution_options(synchronize_session=False)
    )
    user_id = await session.scalar(used)
    return None if user_id is None else await _user(session, UserRow.id == UUID(int=user_id.int))


async def user_with_address(session: TenantSession, email_norm: str) -> UserRow | None:
    """Return the user who has the address, and let nobody change them until the transaction ends."""
    return await _user(session, UserRow.email_norm == email_norm)


async def add_identity(
    session: TenantSession, user_id: UUID, issuer: str, subject: str, now: datetime
) -> None:
    """Link the user to the issuer's subject; raise IdentityTaken, with which the transaction is lost."""
    session.add(
        SsoIdentityRow(
            id=new_id(),
            issuer=issuer,
            subject=subject,
            user_id=user_id,
            created_at=now,
            last_used_at=now,
        )
    )
    try:
        await session.flush()
    except IntegrityError as error:
        raise IdentityTaken from error


async def take_invitation(session: TenantSession, email_norm: str) -> tuple[Role, str] | None:
    """Remove the address's open invitation; return its role and its address. Its seat is the caller's.

    One for a user who is there already, and waits for a password, is not meant for somebody new.
    """
    open_ = (
        InvitationRow.email_norm == email_norm,
        InvitationRow.user_id.is_(None),
        InvitationRow.expires_at > func.statement_timestamp(),
    )
    taken = delete(InvitationRow).where(*open_).returning(InvitationRow.role, InvitationRow.email)
    row = (await session.execute(taken.execution_options(synchronize_session=False))).one_or_none()
    return None if row is None else (Role(row.role), row.email)


async def _user(session: TenantSession, condition: object) -> UserRow | None:
    found: UserRow | None = await session.scalar(
        select(UserRow).where(condition).with_for_update(key_share=True)  # type: ignore[arg-type]
    )
    return found
