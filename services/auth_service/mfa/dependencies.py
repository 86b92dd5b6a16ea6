"""Who changes how they sign in, for the routes by which one does."""

from typing import Annotated

from fastapi import Depends

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.mfa.proofs import Oneself
from mis_tenancy.fastapi import Admitted, CurrentPrincipal


async def oneself(
    authority: AuthorityOf, principal: CurrentPrincipal, admitted: Admitted, caller: CallerOf
) -> Oneself:
    """Return the member who asks."""
    return Oneself(authority, principal, admitted.tenant, caller)


Own = Annotated[Oneself, Depends(oneself)]
