"""A tenant's claim when its domain changes, and what its members are warned of about it."""

from datetime import datetime
from typing import Final

from mis_tenancy.session import TenantSession
from tenant_service.alerts.book import resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.domains import repository

_SUBJECT: Final = "domain.proof"
WARNING: Final = Cause(
    AlertKind.SECURITY,
    _SUBJECT,
    Severity.WARNING,
    "The TXT record that proves the tenant's domain is gone. Publish it again: three days after it was first "
    "missed the domain stops resolving.",
)


async def change_claim(session: TenantSession, domain: str | None, now: datetime) -> None:
    """Let the tenant, whose row is locked, claim `domain` or none; what the old claim proved is void."""
    await repository.renew_claim(session, domain, now)
    await end_warning(session)


async def end_warning(session: TenantSession) -> None:
    """End the warning about a proof that is gone."""
    await resolve_alert(session, AlertKind.SECURITY, _SUBJECT)
