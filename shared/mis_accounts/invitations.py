"""What an invitation is made of, for whoever invites: members their colleagues, operators a first owner."""

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from mis_accounts.emails import Email
from mis_accounts.link_tokens import LinkPurpose, LinkToken, new_link_token
from mis_models.links import InvitationRow
from mis_tenancy.tenant import Role

LIFETIME: Final = timedelta(days=7)
# Where the link leads, below the public URL.
ACCEPT_PATH: Final = "/login/invitation"


def new_invitation(
    tenant_id: UUID,
    email: Email,
    role: Role,
    *,
    invited_by: UUID | None,
    now: datetime,
    user_id: UUID | None = None,
) -> tuple[InvitationRow, LinkToken]:
    """Return the row of an invitation and the token that accepts it, which stands nowhere else.

    `user_id` is the user who waits for it, where there is one already. A seat is the caller's business.
    """
    token = new_link_token(LinkPurpose.INVITATION, tenant_id)
    row = InvitationRow(
        id=token.id,
        email=email.address,
        email_norm=email.norm,
        role=role.value,
        token_hash=token.digest,
        invited_by=invited_by,
        user_id=user_id,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    return row, token


def accept_url(public_url: str, token: LinkToken) -> str:
    """Return the link that accepts; `public_url` is configured, never what a request calls its host."""
    return f"{public_url.rstrip('/')}{ACCEPT_PATH}?{urlencode({'token': token.text})}"
