"""Who a page's browser is, where a page changes how they sign in."""

from typing import Annotated

from fastapi import Depends, Request

from auth_service.authority import AuthorityOf
from auth_service.mfa.proofs import Oneself
from auth_service.passkeys.dependencies import ArrivalOf
from auth_service.passkeys.registering import Registration
from auth_service.passkeys.service import OwnPasskeys
from auth_service.sign_in.visits import BrowserOf, VisitorOf
from mis_tenancy.errors import AuthenticationRequired
from mis_tenancy.fastapi import CurrentTenant, use_feature
from mis_tenancy.plans import Feature
from mis_tenancy.tenant import Principal, PrincipalKind


async def keeper(
    request: Request, authority: AuthorityOf, tenant: CurrentTenant, visitor: VisitorOf, browser: BrowserOf
) -> Oneself:
    """Return the member whose session the cookie is.

    Raise AuthenticationRequired where it is nobody's, FeatureNotAvailable where the tenant has no passkeys.
    """
    if visitor is None:
        raise AuthenticationRequired
    use_feature(request, tenant, Feature.BIOMETRIC_AUTH)
    principal = Principal(
        visitor.id,
        PrincipalKind.MEMBER,
        tenant_id=tenant.id,
        role=visitor.role,
        session_id=visitor.session_id,
    )
    return Oneself(authority, principal, tenant, browser)


Keeper = Annotated[Oneself, Depends(keeper)]


async def registration(own: Keeper, came_to: ArrivalOf) -> Registration:
    """Return how the visitor registers passkeys."""
    return Registration(own, came_to)


async def own_passkeys(own: Keeper) -> OwnPasskeys:
    """Return the visitor's passkeys."""
    return OwnPasskeys(own)


RegistrationOf = Annotated[Registration, Depends(registration)]
OwnPasskeysOf = Annotated[OwnPasskeys, Depends(own_passkeys)]
