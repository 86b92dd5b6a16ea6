"""The user service's composition root."""

from typing import Final

from fastapi import FastAPI

from mis_accounts.passwords import Passwords
from mis_http.files.signed_links import LinkSigner
from mis_http.limits import MIB
from mis_http.patience import Patience
from mis_http.service.composition import compose
from mis_http.service.settings import ServiceSettings
from mis_tenancy.routes import suite_policy
from user_service.erasure.endpoints import router as erasure
from user_service.imports.endpoints import router as imports
from user_service.media.endpoints import router as media
from user_service.media.endpoints import uploads
from user_service.media.fetching import Fetching
from user_service.media.memory import UploadMemory
from user_service.settings import from_environment
from user_service.users.endpoints import lists
from user_service.users.endpoints import router as users
from user_service.verifications.endpoints import router as verifications
from user_service.verifications.images import LARGEST_BYTES as LARGEST_IMAGE
from user_service.verifications.reading import OcrReader

LARGEST_IMPORT: Final = 256 * MIB


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service; without `settings` it is configured from the environment."""
    settings = settings or from_environment()
    app = compose(
        settings,
        service="user",
        title="User service",
        routers=(lists, imports, users, erasure, verifications, uploads, media),
        policy=suite_policy(),
        # How large a file may be is the tenant's configuration.
        body_limits={
            "/api/v1/users/import": LARGEST_IMPORT,
            "/api/v1/media": None,
            # With room for the form around it.
            "/verifications": LARGEST_IMAGE + MIB,
        },
    )
    app.state.passwords = Passwords()
    tenancy, storage = app.state.tenancy, settings.storage()
    app.state.storage = storage
    app.state.readiness["storage"] = storage.check
    app.state.patience = Patience()
    app.state.upload_memory = UploadMemory(settings.upload_memory * MIB)
    app.state.document_reader = OcrReader()
    app.state.links = LinkSigner(tenancy.settings.master_keys)
    app.state.fetching = Fetching(tenancy.database, storage, tenancy.directory.by_id, app.state.links)
    return app
