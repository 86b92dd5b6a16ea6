"""The refusals of a plan migration, drawn as a tree.

ProblemError
├── FieldRefused 422
│   └── EraseIsSeparate
├── MigrationNotFound 404
└── OverPlanLimits 409 · PlanUnchanged 409 · MigrationPending 409 · MigrationNotScheduled 409
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class EraseIsSeparate(FieldRefused):
    """A change of plan keeps all data."""

    code = "erase_is_separate"
    detail = "A change of plan deletes nothing. Leave `preserveData` out, and erase what is to go by itself."


class MigrationNotFound(ProblemError):
    """The tenant has no migration of that id."""

    status = 404
    code = "migration_not_found"
    detail = "This tenant has no such migration. GET …/migrations lists those it has."


class OverPlanLimits(ProblemError):
    """The tenant uses more than the new plan allows; `limits` names each."""

    status = 409
    code = "over_plan_limits"
    detail = (
        "The tenant uses more than the new plan allows; `limits` says of what. Reduce it, choose a larger "
        "plan, or ask for `onOverLimit: freeze`, which keeps everything and lets nothing be added."
    )


class PlanUnchanged(ProblemError):
    """The tenant is on that plan already."""

    status = 409
    code = "plan_unchanged"
    detail = "The tenant is on this plan already. Name another one."


class MigrationPending(ProblemError):
    """Another migration of the tenant waits or runs."""

    status = 409
    code = "migration_pending"
    detail = "Another migration of this tenant is scheduled or running. Cancel a scheduled one first."


class MigrationNotScheduled(ProblemError):
    """The migration is running or over."""

    status = 409
    code = "migration_not_scheduled"
    detail = "Only a scheduled migration can be canceled. Its `migrationStatus` says how it stands."
