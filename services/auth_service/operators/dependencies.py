"""What the operator routes are handed: an operator on the platform."""

from typing import Annotated

from fastapi import Depends

from mis_tenancy.access import is_platform_operator
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import CurrentPrincipal
from mis_tenancy.tenant import Principal
from mis_tenancy.tokens.claims import OPERATOR


async def operator_only(principal: CurrentPrincipal) -> Principal:
    """Return the caller; raise PermissionDenied unless it is an operator who acts in no tenant."""
    if not is_platform_operator(principal):
        raise PermissionDenied("Only operators of the platform may do this.", required=OPERATOR)
    return principal


OperatorOnly = Annotated[Principal, Depends(operator_only)]
