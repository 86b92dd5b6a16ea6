"""The user service's composition root."""

from typing import Final

from fastapi import FastAPI

from mis_accounts.passwords import Passwords
from mis_http.composition import compose
from mis_http.limits import MIB
from mis_http.settings import ServiceSettings
from mis_tenancy.routes import suite_policy
from mis_tenancy.storage import Storage
from user_service.imports.endpoints import router as imports
from user_service.settings import from_environment
from user_service.users.endpoints import lists
from user_service.users.endpoints import router as users

LARGEST_IMPORT: Final = 32 * MIB


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service; without `settings` it is configured from the environment."""
    settings = settings or from_environment()
    app = compose(
        settings,
        service="user",
        title="User service",
        routers=(lists, imports, users),
        policy=suite_policy(),
        body_limits={"/api/v1/users/import": LARGEST_IMPORT},
    )
    app.state.passwords = Passwords()
    app.state.storage = Storage(settings.storage_url)
    app.state.readiness["storage"] = app.state.storage.check
    return app
