"""The plan table: what each plan allows, includes and configures, as data.

Limits are the tenant's ceiling when nothing else is set, features name what an endpoint may ask for, and
`configuration` is the middle layer of default < plan < tenant. `None` is "unlimited" throughout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

GIB: Final = 2**30


class PlanName(StrEnum):
    """The plans a tenant can be on, from the smallest to the negotiated one."""

    BASIC = "basic"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"
    CUSTOM = "custom"


class Feature(StrEnum):
    """What a plan may include beyond its limits; the configuration key is `features.<name>`."""

    BIOMETRIC_AUTH = "biometric_auth"
    CUSTOM_BRANDING = "custom_branding"
    AI_VERIFICATION = "ai_verification"
    ADVANCED_ANALYTICS = "advanced_analytics"
    PRIORITY_SUPPORT = "priority_support"


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan: `max_storage` in GiB, `monthly_price` in US cents (`None` where a contract sets it)."""

    name: PlanName
    max_users: int | None
    max_storage: int | None
    monthly_price: int | None
    features: frozenset[Feature]
    configuration: Mapping[str, Any]


def _password_policy(length: int, special: bool) -> dict[str, Any]:
    return {
        "minLength": length,
        "requireUppercase": True,
        "requireLowercase": True,
        "requireNumbers": True,
        "requireSpecialChars": special,
        "policyMode": "composition",
    }


def _plan(
    name: PlanName,
    *,
    users: int | None,
    storage: int | None,
    price: int | None,
    features: frozenset[Feature],
    daily: int | None,
    burst: int,
    session_timeout: int,
    upload_gib: int,
    password_policy: dict[str, Any],
) -> Plan:
    configuration = {
        "security.password_policy": password_policy,
        "session.timeout": session_timeout,
        "file_upload.max_size": upload_gib * GIB,
        "api.rate_limit": daily,
        "api.burst_limit": burst,
    } | {f"features.{feature}": feature in features for feature in Feature}
    return Plan(name, users, storage, price, features, MappingProxyType(configuration))


_PREMIUM_FEATURES = frozenset({Feature.BIOMETRIC_AUTH, Feature.CUSTOM_BRANDING})
_ALL_FEATURES = frozenset(Feature)

PLANS: Final[Mapping[PlanName, Plan]] = MappingProxyType(
    {
        PlanName.BASIC: _plan(
            PlanName.BASIC,
            users=100,
            storage=10,
            price=2_900,
            features=frozenset(),
            daily=1_000,
            burst=20,
            session_timeout=3_600,
            upload_gib=10,
            password_policy=_password_policy(8, special=False),
        ),
        PlanName.PREMIUM: _plan(
            PlanName.PREMIUM,
            users=1_000,
            storage=100,
            price=29_900,
            features=_PREMIUM_FEATURES,
            daily=10_000,
            burst=100,
            session_timeout=7_200,
            upload_gib=100,
            password_policy=_password_policy(10, special=True),
        ),
        PlanName.ENTERPRISE: _plan(
            PlanName.ENTERPRISE,
            users=10_000,
            storage=1_000,
            price=299_900,
            features=_ALL_FEATURES,
            daily=100_000,
            burst=500,
            session_timeout=14_400,
            upload_gib=1_000,
            password_policy=_password_policy(12, special=True),
        ),
        PlanName.CUSTOM: _plan(
            PlanName.CUSTOM,
            users=None,
            storage=None,
            price=None,
            features=_ALL_FEATURES,
            daily=None,
            burst=1_000,
            session_timeout=14_400,
            upload_gib=1_000,
            password_policy=_password_policy(12, special=True),
        ),
    }
)

# How long a plan keeps its audit rows.
AUDIT_RETENTION_DAYS: Final[Mapping[PlanName, int]] = MappingProxyType(
    {PlanName.BASIC: 90, PlanName.PREMIUM: 180, PlanName.ENTERPRISE: 365, PlanName.CUSTOM: 2_555}
)


def plans_with(feature: Feature) -> list[str]:
    """Return the names of the plans that include `feature`, smallest first."""
    return [plan.name.value for plan in PLANS.values() if feature in plan.features]
