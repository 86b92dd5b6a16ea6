"""What a value must meet to become configuration: its key's type, and how far its setter may go.

Members move a key within two bounds: what the plan says, and what an operator has said of it last. So they
may take back what they lowered themselves, and not what an operator lowered on purpose
(docs/decisions/0013-an-operators-word.md).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mis_tenancy.configuration import KNOWN, Rule, is_unknown, merged, plan_layer
from mis_tenancy.errors import ProblemError
from mis_tenancy.plans import PlanName
from mis_tenancy.sealed_keys import SEALED
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


_OPERATORS_WORD: Final = (
    "An operator of the platform has set this key; only an operator may go beyond that value."
)


@dataclass(frozen=True, slots=True)
class Word:
    """A value that an operator has given a key, and when he did."""

    value: Any
    said_at: datetime


def judge(key: str, value: Any, *, is_encrypted: bool) -> None:
    """Raise the refusal of a value that `key` does not take, whoever sets it."""
    if key in SEALED:
        _judge_sealed(key, value, is_encrypted=is_encrypted)
        return
    known = KNOWN.get(key)
    if known is None:
        # In another spelling it would read like one of ours and do nothing.
        if is_unknown(key):
            raise ConfigKeyUnknown("configKey")
        return
    wrong = known.check(value)
    if wrong is not None:
        raise ConfigInvalid("configValue", f"{key} {wrong}.")
    if is_encrypted:
        raise ConfigInvalid(
            "isEncrypted", f"{key} is read by every service on every request; it stays readable."
        )


def _judge_sealed(key: str, value: Any, *, is_encrypted: bool) -> None:
    if not is_encrypted:
        raise ConfigInvalid("isEncrypted", f"{key} holds a secret. Set isEncrypted to true.")
    if (wrong := SEALED[key](value)) is not None:
        raise ConfigInvalid("configValue", f"{key} {wrong}.")


def hold_members(key: str, value: Any, plan: PlanName, word: Word | None) -> None:
    """Raise the refusal of a value that lies beyond a member's bounds; `word` is the operator's, if any."""
    known = KNOWN.get(key)
    if known is None:
        return
    base = plan_layer(plan)[key]
    # What counts is what would be in force: of an object, the plan fills what is left out.
    wanted = merged(base, value)
    if not known.allows(wanted, base):
        raise _TOO_FAR[known.rule](configKey=key, planValue=base)
    if word is not None and not known.allows(wanted, said := merged(base, word.value)):
        raise _TOO_FAR[known.rule](_OPERATORS_WORD, configKey=key, planValue=base, operatorValue=said)


def may_have(key: str, value: Any, plan: PlanName, word: Word | None) -> bool:
    """Return whether the value lies within a member's bounds."""
    try:
        hold_members(key, value, plan, word)
    except ProblemError:
        return False
    return True
