"""What an operator has lowered on purpose, which no change of plan undoes.

A word of his is a lowering or a grant by the plan that the tenant was on when he said it: a grant ends with
that plan, a lowering holds on all (docs/decisions/0013-an-operators-word.md).
"""

from typing import Any

from mis_tenancy.configuration import KNOWN
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from tenant_service.configuration.repository import operators_words
from tenant_service.plan_migration import repository
from tenant_service.plan_migration.assessment import is_lowered


async def lowered(session: TenantSession, plan: PlanName) -> dict[str, Any]:
    """Return the known keys that an operator has lowered, with his values; the tenant is on `plan`."""
    words = await operators_words(session, KNOWN)
    if not words:
        return {}
    left = await repository.plans_left(session)
    found = {}
    for key, word in words.items():
        said_on = next((before for until, before in left if until > word.said_at), plan)
        if is_lowered(key, word.value, said_on):
            found[key] = word.value
    return found
