"""The refusals of domains, drawn as a tree.

ProblemError
├── FieldRefused 422
│   └── DomainRefused
├── DomainTaken 409
├── DomainMissing 409
├── DomainUnproven 409
├── DomainLookupFailed 409
└── DomainUnknown 404
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class DomainRefused(FieldRefused):
    """The domain cannot be a tenant's own."""

    code = "domain_refused"
    detail = (
        "This domain is the platform's. Name a domain of your own, or leave it out and use the subdomain."
    )


class DomainTaken(ProblemError):
    """Another tenant has proven that the domain is its own."""

    status = 409
    code = "domain_taken"
    detail = (
        "Another tenant has proven that this domain is its own. Choose another one, or let that tenant give "
        "it up first."
    )


class DomainMissing(ProblemError):
    """There is nothing to prove: the tenant claims no domain."""

    status = 409
    code = "domain_missing"
    detail = "This tenant claims no domain. Set `domain` on the tenant first."


class DomainUnproven(ProblemError):
    """The domain's DNS does not hold what proves the claim; `record` says what must be there."""

    status = 409
    code = "domain_unproven"
    detail = (
        "The domain's DNS does not hold the TXT record in `record`. Publish it at exactly that name, no "
        "alias, wait until the name servers answer with it, and verify again."
    )


class DomainLookupFailed(ProblemError):
    """The name servers gave no answer to judge by."""

    status = 409
    code = "domain_lookup_failed"
    detail = "The domain's name servers give no usable answer. See to them, or verify again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "30"})


class DomainUnknown(ProblemError):
    """The host is no living tenant's."""

    status = 404
    code = "domain_unknown"
    detail = "No tenant is served at this host."
