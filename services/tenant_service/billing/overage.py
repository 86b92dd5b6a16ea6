"""What a tenant pays that holds more than its plan allows, as it may after a frozen downgrade.

A unit above the limit costs what an included one does: the month's price divided by the limit, rounded up. It
is counted when a period begins and when the plan changes within it. A contract (plan custom) covers what its
tenant holds.
"""

from dataclasses import dataclass

from mis_tenancy.plans import GIB, Plan
from tenant_service.billing.amounts import Line


@dataclass(frozen=True, slots=True)
class Held:
    """What a tenant holds of what plans limit; pending invitations are users here."""

    users: int
    storage_bytes: int

    @property
    def storage(self) -> int:
        """GiB, the last one begun."""
        return -(-self.storage_bytes // GIB)


def overage(plan: Plan, price: int | None, held: Held) -> list[Line]:
    """Return a line for each limit of `plan` at `price` that `held` is above."""
    if plan.monthly_price is None or not price:
        return []
    lines = []
    for unit, limit, has in (
        ("Users", plan.max_users, held.users),
        ("Storage in GiB", plan.max_storage, held.storage),
    ):
        if limit is not None and has > limit:
            lines.append(Line(f"{unit} above the plan's {limit}", -(-price // limit), has - limit))
    return lines
