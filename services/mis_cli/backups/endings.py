"""What a restoration ends besides sessions and links, as SQL of the owner's.

Work whose job is not in the backup would count as under way for ever, and nothing else of its kind could
begin. And a backup that is restored to be looked at, or to rehearse, must not speak to anybody: its webhooks
and what it has queued are those of the living deployment.
"""

from typing import Final
from uuid import UUID

_ERROR: Final = (
    """'{"code": "interrupted", "detail": "A backup was restored meanwhile. Start it again."}'::jsonb"""
)
_UNREAD: Final = """'[{"name": "document_read", "passed": false,
                       "detail": "The document could not be looked at. Send it again."}]'::jsonb"""

_ABANDONED: Final = (
    f"update public.exports set status = 'failed', completed_at = now(), error = {_ERROR} "  # noqa: S608  # our text
    "where status in ('queued', 'running')",
    f"update public.imports set status = 'failed', completed_at = now(), error = {_ERROR} "  # noqa: S608  # our text
    "where status in ('receiving', 'queued', 'running')",
    f"update public.verifications set status = 'failed', completed_at = now(), checks = {_UNREAD} "  # noqa: S608  # our text
    "where status = 'pending'",
    "update public.plan_migrations set status = 'failed', finished_at = now() where status = 'running'",
)
_SILENCED: Final = (
    "update public.webhooks set status = 'disabled', disabled_reason = 'requested', version = version + 1 "
    "where status = 'active'",
    "update public.webhook_deliveries set status = 'failed', next_attempt_at = null where status = 'pending'",
    "update public.webhook_lanes set due_at = null where due_at is not null",
)
_WHOLE: Final = (
    # A deletion that is due would be carried out under the eyes of whoever looks.
    "update public.tenants set status_before = null, purge_at = null, purging_since = null, status = case "
    "status when 'pending_deletion' then coalesce(status_before, 'active') else 'active' end "
    "where status in ('pending_deletion', 'maintenance', 'provisioning')",
    "delete from public.outbox",
    "delete from public.jobs where state in ('queued', 'running')",
)


def abandoned(tenant_id: UUID) -> list[str]:
    """Return the statements that end the tenant's work whose jobs are not in its backup."""
    return _of(_ABANDONED, tenant_id)


def silenced(tenant_id: UUID | None) -> list[str]:
    """Return the statements after which nothing restored speaks to anybody: of one tenant, or of all."""
    return _of(_SILENCED, tenant_id) if tenant_id else [*_ABANDONED, *_SILENCED, *_WHOLE]


def _of(statements: tuple[str, ...], tenant_id: UUID) -> list[str]:
    return [f"{statement} and tenant_id = '{tenant_id}'" for statement in statements]
