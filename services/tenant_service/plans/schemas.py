"""Plans on the wire."""

from typing import Any, Self

from pydantic import Field, StrictInt

from mis_http.schemas import RequestBody, ResponseBody
from mis_tenancy.plans import Feature, PlanName
from tenant_service.plans.service import Offer


class PlanOut(ResponseBody):
    """A plan: `maxStorage` in GiB, `monthlyPrice` in US cents; null is unlimited, or a price by contract."""

    plan: PlanName
    max_users: int | None
    max_storage: int | None
    monthly_price: int | None
    features: dict[Feature, bool]
    configuration: dict[str, Any]

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """Return the plan as it is shown."""
        plan = offer.plan
        return cls(
            plan=plan.name,
            max_users=plan.max_users,
            max_storage=plan.max_storage,
            monthly_price=offer.monthly_price,
            features={feature: feature in plan.features for feature in Feature},
            configuration=dict(plan.configuration),
        )


class PlanPatch(RequestBody):
    """What of a plan can be changed while tenants are on it."""

    monthly_price: StrictInt = Field(
        ge=0, le=10**9, description="US cents, for periods that start from now on."
    )
