"""Configuration in layers, default < plan < tenant, with the known keys typed.

A known key says what it takes, how strict a value is, and who may loosen it; objects merge field by field, so
a tenant that sets one rule of its password policy keeps the others of its plan.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from mis_tenancy import json_schemas
from mis_tenancy.plans import GIB, PLANS, Feature, PlanName
from mis_tenancy.sealed_keys import SEALED

NAMESPACES: Final = (
    "security.",
    "session.",
    "api.",
    "file_upload.",
    "features.",
    "branding.",
    "sso.",
    "users.",
)

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "session.absolute_timeout": 30 * 24 * 3600,
        "file_upload.allowed_types": ["*/*"],
        # The schema that takes everything.
        "users.attributes_schema": {},
        "users.verification_retention_days": 30,
    }
)


class Rule(StrEnum):
    """How far a tenant's own members may move a key away from what its plan says."""

    TIGHTEN = "tighten"
    WITHIN_PLAN = "within_plan"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One typed key: `check` returns what is wrong or None, `allows` compares with the plan's."""

    rule: Rule
    check: Callable[[Any], str | None]
    allows: Callable[[Any, Any], bool]


def _whole(low: int, high: int, unit: str, *, nullable: bool = False) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value is None and nullable:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            return f"takes a whole number of {unit} from {low} to {high}" + (" or null" if nullable else "")
        return None

    return check


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "takes true or false"


_POLICY_FLAGS: Final = ("requireUppercase", "requireLowercase", "requireNumbers", "requireSpecialChars")
_POLICY_MODES: Final = ("composition", "nist")
_LENGTH: Final = _whole(8, 128, "characters")


def _password_policy(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "takes an object"
    for field, part in value.items():
        if field == "minLength":
            wrong = _LENGTH(part)
        elif field in _POLICY_FLAGS:
            wrong = _flag(part)
        elif field == "policyMode":
            wrong = None if part in _POLICY_MODES else f"takes one of {', '.join(_POLICY_MODES)}"
        else:
            wrong = f"is not a field of it; the fields are minLength, {', '.join(_POLICY_FLAGS)}, policyMode"
        if wrong is not None:
            return f"{field} {wrong}"
    return None


_MEDIA_RANGE: Final = re.compile(r"(?:\*|[A-Za-z0-9!#$&^_.+-]{1,64})/(?:\*|[A-Za-z0-9!#$&^_.+-]{1,100})")
_MOST_RANGES: Final = 50


def _media_ranges(value: Any) -> str | None:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_RANGES:
        return f"takes a list of 1 to {_MOST_RANGES} media types"
    if not all(isinstance(one, str) and _MEDIA_RANGE.fullmatch(one) for one in value):
        return "takes media types such as image/png, image/* or */*"
    return None


def _at_most(value: Any, plan: Any) -> bool:
    """Compare limits of which null is the largest."""
    return plan is None or (value is not None and value <= plan)


# Length stands in for composition rules from here on (NIST SP 800-63B-4 §3.1.1.2: 15 without a second
# factor).
_NIST_LENGTH: Final = 15


def _policy_at_least(value: Any, plan: Any) -> bool:
    length = value.get("minLength", plan["minLength"])
    if value.get("policyMode", plan["policyMode"]) != plan["policyMode"] and length < _NIST_LENGTH:
        return False
    return length >= plan["minLength"] and all(
        value.get(flag, plan[flag]) or not plan[flag] for flag in _POLICY_FLAGS
    )


_YEAR: Final = 366 * 24 * 3600
_BIGGEST: Final = 2**53


def _always(value: Any, plan: Any) -> bool:
    return True


KNOWN: Final[Mapping[str, KnownKey]] = MappingProxyType(
    {
        "security.password_policy": KnownKey(Rule.TIGHTEN, _password_policy, _policy_at_least),
        "session.timeout": KnownKey(Rule.TIGHTEN, _whole(60, _YEAR, "seconds"), _at_most),
        "session.absolute_timeout": KnownKey(Rule.TIGHTEN, _whole(300, _YEAR, "seconds"), _at_most),
        "api.rate_limit": KnownKey(
            Rule.WITHIN_PLAN, _whole(1, _BIGGEST, "requests a day", nullable=True), _at_most
        ),
        "api.burst_limit": KnownKey(Rule.WITHIN_PLAN, _whole(1, 100_000, "requests a second"), _at_most),
        "file_upload.max_size": KnownKey(Rule.WITHIN_PLAN, _whole(1, 10_000 * GIB, "bytes"), _at_most),
        "file_upload.allowed_types": KnownKey(Rule.OWN, _media_ranges, _always),
        "users.attributes_schema": KnownKey(Rule.OWN, json_schemas.wrong_with, _always),
        "users.verification_retention_days": KnownKey(Rule.OWN, _whole(1, 3_650, "days"), _always),
    }
    | {
        f"features.{feature}": KnownKey(Rule.WITHIN_PLAN, _flag, lambda value, plan: plan or not value)
        for feature in Feature
    }
)


def plan_layer(plan: PlanName) -> dict[str, Any]:
    """Return default < plan, without any tenant's own values."""
    return {**DEFAULTS, **PLANS[plan].configuration}


def merged(base: Any, override: Any) -> Any:
    """Return `override` over `base`: objects field by field, anything else as a whole."""
    if isinstance(base, Mapping) and isinstance(override, Mapping):
        return {**base, **{field: merged(base.get(field), value) for field, value in override.items()}}
    return override


def effective(plan: PlanName, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return every key's value on `plan` with a tenant's `overrides`; frozen, so it can be shared."""
    layer = plan_layer(plan)
    return MappingProxyType(layer | {key: merged(layer.get(key), value) for key, value in overrides.items()})


def is_unknown(key: str) -> bool:
    """Return whether `key` claims a known namespace, in whatever spelling, without being one of its keys."""
    return key.lower().startswith(NAMESPACES) and key not in KNOWN and key not in SEALED
