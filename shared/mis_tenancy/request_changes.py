"""The audit row of a change made by the caller of a request."""

from collections.abc import Mapping
from typing import Any

from mis_tenancy.audit_changes import record_change
from mis_tenancy.errors import AuthenticationRequired
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Principal


def principal_of(admitted: Admission) -> Principal:
    """Return the caller; raise AuthenticationRequired for an anonymous one."""
    if admitted.principal is None:
        raise AuthenticationRequired
    return admitted.principal


def record(
    session: TenantSession,
    by: Admission,
    action: str,
    *,
    resource: str,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write down `action` in the change's own transaction; see `record_change` for what is left out."""
    principal = principal_of(by)
    record_change(
        session,
        action=action,
        actor=principal.id,
        actor_kind=principal.kind.value,
        resource=resource,
        changes=changes,
        ip=by.client_address,
        request_id=by.request_id,
        sources=[source.kind.value for source in by.sources],
    )
