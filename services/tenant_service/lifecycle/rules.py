"""What a tenant may be called and how much it may have, judged before anything is written."""

from collections.abc import Mapping
from typing import Any, Final

from mis_http.free_json import KIB, size_of
from mis_tenancy.errors import ValidationFailed
from mis_tenancy.plans import PLANS, Feature, PlanName, plans_with
from mis_tenancy.slugs import is_reserved
from tenant_service.lifecycle.errors import FeatureNotInPlan, LimitExceedsPlan, SlugReserved

LIMITS: Final = {"max_users": "maxUsers", "max_storage": "maxStorage"}
_BRANDING: Final = Feature.CUSTOM_BRANDING.value
_LARGEST_SETTINGS: Final = 16 * KIB


def judge_names(names: Mapping[str, str]) -> None:
    """Raise SlugReserved where a field of `names` has a value that nobody can be called by."""
    for field, name in names.items():
        if is_reserved(name):
            raise SlugReserved(field)


def judge_limits(plan: PlanName, limits: Mapping[str, int | None]) -> None:
    """Raise LimitExceedsPlan for a limit above the plan's; the custom plan takes any."""
    if plan is PlanName.CUSTOM:
        return
    for name, wanted in limits.items():
        allowed = getattr(PLANS[plan], name)
        if not is_within(wanted, allowed):
            raise LimitExceedsPlan(
                LIMITS[name], limit=LIMITS[name], plan=plan.value, allowed=allowed, requested=wanted
            )


def judge_features(plan: PlanName, features: Mapping[Feature, bool]) -> None:
    """Raise FeatureNotInPlan for a feature that the plan has not; the custom plan takes any."""
    for feature, wanted in features.items():
        if wanted and plan is not PlanName.CUSTOM and feature not in PLANS[plan].features:
            raise FeatureNotInPlan(
                f"features.{feature.value}",
                feature=feature.value,
                plan=plan.value,
                availableIn=plans_with(feature),
            )


def is_within(value: int | None, bound: int | None) -> bool:
    """Return whether a limit is no larger than another; null is the largest."""
    return bound is None or (value is not None and value <= bound)


def wanted_features(features: Mapping[Feature, bool], settings: Mapping[str, Any]) -> dict[Feature, bool]:
    """Return the features asked for, with the one that `settings.custom_branding` sets.

    Raise ValidationFailed where that is no boolean or contradicts `features`.
    """
    branding = settings.get(_BRANDING)
    if branding is None:
        return dict(features)
    if not isinstance(branding, bool):
        raise _unfit("settings.custom_branding", "bool_type", "takes true or false")
    if features.get(Feature.CUSTOM_BRANDING, branding) is not branding:
        raise _unfit("settings.custom_branding", "contradiction", "contradicts features.custom_branding")
    return {**features, Feature.CUSTOM_BRANDING: branding}


def shown_settings(settings: Mapping[str, Any], features: Mapping[Feature, bool]) -> dict[str, Any]:
    """Return the settings with the feature in force where they speak of it; it may have changed since."""
    if _BRANDING not in settings:
        return dict(settings)
    return {**settings, _BRANDING: features[Feature.CUSTOM_BRANDING]}


def patched(settings: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` after a merge patch (RFC 7396); raise ValidationFailed where they grow too large."""
    result = _merged(settings, patch)
    if size_of(result) > _LARGEST_SETTINGS:
        raise _unfit("settings", "json_too_large", f"takes at most {_LARGEST_SETTINGS} bytes of JSON in all")
    return result


def _merged(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value) if isinstance(value, Mapping) else value
    return result


def _unfit(field: str, code: str, message: str) -> ValidationFailed:
    return ValidationFailed([{"field": field, "code": code, "message": message}])
