"""What the list of tenants can be narrowed by."""

from dataclasses import dataclass

from mis_tenancy.plans import PlanName
from mis_tenancy.tenant import TenantStatus


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants are asked for; `text` is looked for at the beginning of their names and words."""

    status: TenantStatus | None = None
    plan: PlanName | None = None
    text: str | None = None
