"""Where a user leaves traces: every table whose rows are theirs and go with them, by the name of the report.

Whoever adds a table that refers to users adds a line here; a test compares the list with the foreign keys.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import InstrumentedAttribute

from mis_models.accounts import SessionRow, UserTermRow
from mis_models.api_keys import ApiKeyRow
from mis_models.factors import ChallengeRow, PasskeyRow, RecoveryCodeRow, TotpFactorRow
from mis_models.links import AccountTokenRow, InvitationRow
from mis_models.sso import SsoIdentityRow
from mis_models.verifications import VerificationRow


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows that go with the user whom `column` names."""

    kind: str
    column: InstrumentedAttribute[Any]


TRACES: Final = (
    Trace("sessions", SessionRow.user_id),
    Trace("searchTerms", UserTermRow.user_id),
    Trace("accountLinks", AccountTokenRow.user_id),
    Trace("ownInvitations", InvitationRow.user_id),
    Trace("apiKeys", ApiKeyRow.created_by),
    Trace("totpFactors", TotpFactorRow.user_id),
    Trace("recoveryCodes", RecoveryCodeRow.user_id),
    Trace("passkeys", PasskeyRow.user_id),
    Trace("signInIdentities", SsoIdentityRow.user_id),
    Trace("verifications", VerificationRow.user_id),
    Trace("signInChallenges", ChallengeRow.user_id),
)
