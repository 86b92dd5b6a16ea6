"""Bodies of the route by which an operator begins a reset."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from auth_service.login.schemas import EmailText
from mis_http.schemas import Moment, RequestBody, ResponseBody, Text


class MfaResetIn(RequestBody):
    """Whose second factor is lost, and how the operator made sure of that; tenant and owner read it."""

    tenant_id: UUID
    email: EmailText
    reason: Annotated[Text, Field(min_length=3, max_length=500)]


class MfaResetOut(ResponseBody):
    """A reset that has begun; until `takesEffectAt` whoever shows the second factor calls it off."""

    tenant_id: UUID
    takes_effect_at: Moment
