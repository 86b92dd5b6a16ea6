"""A resolution on the wire."""

from typing import Literal
from uuid import UUID

from mis_http.schemas import ResponseBody
from mis_tenancy.tenant import SourceKind


class SourceOut(ResponseBody):
    """One source of the request; `tenantId` only where it names the caller's own tenant."""

    kind: SourceKind
    value: str
    tenant_id: UUID | None


class ResolutionOut(ResponseBody):
    """What a tenant route would have said to this request; `code` is its refusal."""

    verdict: Literal["accepted", "refused"]
    code: str | None
    sources: list[SourceOut]
