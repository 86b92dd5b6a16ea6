"""Who asks, and the trail that each change leaves in the tenant's audit log and in the platform's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import PlatformAuditRow
from mis_tenancy.access import is_platform_operator
from mis_tenancy.audit_changes import record_change, without_personal_values
from mis_tenancy.fastapi import Admitted, CurrentPrincipal
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tenant import Principal
from tenant_service.platform_trail.carrying import carry

_LONGEST_AGENT = 512


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller and where the request came from, as far as that is an address."""

    principal: Principal
    request_id: str
    ip: str | None
    user_agent: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def id(self) -> UUID:
        """The id that logs name the caller by."""
        return self.principal.id

    @property
    def kind(self) -> str:
        """What logs call one of the caller's kind."""
        return self.principal.kind.value

    @property
    def is_operator(self) -> bool:
        """Whether the platform's staff asks, as such and not inside a tenant."""
        return is_platform_operator(self.principal)

    def record(
        self, session: TenantSession, action: str, *, resource: str, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Add the change to the tenant's audit log and, where an operator made it, to the platform's.

        The session's role is the application's, so the platform's row is written in a moment by the worker.
        """
        self._record_on_tenant(session, action, resource, changes)
        if self.is_operator:
            carry(session, self._on_platform(action, resource, tenant_of(session), changes))

    def record_directly(
        self,
        session: TenantSession,
        action: str,
        *,
        resource: str,
        reason: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the change to the same logs at once; an operator's session runs as the platform's role."""
        self._record_on_tenant(session, action, resource, changes)
        if self.is_operator:
            session.add(self._on_platform(action, resource, tenant_of(session), changes, reason))

    def record_on_platform(
        self,
        session: AsyncSession,
        action: str,
        *,
        resource: str,
        tenant_id: UUID | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a change that concerns no tenant's log to the platform's, as whose role the session runs."""
        session.add(self._on_platform(action, resource, tenant_id, changes))

    def _record_on_tenant(
        self, session: TenantSession, action: str, resource: str, changes: Mapping[str, Any] | None
    ) -> None:
        record_change(
            session,
            action=action,
            actor=self.id,
            actor_kind=self.kind,
            resource=resource,
            changes=changes,
            ip=self.ip,
            user_agent=self.user_agent,
            request_id=self.request_id,
            sources=self.sources,
        )

    def _on_platform(
        self,
        action: str,
        resource: str,
        tenant_id: UUID | None,
        changes: Mapping[str, Any] | None,
        reason: str | None = None,
    ) -> PlatformAuditRow:
        return PlatformAuditRow(
            id=new_id(),
            kind="change",
            actor=self.id,
            action=action,
            resource=resource,
            tenant_id=tenant_id,
            outcome="success",
            reason=reason,
            ip=self.ip,
            user_agent=self.user_agent,
            request_id=self.request_id,
            changes=None if changes is None else without_personal_values(changes),
        )


async def calling(request: Request, admitted: Admitted, principal: CurrentPrincipal) -> Caller:
    """Return the request's caller."""
    agent = request.headers.get("user-agent")
    return Caller(
        principal=principal,
        request_id=admitted.request_id,
        ip=admitted.client_address,
        user_agent=None if agent is None else agent[:_LONGEST_AGENT].replace("\x00", ""),
        sources=tuple(source.kind.value for source in admitted.sources),
    )


Calling = Annotated[Caller, Depends(calling)]
