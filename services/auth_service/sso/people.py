"""Whom an ID token lets in: whoever is known by it, and beyond that nobody on an e-mail address alone.

An address says little: a provider may have never checked it, may say of anybody's that it is somebody's, or
gives it to another person later. So it counts only where the provider says that it has verified it, and opens
an account that is there only where the tenant has named its domain as one that this provider speaks for
(docs/decisions/0021-who-an-id-token-is.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auth_service.errors import SsoRefused
from auth_service.sso import repository
from auth_service.sso.configuration import Provider
from mis_accounts.emails import Email, is_same_mailbox, parse_email
from mis_accounts.members import add_member, member_columns, seat_member
from mis_accounts.seats import take_held_seat
from mis_http.person_fields import LONGEST_NAME
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import UserRow
from mis_tenancy.composed import composed
from mis_tenancy.errors import ValidationFailed
from mis_tenancy.session import TenantSession

# What comes of a first sign-in, by the action that the audit log has for it.
LINKED: Final = "sso.linked"
MADE: Final = "user.created"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom the provider lets in; `change` is what came of it, for the audit log."""

    user_id: UUID
    change: str | None = None


async def arrival_of(
    session: TenantSession, provider: Provider, claims: Mapping[str, Any], now: datetime
) -> Arrival:
    """Return who comes with these claims.

    Raise SsoRefused for whom the tenant does not take, LimitExceeded where it has no seat for a new user, and
    EmailTaken or IdentityTaken where another sign-in came first, with which the transaction is lost.
    """
    subject = claims["sub"]
    known = await repository.known_user(session, provider.issuer, subject, now)
    if known is not None:
        return Arrival(_active(known).id)
    email = _proven_address(provider, claims)
    user = await repository.user_with_address(session, email.norm)
    change = LINKED if user is not None else MADE
    if user is None:
        user = await _made(session, provider, email, claims, now)
    elif not (provider.vouches_for(email.address) and is_same_mailbox(user.email, email.address)):
        raise SsoRefused("email_taken")
    await repository.add_identity(session, _active(user).id, provider.issuer, subject, now)
    return Arrival(user.id, change)


def _active(user: UserRow) -> UserRow:
    if user.status != "active":
        raise SsoRefused(f"user_{user.status}")
    return user


def _proven_address(provider: Provider, claims: Mapping[str, Any]) -> Email:
    """Return the address that the provider vouches for and that the tenant takes from it."""
    text = claims.get("email")
    if not isinstance(text, str):
        raise SsoRefused("email_missing")
    # Nothing but the very word of the specification counts (OpenID Connect Core 1.0 §5.1).
    if claims.get("email_verified") is not True:
        raise SsoRefused("email_unverified")
    try:
        email = parse_email(text)
    except ValidationFailed as error:
        raise SsoRefused("email_malformed") from error
    if not provider.takes(email.address):
        raise SsoRefused("domain_not_allowed")
    return email


async def _made(
    session: TenantSession, provider: Provider, email: Email, claims: Mapping[str, Any], now: datetime
) -> UserRow:
    """Return a new user: as they were invited, else as the tenant makes whoever comes from its provider."""
    name = _name_in(claims, email)
    vouched = provider.vouches_for(email.address)
    invited = await repository.take_invitation(session, email.norm) if vouched else None
    if invited is not None:
        invited_as, address = invited
        if not is_same_mailbox(address, email.address):
            raise SsoRefused("email_taken")
        await take_held_seat(session)
        user = await seat_member(session, member_columns(email, name, invited_as, now=now))
    elif provider.jit_role is not None:
        user = await add_member(session, email=email, name=name, role=provider.jit_role, now=now)
    else:
        raise SsoRefused("no_account")
    publish(session, EventType.USER_CREATED, {"id": str(user.id), "role": user.role})
    return user


def _name_in(claims: Mapping[str, Any], email: Email) -> str:
    """Return what the provider calls them, as far as it can be shown; else the beginning of their address."""
    name = claims.get("name")
    shown = "".join(one for one in name if one.isprintable()).strip() if isinstance(name, str) else ""
    return composed(shown, LONGEST_NAME)[:LONGEST_NAME].strip() or email.address.partition("@")[0]
