"""The services, each alone or all behind one gateway; the one place of `mis` that knows them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from starlette.applications import Starlette

from auth_service.app import create_app as create_auth_service
from mis_cli.gateway import Gateway, Service
from mis_cli.serving.description import description_app, unconnected
from mis_http.service.settings import ServiceSettings
from mis_worker.app import working
from tenant_service.app import create_app as create_tenant_service
from user_service.app import create_app as create_user_service

# The port of each where it is told no other. The description of them all is served by itself, too, where a
# gateway keeps no files.
PORTS: Final[Mapping[str, int]] = MappingProxyType(
    {"tenant": 3006, "auth": 3001, "user": 3002, "description": 3003}
)


def create_service(name: str) -> Starlette:
    """Return one service, configured from the environment; raise SettingsError where that is not enough."""
    return _CREATE[name]()


def _create_description() -> Starlette:
    return description_app(compose(unconnected()))


def compose(settings: ServiceSettings) -> Gateway:
    """Return the whole suite as one ASGI application, with the worker beside it."""
    return Gateway(
        [
            Service("tenant", ("/api/v1/tenants", "/api/v1/plans"), create_tenant_service(settings)),
            Service("auth", ("/api/v1/auth", "/.well-known", "/login"), create_auth_service(settings)),
            Service("user", ("/api/v1/users", "/api/v1/media"), create_user_service(settings)),
        ],
        [lambda: working(settings)],
    )


_CREATE: Final[Mapping[str, Callable[[], Starlette]]] = MappingProxyType(
    {
        "tenant": create_tenant_service,
        "auth": create_auth_service,
        "user": create_user_service,
        "description": _create_description,
    }
)
