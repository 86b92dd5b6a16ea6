"""The statements of the platform's housekeeping."""

from typing import Final

from sqlalchemy import text

from mis_tenancy.session import PlatformSession

EXPIRED: Final = {
    # Every process has heard them, and every token they could concern has expired.
    "revocations": "delete from revocations where created_at < now() - interval '1 day'",
    "tenant_names": "delete from tenant_names where reserved_until < now()",
    "idempotency_keys": "delete from idempotency_keys where created_at < now() - interval '24 hours'",
    "platform_idempotency_keys": (
        "delete from platform_idempotency_keys where created_at < now() - interval '24 hours'"
    ),
    # Kept for a week past their end, so that the use of an old refresh token can still be told from an
    # invention.
    "sessions": "delete from sessions where expires_at < now() - interval '7 days'",
    "account_tokens": "delete from account_tokens where expires_at < now() - interval '1 day'",
    "challenges": "delete from challenges where expires_at < now()",
    "alerts": "delete from alerts where resolved_at < now() - interval '400 days'",
    # What was given up stays for a quarter of a year, in which an operator may still try it again.
    "jobs": (
        "delete from jobs where (state = 'done' and finished_at < now() - interval '7 days') "
        "or (state = 'dead' and finished_at < now() - interval '90 days')"
    ),
}


async def make_partitions(session: PlatformSession, months: int) -> None:
    """Make the partitions of audit_logs for this month and the coming `months`."""
    await session.execute(text("select ensure_audit_partitions(:months)"), {"months": months})


async def forget(session: PlatformSession, table: str) -> None:
    """Delete the rows of `table`, a name of EXPIRED, that have been kept long enough."""
    await session.execute(text(EXPIRED[table]))
