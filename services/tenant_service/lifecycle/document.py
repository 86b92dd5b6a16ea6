"""A tenant as its readers see it: its row, its settings, and its features out of the configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mis_tenancy.configuration import effective
from mis_tenancy.plans import Feature, PlanName
from mis_tenancy.tables import ConfigurationRow, TenantRow

FEATURE_KEYS = tuple(f"features.{feature.value}" for feature in Feature)


@dataclass(frozen=True, slots=True)
class TenantDocument:
    """One tenant, whole; its version is the row's.

    `owner_invitation` is the link for a first owner without a password; only who makes the tenant sees it.
    """

    row: TenantRow
    settings: Mapping[str, Any]
    features: Mapping[Feature, bool]
    owner_invitation: str | None = field(default=None, repr=False)


def features_of(plan: PlanName, overrides: Iterable[ConfigurationRow]) -> dict[Feature, bool]:
    """Return which features are in force on `plan` with the tenant's own values."""
    configuration = effective(plan, {row.config_key: row.config_value for row in overrides})
    return {feature: configuration[f"features.{feature.value}"] is True for feature in Feature}
