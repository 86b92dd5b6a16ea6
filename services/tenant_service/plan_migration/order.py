"""What is asked for: the plan, when, and what if the tenant is too large for it; and who asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from mis_models.plan_migrations import PlanMigrationRow
from mis_models.platform import PlatformAuditRow
from mis_tenancy.audit_changes import record_change, without_personal_values
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tenant import PrincipalKind
from tenant_service.platform_trail.carrying import carry


class EffectiveAt(StrEnum):
    """When the change takes place."""

    NOW = "now"
    PERIOD_END = "period_end"


class OnOverLimit(StrEnum):
    """What becomes of a change that leaves the tenant above a limit."""

    BLOCK = "block"
    FREEZE = "freeze"


class Status(StrEnum):
    """How a migration stands."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Order:
    """A change of plan as it is asked for; with `downtime` the tenant is in maintenance meanwhile.

    `mark` tells this order from all others, where it may be given again and is to be carried out once.
    """

    target: PlanName
    downtime: bool = False
    effective_at: EffectiveAt = EffectiveAt.NOW
    on_over_limit: OnOverLimit = OnOverLimit.BLOCK
    mark: bytes | None = None


class Actor(Protocol):
    """Who asks for a change and answers for it in the trail; a request's `Caller` is one."""

    @property
    def id(self) -> UUID:
        """The id that logs name the actor by."""
        ...

    @property
    def kind(self) -> str:
        """What logs call one of the actor's kind."""
        ...

    @property
    def is_operator(self) -> bool:
        """Whether the platform's staff asks."""
        ...

    def record(
        self, session: TenantSession, action: str, *, resource: str, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Add the change to the tenant's audit log and, where an operator asked for it, to the platform's."""
        ...


@dataclass(frozen=True, slots=True)
class Requester:
    """Whoever asked for a migration that the worker carries out; what he may do was judged then."""

    id: UUID
    kind: str
    is_operator: bool = True

    @classmethod
    def of(cls, row: PlanMigrationRow) -> "Requester":
        """Return who asked for the migration."""
        return cls(row.requested_by, row.requested_as)

    def record(
        self, session: TenantSession, action: str, *, resource: str, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Add the change to the tenant's audit log and, where an operator asked for it, to the platform's."""
        record_change(
            session, action=action, actor=self.id, actor_kind=self.kind, resource=resource, changes=changes
        )
        if self.kind == PrincipalKind.OPERATOR.value:
            shown = None if changes is None else without_personal_values(changes)
            row = PlatformAuditRow(
                id=new_id(),
                kind="change",
                actor=self.id,
                action=action,
                resource=resource,
                tenant_id=tenant_of(session),
                outcome="success",
                changes=shown,
            )
            carry(session, row)
