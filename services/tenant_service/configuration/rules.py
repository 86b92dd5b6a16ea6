"""What a value must meet to become configuration: its key's type, and how far its setter may go."""

from typing import Any, Final

from mis_tenancy.configuration import KNOWN, NAMESPACES, Rule, plan_layer
from mis_tenancy.errors import ProblemError
from mis_tenancy.plans import PlanName
from tenant_service.configuration.errors import (
    ConfigExceedsPlan,
    ConfigInvalid,
    ConfigKeyUnknown,
    ConfigMayOnlyTighten,
)

_TOO_FAR: Final[dict[Rule, type[ProblemError]]] = {
    Rule.TIGHTEN: ConfigMayOnlyTighten,
    Rule.WITHIN_PLAN: ConfigExceedsPlan,
}


def judge(key: str, value: Any, plan: PlanName, *, is_encrypted: bool, by_operator: bool) -> None:
    """Raise the refusal that applies to `key` = `value` on `plan`; operators may pass the plan's bounds."""
    known = KNOWN.get(key)
    if known is None:
        # In another spelling it would read like one of ours and do nothing.
        if key.lower().startswith(NAMESPACES):
            raise ConfigKeyUnknown("configKey")
        return
    wrong = known.check(value)
    if wrong is not None:
        raise ConfigInvalid("configValue", f"{key} {wrong}.")
    if is_encrypted:
        raise ConfigInvalid(
            "isEncrypted", f"{key} is read by every service on every request; it stays readable."
        )
    bound = plan_layer(plan)[key]
    if not by_operator and not known.allows(value, bound):
        raise _TOO_FAR[known.rule](configKey=key, planValue=bound)
