"""The refusals of a tenant's life, drawn as a tree.

ProblemError
├── FieldRefused 422
│   ├── SlugReserved
│   └── LimitExceedsPlan · FeatureNotInPlan
├── NameTaken 409
│   └── SlugTaken · SubdomainTaken
├── TooManyNames 409
└── TenantStateConflict 409
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class SlugReserved(FieldRefused):
    """The platform keeps this name for itself."""

    code = "slug_reserved"
    detail = "The platform keeps this name for itself. Choose another one."


class LimitExceedsPlan(FieldRefused):
    """A limit is above what the plan allows."""

    code = "limit_exceeds_plan"
    detail = "The plan allows less. Lower the limit, choose a larger plan, or the custom plan."


class FeatureNotInPlan(FieldRefused):
    """A feature is asked for that the plan does not include."""

    code = "feature_not_in_plan"
    detail = "The plan does not include this feature. Choose a plan in `availableIn`, or the custom plan."


class NameTaken(ProblemError):
    """Another tenant has, or lately had, this name."""

    status = 409


class SlugTaken(NameTaken):
    """The slug is another tenant's slug or subdomain, or was until lately."""

    code = "slug_taken"
    detail = "This slug is not free. A released name stays reserved for 90 days; choose another one."


class SubdomainTaken(NameTaken):
    """The subdomain is another tenant's slug or subdomain, or was until lately."""

    code = "subdomain_taken"
    detail = "This subdomain is not free. A released name stays reserved for 90 days; choose another one."


class TooManyNames(ProblemError):
    """The tenant has given up so many names lately that it may not give up another one."""

    status = 409
    code = "name_limit_exceeded"
    detail = (
        "A name that is given up stays reserved for 90 days, and this tenant has given up `limit` of them. "
        "Take one of them again, wait until `freeAt`, or ask an operator of the platform."
    )


class TenantStateConflict(ProblemError):
    """The tenant is not in a state from which this leads anywhere; `status` says which one it is in."""

    status = 409
    code = "tenant_state_conflict"
    detail = "The tenant's `tenantStatus` does not allow this. Read the tenant and decide anew."
