"""The auth service's composition root."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from auth_service.api_keys.endpoints import router as api_keys
from auth_service.authority import Authority, prepare_keys
from auth_service.emails.endpoints import router as emails
from auth_service.factor_pages.endpoints import router as factor_pages
from auth_service.html.endpoints import router as icon
from auth_service.html.problems import HtmlProblems
from auth_service.invitations.endpoints import router as invitations
from auth_service.link_pages.endpoints import router as link_pages
from auth_service.login.endpoints import router as login
from auth_service.mfa.endpoints import router as mfa
from auth_service.mfa_resets.endpoints import router as mfa_resets
from auth_service.operator_mfa.endpoints import router as operator_mfa
from auth_service.operators.bootstrap import prepare_first_operator
from auth_service.operators.endpoints import router as operators
from auth_service.passkeys.endpoints import router as passkeys
from auth_service.passwords.endpoints import router as passwords
from auth_service.permissions.endpoints import router as permissions
from auth_service.refresh.endpoints import router as refresh
from auth_service.sessions.endpoints import router as sessions
from auth_service.settings import from_environment
from auth_service.sign_in.endpoints import router as sign_in
from auth_service.sign_in.script_endpoints import router as page_sessions
from auth_service.signing_keys.endpoints import router as signing_keys
from auth_service.sso.endpoints import router as sso
from auth_service.sso.fetching import Fetching
from auth_service.sso.providers import Providers
from mis_http.outbound.reach import Reach
from mis_http.service.composition import compose
from mis_http.service.settings import ServiceSettings
from mis_tenancy.settings import SettingsError


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service; without `settings` it is configured from the environment."""
    settings = settings or from_environment()
    if settings.auth_database_url is None:
        raise SettingsError("MIS_AUTH_DATABASE_URL: is not set. Set it to the URL of the role mis_auth.")
    app = compose(
        settings,
        service="auth",
        title="Auth service",
        routers=(
            login,
            operators,
            operator_mfa,
            mfa_resets,
            refresh,
            sessions,
            passwords,
            permissions,
            signing_keys,
            invitations,
            api_keys,
            emails,
            icon,
            link_pages,
            mfa,
            passkeys,
            sign_in,
            page_sessions,
            sso,
            factor_pages,
        ),
        roles={"auth": settings.auth_database_url},
        on_start=(prepare_keys, prepare_first_operator),
        outermost=(Middleware(HtmlProblems),),
    )
    app.state.authority = Authority(app.state.tenancy, app.state.auth)
    app.state.providers = Providers(Fetching(Reach(allow_private=settings.sso_allow_private)))
    return app
