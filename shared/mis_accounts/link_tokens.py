"""The tokens in links that are mailed, by what each link is for."""

from enum import StrEnum
from uuid import UUID

from mis_accounts.row_tokens import RowToken, new_row_token, parse_row_token

LinkToken = RowToken


class LinkPurpose(StrEnum):
    """What a link is for, as its token says it."""

    INVITATION = "in"
    RESET = "pw"
    EMAIL_CHANGE = "em"


def new_link_token(purpose: LinkPurpose, tenant_id: UUID) -> LinkToken:
    """Make a token of the tenant's; its id is that of the row it opens."""
    return new_row_token(purpose.value, tenant_id)


def parse_link_token(text: str, purpose: LinkPurpose) -> LinkToken | None:
    """Return the token of this purpose that `text` is, or None."""
    return parse_row_token(text, purpose.value)
