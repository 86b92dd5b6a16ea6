"""A sign-in of the last minutes as a proof of who asks, where a stolen access token must not be enough.

It stands between the services, because one changes how people sign in and another where their mail goes
(docs/decisions/0025-a-recent-sign-in-is-a-proof.md).
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from mis_models.accounts import SessionRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession

RECENT: Final = timedelta(minutes=10)


class ProofRequired(ProblemError):
    """The sign-in is too long ago for what was asked, and nothing proves anew who asks."""

    status = 403
    code = "proof_required"
    detail = (
        "Your sign-in is more than ten minutes ago. Send code, recoveryCode or password to show that it is "
        "you, or sign in again."
    )


async def is_recent(session: TenantSession, session_id: UUID) -> bool:
    """Return whether the session began so lately that this is a proof."""
    young = SessionRow.created_at > func.statement_timestamp() - RECENT
    found = select(SessionRow.id).where(SessionRow.id == session_id, young)
    return await session.scalar(found) is not None
