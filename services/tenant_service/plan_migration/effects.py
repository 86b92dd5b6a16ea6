"""What a migration changes, as JSON: a dry run shows it, and a migration keeps it."""

from collections.abc import Sequence
from typing import Any

from tenant_service.billing.amounts import CURRENCY, Credit, bill
from tenant_service.billing.changes import lines_of
from tenant_service.billing.proration import Change
from tenant_service.plan_migration.assessment import Assessment, Limit


def effects_of(
    assessment: Assessment, change: Change, credits: Sequence[Credit], overage: int
) -> dict[str, Any]:
    """Return the effects.

    `credits` are those that the subscription has before the change, `overage` what a period costs beside the
    plan for what is above its limits.
    """
    return {
        "limits": shown(assessment.limits),
        "featuresGained": [feature.value for feature in assessment.gained],
        "featuresLost": [feature.value for feature in assessment.lost],
        "configKeysChanged": [
            {"configKey": one.key, "old": one.old, "new": one.new} for one in assessment.changed
        ],
        "overridesKept": _values(assessment.kept),
        "overridesDropped": _values(assessment.dropped),
        "proration": _proration(change, credits) | {"overage": overage},
    }


def shown(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    """Return limits as JSON."""
    return [
        {"limit": one.limit, "used": one.used, "old": one.old, "new": one.new, "over": one.over}
        for one in limits
    ]


def _values(overrides: Any) -> list[dict[str, Any]]:
    return [{"configKey": key, "configValue": overrides[key]} for key in sorted(overrides)]


def _proration(change: Change, credits: Sequence[Credit]) -> dict[str, Any]:
    """Return what the change costs: `dueNow` is what it would be invoiced with at once."""
    made = bill(lines_of(change) if change.net > 0 else [], credits)
    left = sum(credit.amount for credit in made.credits)
    return {
        "currency": CURRENCY,
        "monthlyPrice": change.after.price,
        "charge": change.charge,
        "unused": change.unused,
        "net": change.net,
        "dueNow": made.total,
        "credit": left + max(0, -change.net),
    }
