"""For FastAPI services: the admission, the permission and the session of a request as dependencies.

Every dependency is a coroutine function, because FastAPI hands plain functions to a thread, which costs
more than the rest of a request. Each asks the request itself and not another dependency, because such a step
costs more than what it hands over. The session's has function scope, so that its commit happens before the
answer leaves: a commit that fails is then a failed request, not a success that never happened. All but the
session's serve WebSockets as well.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

from fastapi import Depends
from fastapi.params import Depends as Dependency
from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.access import Permission, is_platform_operator, require_feature, require_permission
from mis_tenancy.errors import AuthenticationRequired, TenantRequired
from mis_tenancy.middleware import admission_of
from mis_tenancy.plans import Feature
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Principal, Tenant
from mis_tenancy.visit import FEATURE

if TYPE_CHECKING:
    from mis_tenancy.tenancy import Tenancy

AnySession = TypeVar("AnySession", bound=AsyncSession)


def tenancy_of(request: HTTPConnection) -> "Tenancy":
    """Return the Tenancy the application was composed with."""
    tenancy: Tenancy | None = getattr(request.app.state, "tenancy", None)
    if tenancy is None:
        raise RuntimeError(
            "This application has no Tenancy. Set `app.state.tenancy = tenancy` where it is made; on one "
            "that is mounted inside another, too."
        )
    return tenancy


async def admission(request: HTTPConnection) -> Admission:
    """Return what the middleware established about this request."""
    return admission_of(request.scope)


async def current_tenant(request: HTTPConnection) -> Tenant:
    """Return the request's tenant; raise TenantRequired where none is named."""
    return _tenant_of(request)


async def current_principal(request: HTTPConnection) -> Principal:
    """Return the verified caller; raise AuthenticationRequired for an anonymous one."""
    return _principal_of(request)


def _tenant_of(request: HTTPConnection) -> Tenant:
    tenant = admission_of(request.scope).tenant
    if tenant is None:
        raise TenantRequired
    return tenant


def _principal_of(request: HTTPConnection) -> Principal:
    principal = admission_of(request.scope).principal
    if principal is None:
        raise AuthenticationRequired
    return principal


Admitted = Annotated[Admission, Depends(admission)]
CurrentTenant = Annotated[Tenant, Depends(current_tenant)]
CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


class _Served(Generic[AnySession]):
    """A session within a request."""

    __slots__ = ("_opened", "_request", "_session")

    def __init__(self, request: HTTPConnection, opened: AbstractAsyncContextManager[AnySession]) -> None:
        self._request = request
        self._opened = opened

    async def __aenter__(self) -> AnySession:
        self._session = self._request.state.session = await self._opened.__aenter__()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, trace)
        if kind is None:
            await tenancy_of(self._request).settle(self._session)


def serve(
    request: HTTPConnection, opened: AbstractAsyncContextManager[AnySession]
) -> AbstractAsyncContextManager[AnySession]:
    """Enter the session of `opened`, which commits it at the end; then hear the news it carried.

    The session also stands on `request.state.session`, for what must commit together with the endpoint's
    work.
    """
    return _Served(request, opened)


async def open_session(request: HTTPConnection) -> AsyncIterator[TenantSession]:
    """Yield a session bound to the request's tenant; commit before the answer, roll back on any exception."""
    if request.scope["type"] == "websocket":
        raise RuntimeError(
            "A socket lives longer than a transaction may. Open one for each thing that it does: "
            "`async with tenancy_of(socket).database.transaction(tenant.id) as session`."
        )
    async with serve(request, tenancy_of(request).database.transaction(_tenant_of(request).id)) as session:
        yield session


Session = Annotated[TenantSession, Depends(open_session, scope="function")]


def requires(permission: Permission) -> Dependency:
    """Return the dependency that lets principals with `permission` through, and operators."""

    async def check(request: HTTPConnection) -> Principal:
        principal = _principal_of(request)
        if not is_platform_operator(principal):
            require_permission(principal, permission)
        return principal

    check.__name__ = f"requires_{permission.name.lower()}"
    check.permission = permission  # type: ignore[attr-defined]  # read before a kept answer is shown, and by tests
    return _depends(check)


def use_feature(request: HTTPConnection, tenant: Tenant, feature: Feature) -> None:
    """Count the request as one that used `feature`; raise FeatureNotAvailable where the tenant lacks it."""
    require_feature(tenant, feature)
    request.scope["state"][FEATURE] = feature.value


def requires_feature(feature: Feature) -> Dependency:
    """Return the dependency that lets tenants with `feature` through, and counts its use."""

    async def check(request: HTTPConnection) -> Tenant:
        tenant = _tenant_of(request)
        use_feature(request, tenant, feature)
        return tenant

    check.__name__ = f"requires_{feature.name.lower()}"
    check.feature = feature  # type: ignore[attr-defined]  # read before a kept answer is shown
    return _depends(check)


def _depends(check: Callable[..., object]) -> Dependency:
    dependency: Dependency = Depends(check)
    return dependency
