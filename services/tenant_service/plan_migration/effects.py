"""What a migration changes, as JSON: a dry run shows it, and a migration keeps it."""

from collections.abc import Sequence
from typing import Any

from tenant_service.billing.amounts import CURRENCY, Bill, Credit, bill
from tenant_service.billing.changes import Change, credit_of, lines_of
from tenant_service.plan_migration.assessment import Assessment, Limit


def effects_of(assessment: Assessment, change: Change, credits: Sequence[Credit]) -> dict[str, Any]:
    """Return the effects; `credits` are those that the subscription has before the change."""
    return {
        "limits": shown(assessment.limits),
        "featuresGained": [feature.value for feature in assessment.gained],
        "featuresLost": [feature.value for feature in assessment.lost],
        "configKeysChanged": [
            {"configKey": one.key, "old": one.old, "new": one.new} for one in assessment.changed
        ],
        "overridesKept": _values(assessment.kept),
        "overridesDropped": _values(assessment.dropped),
        "proration": _proration(change, credits),
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
    is_billed = change.net > 0
    made = bill(lines_of(change), credits) if is_billed else Bill((), (*credits, credit_of(change)))
    return {
        "currency": CURRENCY,
        "monthlyPrice": change.after.price,
        "charge": change.charge,
        "unused": change.unused,
        "net": change.net,
        "dueNow": made.total,
        "credit": sum(credit.amount for credit in made.credits),
        "overage": change.after.overage,
    }
