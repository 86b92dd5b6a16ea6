"""What a change of plan means to a tenant, worked out from values alone, so that a dry run and a run agree.

A tenant's own value of a configuration key stays where it was a choice within the old plan and is one within
the new: what a member may set on both. A value beyond the old plan was an operator's grant for that plan and
ends with it; so does one that the new plan does not allow. What an operator has lowered below the new plan
holds there too, also where it had nothing to say on the old one. Limits on users and storage become the new
plan's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mis_tenancy.configuration import KNOWN, effective, merged, plan_layer
from mis_tenancy.plans import GIB, PLANS, Feature, PlanName

_RATES = ("api.rate_limit", "api.burst_limit", "file_upload.max_size")


@dataclass(frozen=True, slots=True)
class Situation:
    """A tenant before the change: its limits in force, what it holds, and its own values of known keys.

    `users` counts pending invitations too, `max_storage` is in GiB, `requests_today` is of the UTC day;
    `lowered` is what an operator has lowered, on whatever plan.
    """

    plan: PlanName
    max_users: int | None
    max_storage: int | None
    users: int
    storage_bytes: int
    requests_today: int
    overrides: Mapping[str, Any]
    lowered: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit before and after, null being unlimited; `used` is None for what is not held but flows."""

    limit: str
    used: int | None
    old: int | None
    new: int | None

    @property
    def over(self) -> bool:
        """Whether the tenant uses more than the new limit."""
        return self.used is not None and self.new is not None and self.used > self.new


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A configuration key whose value in force changes."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Assessment:
    """What changes: limits, features, configuration, and which of the tenant's own values stay."""

    target: PlanName
    limits: tuple[Limit, ...]
    gained: tuple[Feature, ...]
    lost: tuple[Feature, ...]
    changed: tuple[KeyChange, ...]
    kept: Mapping[str, Any]
    dropped: Mapping[str, Any]

    @property
    def over(self) -> tuple[Limit, ...]:
        """The limits that the tenant is above."""
        return tuple(limit for limit in self.limits if limit.over)


def assess(now: Situation, target: PlanName) -> Assessment:
    """Return what moving to `target` means."""
    kept = {key: value for key, value in now.lowered.items() if is_lowered(key, value, target)}
    kept |= {key: value for key, value in now.overrides.items() if _stays(key, value, now.plan, target)}
    before, after = effective(now.plan, now.overrides), effective(target, kept)
    features = {feature: f"features.{feature}" for feature in Feature}
    return Assessment(
        target=target,
        limits=_limits(now, PLANS[target], before, after),
        gained=tuple(one for one, key in features.items() if after[key] and not before[key]),
        lost=tuple(one for one, key in features.items() if before[key] and not after[key]),
        changed=tuple(
            KeyChange(key, before[key], after[key]) for key in sorted(after) if before[key] != after[key]
        ),
        kept=kept,
        dropped={key: value for key, value in now.overrides.items() if key not in kept},
    )


def is_within(key: str, value: Any, plan: PlanName) -> bool:
    """Return whether a member may set the value on the plan."""
    base = plan_layer(plan)[key]
    return KNOWN[key].allows(merged(base, value), base)


def is_lowered(key: str, value: Any, plan: PlanName) -> bool:
    """Return whether the value is one that the plan allows, and less than what the plan says."""
    base = plan_layer(plan)[key]
    return is_within(key, value, plan) and not KNOWN[key].allows(base, merged(base, value))


def _stays(key: str, value: Any, old: PlanName, new: PlanName) -> bool:
    return is_within(key, value, old) and is_within(key, value, new)


def _limits(
    now: Situation, target: Any, before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[Limit, ...]:
    used = {"api.rate_limit": now.requests_today}
    return (
        Limit("users", now.users, now.max_users, target.max_users),
        Limit("storage", now.storage_bytes, _bytes(now.max_storage), _bytes(target.max_storage)),
        *(Limit(key, used.get(key), before[key], after[key]) for key in _RATES),
    )


def _bytes(gib: int | None) -> int | None:
    return None if gib is None else gib * GIB
