"""The links that are mailed to a user: each opens one thing of the account, once, for a while."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func

from mis_accounts.link_tokens import LinkPurpose, LinkToken, new_link_token
from mis_models.links import AccountTokenRow
from mis_tenancy.session import TenantSession, tenant_of

_NAMES: Final[dict[str, str]] = {
    LinkPurpose.RESET: "password_reset",
    LinkPurpose.EMAIL_CHANGE: "email_change",
}


async def add_account_link(
    session: TenantSession,
    purpose: LinkPurpose,
    user_id: UUID,
    *,
    now: datetime,
    lifetime: timedelta,
    email: str | None = None,
) -> LinkToken:
    """Make a link of the user's and return its token, which is stored nowhere; `email` is a new address."""
    token = new_link_token(purpose, tenant_of(session))
    session.add(
        AccountTokenRow(
            id=token.id,
            user_id=user_id,
            purpose=_NAMES[purpose],
            token_hash=token.digest,
            email=email,
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    await session.flush()
    return token


async def use_account_link(session: TenantSession, token: LinkToken) -> Row[UUID, str | None] | None:
    """Take the link and return its `user_id` and `email`; None where it opens nothing any more."""
    used = delete(AccountTokenRow).where(*opened_by(token))
    used = used.execution_options(synchronize_session=False)
    taken = await session.execute(used.returning(AccountTokenRow.user_id, AccountTokenRow.email))
    return taken.one_or_none()


async def drop_account_links(
    session: TenantSession, user_id: UUID, purpose: LinkPurpose | None = None
) -> None:
    """Make the user's links worthless, those of one purpose or all."""
    own = delete(AccountTokenRow).where(AccountTokenRow.user_id == user_id)
    if purpose is not None:
        own = own.where(AccountTokenRow.purpose == _NAMES[purpose])
    await session.execute(own.execution_options(synchronize_session=False))


def opened_by(token: LinkToken) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a row is what the token opens, now."""
    return (
        AccountTokenRow.id == token.id,
        AccountTokenRow.token_hash == token.digest,
        AccountTokenRow.purpose == _NAMES[token.purpose],
        AccountTokenRow.expires_at > func.statement_timestamp(),
    )
