"""The services, each alone or all behind one gateway; the one place of `mis` that knows them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from fastapi import FastAPI

from auth_service.app import create_app as create_auth_service
from mis_cli.gateway import Gateway, Service
from mis_http.settings import ServiceSettings
from mis_worker.app import working
from tenant_service.app import create_app as create_tenant_service
from user_service.app import create_app as create_user_service

# The port of each service where it is told no other.
PORTS: Final[Mapping[str, int]] = MappingProxyType({"tenant": 3006, "auth": 3001, "user": 3002})
_CREATE: Final[Mapping[str, Callable[[], FastAPI]]] = MappingProxyType(
    {"tenant": create_tenant_service, "auth": create_auth_service, "user": create_user_service}
)


def create_service(name: str) -> FastAPI:
    """Return one service, configured from the environment; raise SettingsError where that is not enough."""
    return _CREATE[name]()


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
