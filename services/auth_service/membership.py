"""Who may change how they sign in: a person of the tenant, with everything their own sign-in gives."""

from mis_tenancy.errors import PermissionDenied
from mis_tenancy.tenant import Principal, PrincipalKind, Tenant


def tenant_of_member(principal: Principal, tenant: Tenant | None) -> Tenant:
    """Return the tenant in which the caller is a member with a full token.

    Raise PermissionDenied for anybody else: an operator's visit leaves no key behind, a program has nothing
    to sign in with, and an ending tenant's owner has only what their token lists.
    """
    if tenant is None or principal.kind is not PrincipalKind.MEMBER or principal.restricted:
        raise PermissionDenied(
            "Only a member who has signed in as themselves may do this.", required="member"
        )
    return tenant
