"""The token that a client holds between being asked for a proof and giving it, by what is to be proven."""

from enum import StrEnum
from uuid import UUID

from mis_accounts.row_tokens import RowToken, new_row_token, parse_row_token

ChallengeToken = RowToken


class ChallengePurpose(StrEnum):
    """What is to be proven, as the token says it."""

    SECOND_FACTOR = "mf"
    PASSKEY_REGISTRATION = "pr"
    PASSKEY_SIGN_IN = "pl"


def new_challenge_token(purpose: ChallengePurpose, tenant_id: UUID) -> ChallengeToken:
    """Make a token of the tenant's; its id is that of the challenge's row."""
    return new_row_token(purpose.value, tenant_id)


def parse_challenge_token(text: str, purpose: ChallengePurpose) -> ChallengeToken | None:
    """Return the token of this purpose that `text` is, or None."""
    return parse_row_token(text, purpose.value)
