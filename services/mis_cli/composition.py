"""Puts the three services behind one gateway; the one place of `mis` that knows them."""

from auth_service.app import create_app as create_auth_service
from mis_cli.gateway import Gateway, Service
from mis_http.settings import ServiceSettings
from mis_worker.app import working
from tenant_service.app import create_app as create_tenant_service
from user_service.app import create_app as create_user_service


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
