"""What the passkey routes are handed: who keeps passkeys, and where the request came to."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from auth_service.authority import AuthorityOf
from auth_service.errors import PasskeyNotFound
from auth_service.mfa.dependencies import Own
from auth_service.mfa.proofs import Oneself
from auth_service.passkeys.places import Arrival
from auth_service.passkeys.registering import Registration
from auth_service.passkeys.service import OwnPasskeys
from mis_tenancy.fastapi import use_feature
from mis_tenancy.plans import Feature


async def arrival(request: Request, authority: AuthorityOf) -> Arrival:
    """Return the host that the request came to."""
    return Arrival.of(request.scope, authority.tenancy.settings)


async def keeper(request: Request, own: Own) -> Oneself:
    """Return the member who asks; raise FeatureNotAvailable where their tenant has no passkeys."""
    use_feature(request, own.tenant, Feature.BIOMETRIC_AUTH)
    return own


ArrivalOf = Annotated[Arrival, Depends(arrival)]
Keeper = Annotated[Oneself, Depends(keeper)]


async def own_passkeys(own: Keeper) -> OwnPasskeys:
    """Return the caller's passkeys."""
    return OwnPasskeys(own)


async def registration(own: Keeper, came_to: ArrivalOf) -> Registration:
    """Return how the caller registers passkeys."""
    return Registration(own, came_to)


OwnPasskeysOf = Annotated[OwnPasskeys, Depends(own_passkeys)]
RegistrationOf = Annotated[Registration, Depends(registration)]


async def passkey_of_path(passkey_id: Annotated[str, Path(description="The passkey's id.")]) -> UUID:
    """Return the id in the path; what is no id names no passkey."""
    try:
        return UUID(passkey_id)
    except ValueError as error:
        raise PasskeyNotFound from error
