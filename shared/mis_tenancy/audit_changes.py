"""The audit row of a change, which commits or rolls back with the change itself."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.identifiers import new_id
from mis_tenancy.session import tenant_of
from mis_tenancy.tables import AuditRow

# Fields whose values say who a person is. The log outlives an erasure, so it may only say that they changed.
PERSONAL_FIELDS: Final = frozenset(
    {
        *("name", "first_name", "last_name", "full_name", "display_name", "email", "email_norm", "phone"),
        *("address", "birthday", "ip", "user_agent", "avatar", "attributes"),
    }
)
# Fields whose values open doors; they belong in no log either.
SECRET_FIELDS: Final = frozenset(
    {
        *("password", "password_hash", "current_password", "new_password"),
        *("token", "refresh_token", "secret", "key"),
    }
)
_WITHHELD: Final = PERSONAL_FIELDS | SECRET_FIELDS
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def record_change(
    session: AsyncSession,
    *,
    action: str,
    actor: UUID | None,
    actor_kind: str | None,
    resource: str | None = None,
    changes: Mapping[str, Any] | None = None,
    outcome: str = "success",
    ip: str | None = None,
    user_agent: str | None = None,
    request_id: str | None = None,
    sources: Sequence[str] = (),
) -> UUID:
    """Add an audit row of kind `change` to the tenant's `session`, and return its id.

    `changes` maps each field to `{"old": …, "new": …}`. Of a personal or secret field, at any depth and in
    either spelling, only its name is kept, with an empty object. Raise TenantUnbound on a session without a
    tenant.
    """
    row = AuditRow(
        tenant_id=tenant_of(session),
        id=new_id(),
        kind="change",
        actor=actor,
        actor_kind=actor_kind,
        action=action,
        resource=resource,
        outcome=outcome,
        ip=ip,
        user_agent=user_agent,
        request_id=request_id,
        sources=list(sources),
        changes=None if changes is None else without_personal_values(changes),
    )
    session.add(row)
    return row.id


def without_personal_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` as plain JSON in which personal and secret fields carry no value."""
    plain: dict[str, Any] = _withheld(msgspec.to_builtins(dict(changes), str_keys=True))
    return plain


def _withheld(value: Any) -> Any:
    if isinstance(value, dict):
        return {field: {} if _is_withheld(field) else _withheld(inner) for field, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_withheld(inner) for inner in value]
    return value


def _is_withheld(field: str) -> bool:
    return _HUMP.sub("_", field).lower() in _WITHHELD
