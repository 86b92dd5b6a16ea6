"""Every route of the suite, and what the isolation matrix needs to know of it.

The matrix is generated from this table, and `test_matrix.py` fails for a route of the services that is not in
it, for one that is no longer there, and for one that asks another permission than declared here. A new
route is one line.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import urlencode

from mis_tenancy.access import ROLE_PERMISSIONS, Permission
from mis_tenancy.plans import Feature
from mis_tenancy.tenant import Role
from tests.suite import PASSWORD, TenantHandle, UserHandle
from tests.tenant_service.imports import archive_of, user_row
from tests.user_service.pictures import png

AUTH: Final = "/api/v1/auth"
TENANTS: Final = "/api/v1/tenants"
PASSKEYS: Final = f"{AUTH}/passkeys"
OPERATORS_MFA: Final = f"{AUTH}/operator/mfa"
USERS: Final = "/api/v1/users"
MEDIA: Final = "/api/v1/media"
ONE: Final = f"{TENANTS}/{{id}}"
CONFIG: Final = f"{ONE}/config"
EXPORT: Final = f"{ONE}/exports/{{export_id}}"
WEBHOOKS: Final = f"{ONE}/webhooks"
WEBHOOK: Final = f"{WEBHOOKS}/{{webhook_id}}"

# The domain that the tenant which asks has proven to be its own.
HOME_DOMAIN: Final = "home.matrix.example"
FORM: Final = "application/x-www-form-urlencoded"
NEW_PASSWORD: Final = "Another-Staple-8-Horse"


class Who(Enum):
    """Whom a route serves."""

    STRANGER = "stranger"
    """Everybody; `Authorization` is never read and a tenant is optional."""
    STRANGER_OF_TENANT = "stranger_of_tenant"
    """Everybody who names a tenant; `Authorization` is never read."""
    PRINCIPAL = "principal"
    """Members and operators, each about themselves."""
    TENANT = "tenant"
    """Members of the tenant in the path, and operators."""
    MEMBER = "member"
    """Members only: tenant data."""
    OPERATOR = "operator"
    """Operators of the platform only."""

    @property
    def is_open(self) -> bool:
        return self in (Who.STRANGER, Who.STRANGER_OF_TENANT)


@dataclass(slots=True)
class Call:
    """A request that is about to be made: by whom, in which tenant, with which parameters of the path."""

    tenant: TenantHandle
    caller: UserHandle | None
    params: dict[str, str]
    unique: str


Body = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """One route: whom it serves, what it asks, and a request that works.

    `fresh` names what a working request needs for itself: a signed-in `user`, one who has `enrolled` an
    authenticator app or has set the `app`, who is `registering` a passkey or signs in with a `passkey`, a
    sign-in that is `halfway` (each also `_at_page`), a `visitor` whose cookie is a page's, a `tenant`, or one
    that is `suspended`, `ending`, `purged` or `owners_app`, whose owner has one; an `operator`, who may be
    `_enrolled`, have an `_app` or be `_halfway`; the `form` that it posts, or the `page` of somebody who has
    signed in there. `operator` is False where a TENANT route hands out tenant content, `is_cacheable` marks
    an answer that shared caches may keep, `reads_bearer` the open route that looks at a bearer after all,
    `signed` the one whose link is the proof, `at_base` the one that works at the platform's own names.
    """

    method: str
    path: str
    who: Who
    permission: Permission | None = None
    feature: Feature | None = None
    status: int = 200
    body: Body | None = None
    content_type: str = "application/json"
    query: dict[str, str] = field(default_factory=dict)
    fresh: str | None = None
    operator: bool = True
    reads_bearer: bool = False
    is_cacheable: bool = False
    signed: bool = False
    at_base: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_read(self) -> bool:
        return self.method == "GET"

    @property
    def least_role(self) -> Role:
        """The weakest role that the route serves."""
        return next(role for role in WEAKEST_FIRST if self.serves(role))

    def serves(self, role: Role) -> bool:
        return self.permission is None or self.permission in ROLE_PERMISSIONS[role]

    @property
    def serves_operators(self) -> bool:
        return self.who in (Who.PRINCIPAL, Who.OPERATOR) or (self.who is Who.TENANT and self.operator)


WEAKEST_FIRST: Final = (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)
P: Final = Permission
W: Final = Who


def _login(call: Call) -> dict[str, str]:
    return {"email": call.tenant.owner_email, "password": PASSWORD, "tenantSlug": call.tenant.slug}


def _refresh_token(call: Call) -> dict[str, str]:
    assert call.caller is not None
    return {"refreshToken": call.caller.refresh_token}


def _passwords(call: Call) -> dict[str, str]:
    return {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}


def _visit(call: Call) -> dict[str, str]:
    return {"tenantId": str(call.tenant.id), "reason": "The matrix visits."}


def _lost_app(call: Call) -> dict[str, str]:
    return _visit(call) | {"email": call.tenant.owner_email}


def _new_tenant(call: Call) -> dict[str, Any]:
    return {"name": "Matrix", "slug": f"m-{call.unique}", "plan": "basic"}


def _bulk(call: Call) -> bytes:
    return json.dumps({"operation": "create", "name": "Matrix", "slug": f"b-{call.unique}"}).encode()


def _new_user(call: Call) -> dict[str, Any]:
    return {"email": f"new-{call.unique}@{call.tenant.slug}.example", "name": "Nina New", "role": "viewer"}


def _forgotten(call: Call) -> dict[str, str]:
    return {"email": f"nobody-{call.unique}@matrix.example", "tenantSlug": call.tenant.slug}


def _reset(call: Call) -> dict[str, str]:
    return {"token": call.params["token"], "newPassword": NEW_PASSWORD}


def _confirmation(call: Call) -> dict[str, str]:
    return {"token": call.params["token"]}


def _new_invitation(call: Call) -> dict[str, str]:
    return {"email": f"invited-{call.unique}@{call.tenant.slug}.example", "role": "viewer"}


def _new_key(call: Call) -> dict[str, Any]:
    return {"name": f"Program {call.unique}", "scopes": ["users:read"]}


def _import(call: Call) -> bytes:
    return f"email,name,role\nrow-{call.unique}@{call.tenant.slug}.example,Rita Row,viewer\n".encode()


def look(call: Call) -> dict[str, Any]:
    """Return a look with a logo, which has to be there to be asked for."""
    return {"name": f"Matrix {call.unique}", "logo": "data:image/png;base64,iVBORw0KGgo="}


def _code(call: Call) -> dict[str, str]:
    return {"code": call.params.get("code", "123456")}


def _second_step(call: Call) -> dict[str, str]:
    return {"mfaToken": call.params["token"]} | _code(call)


def _passkey_answer(call: Call) -> dict[str, Any]:
    made = call.params.get("credential", "{}")
    return {"challengeToken": call.params["token"], "credential": json.loads(made)}


def _acceptance(call: Call) -> dict[str, str]:
    return {"token": call.params["token"], "name": "Ina Invited", "password": PASSWORD}


def _own_form(call: Call, **fields: str) -> bytes:
    return urlencode({"csrf": call.params["csrf"], **fields}).encode()


def _typed(call: Call) -> bytes:
    return _own_form(call, email=call.tenant.owner_email, password=PASSWORD)


def _typed_address(call: Call) -> bytes:
    return _own_form(call, email=f"nobody-{call.unique}@matrix.example")


def _second_step_typed(call: Call) -> bytes:
    return _own_form(call, **_second_step(call))


def _passkey_typed(call: Call) -> bytes:
    made = call.params.get("credential", "{}")
    return _own_form(call, challengeToken=call.params["token"], credential=made)


def _setting(call: Call) -> dict[str, Any]:
    return {"configKey": f"app.k-{call.unique}", "configValue": {"on": True}, "isEncrypted": False}


def _export(call: Call) -> dict[str, Any]:
    return {"dataTypes": ["users"], "format": "ndjson"}


def _webhook(call: Call) -> dict[str, Any]:
    return {"url": f"https://hooks.invalid/{call.unique}", "events": ["user.created"]}


def _archive(call: Call) -> bytes:
    return archive_of(call.tenant, users=[user_row(f"in-{call.unique}@{call.tenant.slug}.example")])


def _document(call: Call) -> bytes:
    return png()


AUTH_ROUTES: Final = (
    Declared("POST", f"{AUTH}/login", W.STRANGER, body=_login),
    Declared("POST", f"{AUTH}/refresh", W.STRANGER, body=_refresh_token, fresh="user"),
    Declared(
        "POST",
        f"{AUTH}/logout",
        W.STRANGER,
        body=_refresh_token,
        status=204,
        fresh="user",
        reads_bearer=True,
    ),
    Declared("POST", f"{AUTH}/operator/login", W.STRANGER, body=lambda call: {"email": "", "password": ""}),
    Declared("GET", OPERATORS_MFA, W.OPERATOR, fresh="operator"),
    Declared("POST", f"{OPERATORS_MFA}/totp/enroll", W.OPERATOR, fresh="operator"),
    Declared("POST", f"{OPERATORS_MFA}/totp/confirm", W.OPERATOR, body=_code, fresh="operator_enrolled"),
    Declared("POST", f"{OPERATORS_MFA}/totp/verify", W.STRANGER, body=_second_step, fresh="operator_halfway"),
    Declared("DELETE", f"{OPERATORS_MFA}/totp", W.OPERATOR, status=204, fresh="operator_app"),
    Declared("POST", f"{OPERATORS_MFA}/recovery-codes", W.OPERATOR, fresh="operator_app"),
    Declared(
        "POST", f"{AUTH}/operator/mfa-resets", W.OPERATOR, body=_lost_app, status=202, fresh="owners_app"
    ),
    Declared("GET", f"{AUTH}/password-policy", W.STRANGER_OF_TENANT),
    Declared("GET", "/.well-known/jwks.json", W.STRANGER),
    Declared("GET", "/.well-known/oauth-authorization-server", W.STRANGER),
    Declared("GET", "/.well-known/openid-configuration", W.STRANGER),
    Declared("POST", f"{AUTH}/act-as", W.OPERATOR, body=_visit),
    Declared("POST", f"{AUTH}/signing-keys/rotate", W.OPERATOR),
    Declared("GET", f"{AUTH}/me", W.PRINCIPAL),
    Declared("GET", f"{AUTH}/permissions", W.PRINCIPAL),
    Declared("GET", f"{AUTH}/sessions", W.PRINCIPAL),
    Declared("DELETE", f"{AUTH}/sessions", W.PRINCIPAL, status=204, fresh="user"),
    Declared("DELETE", f"{AUTH}/sessions/{{session_id}}", W.PRINCIPAL, status=204, fresh="user"),
    Declared("POST", f"{AUTH}/invitations", W.MEMBER, P.INVITATIONS_WRITE, status=201, body=_new_invitation),
    Declared("GET", f"{AUTH}/invitations", W.MEMBER, P.INVITATIONS_WRITE),
    Declared("DELETE", f"{AUTH}/invitations/{{invitation_id}}", W.MEMBER, P.INVITATIONS_WRITE, status=204),
    Declared("POST", f"{AUTH}/api-keys", W.MEMBER, P.APIKEYS_WRITE, status=201, body=_new_key),
    Declared("GET", f"{AUTH}/api-keys", W.MEMBER, P.APIKEYS_WRITE),
    Declared("DELETE", f"{AUTH}/api-keys/{{api_key_id}}", W.MEMBER, P.APIKEYS_WRITE, status=204),
    Declared("GET", "/login", W.STRANGER_OF_TENANT),
    Declared(
        "POST", "/login", W.STRANGER_OF_TENANT, body=_typed, content_type=FORM, status=303, fresh="form"
    ),
    Declared(
        "POST",
        "/login/sign-out",
        W.STRANGER_OF_TENANT,
        body=_own_form,
        content_type=FORM,
        status=303,
        fresh="page",
    ),
    Declared("GET", "/login/session", W.STRANGER_OF_TENANT, fresh="page"),
    Declared("POST", "/login/token", W.STRANGER_OF_TENANT, body=_own_form, content_type=FORM, fresh="page"),
    # The tenants of the matrix have no identity provider.
    Declared("GET", "/login/sso/start", W.STRANGER_OF_TENANT, status=404),
    Declared("GET", "/login/sso/callback", W.STRANGER_OF_TENANT, status=404),
    Declared(
        "POST",
        "/login/second-step",
        W.STRANGER_OF_TENANT,
        body=_second_step_typed,
        content_type=FORM,
        status=303,
        fresh="halfway_at_page",
    ),
    Declared(
        "POST",
        "/login/passkey",
        W.STRANGER_OF_TENANT,
        body=_passkey_typed,
        content_type=FORM,
        status=303,
        fresh="passkey_at_page",
        at_base=True,
    ),
    Declared("POST", "/login/passkeys/options", W.STRANGER_OF_TENANT, fresh="visitor", at_base=True),
    Declared(
        "POST",
        "/login/passkeys",
        W.STRANGER_OF_TENANT,
        body=_passkey_typed,
        content_type=FORM,
        status=303,
        fresh="registering_at_page",
        at_base=True,
    ),
    Declared(
        "POST",
        "/login/passkeys/{passkey_id}/remove",
        W.STRANGER_OF_TENANT,
        status=303,
        fresh="visitor",
        at_base=True,
    ),
    Declared("GET", "/login/forgot", W.STRANGER_OF_TENANT),
    Declared(
        "POST",
        "/login/forgot",
        W.STRANGER_OF_TENANT,
        body=_typed_address,
        content_type=FORM,
        status=202,
        fresh="form",
    ),
    Declared("GET", "/login/icon.svg", W.STRANGER, is_cacheable=True),
    Declared("GET", "/login/invitation", W.STRANGER),
    Declared("GET", "/login/reset", W.STRANGER),
    Declared("GET", "/login/email", W.STRANGER),
    Declared("POST", f"{AUTH}/password/forgot", W.STRANGER, body=_forgotten, status=202),
    Declared("POST", f"{AUTH}/password/reset", W.STRANGER, body=_reset, status=204, fresh="reset"),
    Declared("POST", f"{AUTH}/email/confirm", W.STRANGER, body=_confirmation, status=204, fresh="email"),
    Declared("POST", f"{AUTH}/invitations/accept", W.STRANGER, body=_acceptance, fresh="invitation"),
    Declared("GET", f"{AUTH}/mfa", W.PRINCIPAL),
    Declared("POST", f"{AUTH}/mfa/totp/enroll", W.PRINCIPAL, fresh="user"),
    Declared("POST", f"{AUTH}/mfa/totp/confirm", W.PRINCIPAL, body=_code, fresh="enrolled"),
    Declared("POST", f"{AUTH}/mfa/totp/verify", W.STRANGER, body=_second_step, fresh="halfway"),
    Declared("DELETE", f"{AUTH}/mfa/totp", W.PRINCIPAL, status=204, fresh="app"),
    Declared("POST", f"{AUTH}/mfa/recovery-codes", W.PRINCIPAL, fresh="app"),
    Declared("GET", PASSKEYS, W.PRINCIPAL, feature=Feature.BIOMETRIC_AUTH),
    Declared("DELETE", f"{PASSKEYS}/{{passkey_id}}", W.PRINCIPAL, feature=Feature.BIOMETRIC_AUTH, status=204),
    Declared(
        "POST",
        f"{PASSKEYS}/register/options",
        W.PRINCIPAL,
        feature=Feature.BIOMETRIC_AUTH,
        fresh="user",
        at_base=True,
    ),
    Declared(
        "POST",
        f"{PASSKEYS}/register/verify",
        W.PRINCIPAL,
        feature=Feature.BIOMETRIC_AUTH,
        body=_passkey_answer,
        status=201,
        fresh="registering",
        at_base=True,
    ),
    Declared("POST", f"{PASSKEYS}/login/options", W.STRANGER_OF_TENANT, at_base=True),
    Declared(
        "POST", f"{PASSKEYS}/login/verify", W.STRANGER, body=_passkey_answer, fresh="passkey", at_base=True
    ),
    Declared("POST", f"{AUTH}/password/change", W.PRINCIPAL, body=_passwords, status=204, fresh="user"),
)

TENANT_ROUTES: Final = (
    Declared("GET", "/api/v1/plans", W.STRANGER),
    Declared("GET", "/api/v1/plans/{plan}", W.STRANGER),
    Declared("PATCH", "/api/v1/plans/{plan}", W.OPERATOR, body=lambda call: {"monthlyPrice": 29_900}),
    Declared("GET", f"{TENANTS}/resolve", W.STRANGER, reads_bearer=True),
    Declared("POST", TENANTS, W.OPERATOR, status=201, body=_new_tenant),
    Declared("POST", f"{TENANTS}/create", W.OPERATOR, status=201, body=_new_tenant),
    Declared("GET", TENANTS, W.OPERATOR),
    Declared("POST", f"{TENANTS}/bulk", W.OPERATOR, body=_bulk, content_type="application/x-ndjson"),
    Declared("GET", f"{TENANTS}/jobs", W.OPERATOR),
    Declared("POST", f"{TENANTS}/jobs/{{job_id}}/retry", W.OPERATOR),
    Declared("GET", ONE, W.TENANT),
    Declared("PATCH", ONE, W.TENANT, P.TENANT_WRITE, body=lambda call: {"name": f"Matrix {call.unique}"}),
    Declared(
        "POST", f"{ONE}/suspend", W.OPERATOR, body=lambda call: {"reason": "The matrix."}, fresh="tenant"
    ),
    Declared("POST", f"{ONE}/reactivate", W.OPERATOR, fresh="suspended"),
    Declared("DELETE", ONE, W.TENANT, P.TENANT_DELETE, status=202, fresh="tenant"),
    Declared("POST", f"{ONE}/restore", W.TENANT, P.TENANT_RESTORE, fresh="ending"),
    Declared("GET", f"{ONE}/deletion-certificate", W.OPERATOR, fresh="purged"),
    Declared("GET", f"{TENANTS}/deletion-certificates/jwks.json", W.STRANGER),
    Declared("GET", CONFIG, W.TENANT, P.CONFIG_READ),
    Declared("POST", CONFIG, W.TENANT, P.CONFIG_WRITE, body=_setting),
    Declared("GET", f"{CONFIG}/{{key}}", W.TENANT, P.CONFIG_READ),
    Declared("DELETE", f"{CONFIG}/{{key}}", W.TENANT, P.CONFIG_WRITE, status=204),
    Declared("GET", f"{CONFIG}/{{key}}/history", W.TENANT, P.CONFIG_READ),
    Declared(
        "POST", f"{CONFIG}/{{key}}/rollback", W.TENANT, P.CONFIG_WRITE, body=lambda call: {"version": 1}
    ),
    Declared("GET", f"{ONE}/audit-logs", W.TENANT, P.AUDIT_READ),
    Declared("GET", f"{ONE}/audit-logs/verify", W.TENANT, P.AUDIT_READ),
    Declared("GET", f"{ONE}/encryption-keys", W.TENANT, P.KEYS_WRITE),
    Declared("POST", f"{ONE}/encryption-keys/rotate", W.TENANT, P.KEYS_WRITE, status=202, fresh="tenant"),
    Declared("GET", f"{TENANTS}/branding", W.STRANGER_OF_TENANT, is_cacheable=True),
    Declared("GET", f"{TENANTS}/branding/logo", W.STRANGER_OF_TENANT, is_cacheable=True),
    Declared("GET", f"{ONE}/branding", W.TENANT, P.TENANT_WRITE, Feature.CUSTOM_BRANDING),
    Declared("PUT", f"{ONE}/branding", W.TENANT, P.TENANT_WRITE, Feature.CUSTOM_BRANDING, body=look),
    Declared("GET", f"{TENANTS}/domains/ask", W.STRANGER, query={"domain": HOME_DOMAIN}),
    Declared("GET", f"{ONE}/domain", W.TENANT, P.TENANT_WRITE),
    Declared("POST", f"{ONE}/domain/verify", W.TENANT, P.TENANT_WRITE),
    Declared("GET", f"{ONE}/usage", W.TENANT, P.USAGE_READ),
    Declared("GET", f"{ONE}/health", W.TENANT, P.USAGE_READ),
    Declared("GET", f"{ONE}/alerts", W.TENANT, P.USAGE_READ),
    Declared("POST", f"{ONE}/alerts/{{alert_id}}/acknowledge", W.TENANT, P.TENANT_WRITE),
    Declared("POST", f"{ONE}/isolation/verify", W.TENANT, P.AUDIT_READ),
    Declared("GET", f"{ONE}/billing", W.TENANT, P.BILLING_READ),
    Declared("PATCH", f"{ONE}/billing", W.OPERATOR, body=lambda call: {"contractPrice": 500_000}),
    Declared("POST", f"{ONE}/billing/cancel", W.TENANT, P.BILLING_WRITE, fresh="tenant"),
    Declared("POST", f"{ONE}/billing/resume", W.TENANT, P.BILLING_WRITE),
    Declared("GET", f"{ONE}/invoices", W.TENANT, P.BILLING_READ),
    Declared("GET", f"{ONE}/invoices/{{invoice_id}}", W.TENANT, P.BILLING_READ),
    Declared("POST", f"{ONE}/invoices/{{invoice_id}}/pay", W.OPERATOR, fresh="tenant"),
    Declared("POST", f"{ONE}/invoices/{{invoice_id}}/void", W.OPERATOR, fresh="tenant"),
    Declared(
        "POST",
        f"{ONE}/migrate",
        W.TENANT,
        P.TENANT_MIGRATE,
        body=lambda call: {"targetPlan": "premium"},
        fresh="tenant",
    ),
    Declared("GET", f"{ONE}/migrations", W.TENANT, P.TENANT_MIGRATE),
    Declared(
        "DELETE",
        f"{ONE}/migrations/{{migration_id}}",
        W.TENANT,
        P.TENANT_MIGRATE,
        status=204,
    ),
    Declared("GET", WEBHOOKS, W.TENANT, P.WEBHOOKS_WRITE),
    Declared("POST", WEBHOOKS, W.TENANT, P.WEBHOOKS_WRITE, status=201, body=_webhook, operator=False),
    Declared("GET", WEBHOOK, W.TENANT, P.WEBHOOKS_WRITE),
    Declared("PATCH", WEBHOOK, W.TENANT, P.WEBHOOKS_WRITE, body=_webhook, operator=False),
    Declared("DELETE", WEBHOOK, W.TENANT, P.WEBHOOKS_WRITE, status=204),
    Declared("POST", f"{WEBHOOK}/ping", W.TENANT, P.WEBHOOKS_WRITE, status=202),
    Declared("GET", f"{WEBHOOK}/deliveries", W.TENANT, P.WEBHOOKS_WRITE),
    Declared(
        "POST",
        f"{WEBHOOK}/deliveries/{{delivery_id}}/replay",
        W.TENANT,
        P.WEBHOOKS_WRITE,
        status=202,
        operator=False,
    ),
    Declared("GET", f"{ONE}/analytics", W.TENANT, P.USAGE_READ, Feature.ADVANCED_ANALYTICS),
    Declared("POST", f"{ONE}/export", W.TENANT, P.EXPORTS_WRITE, body=_export, status=202, fresh="tenant"),
    Declared("GET", f"{ONE}/exports", W.TENANT, P.EXPORTS_WRITE),
    Declared("GET", EXPORT, W.TENANT, P.EXPORTS_WRITE),
    Declared("DELETE", EXPORT, W.TENANT, P.EXPORTS_WRITE, status=204),
    Declared("GET", f"{EXPORT}/download", W.TENANT, P.EXPORTS_WRITE, status=302, operator=False),
    Declared("GET", f"{EXPORT}/file", W.STRANGER, signed=True),
    Declared(
        "POST",
        f"{ONE}/import",
        W.TENANT,
        P.USERS_WRITE,
        body=_archive,
        content_type="application/zip",
        query={"dryRun": "true"},
        operator=False,
    ),
    Declared("GET", f"{ONE}/imports", W.TENANT, P.USERS_WRITE),
    Declared("GET", f"{ONE}/imports/{{import_id}}", W.TENANT, P.USERS_WRITE),
)

USER_ROUTES: Final = (
    Declared("GET", USERS, W.MEMBER, P.USERS_READ),
    Declared("POST", USERS, W.MEMBER, P.USERS_WRITE, status=201, body=_new_user),
    Declared("POST", f"{USERS}/import", W.MEMBER, P.USERS_WRITE, body=_import, content_type="text/csv"),
    Declared("GET", f"{USERS}/me", W.MEMBER, P.USERS_READ),
    Declared(
        "PATCH", f"{USERS}/me", W.MEMBER, P.USERS_READ, body=lambda call: {"name": "Mia Me"}, fresh="user"
    ),
    Declared("GET", f"{USERS}/{{user_id}}", W.MEMBER, P.USERS_READ),
    Declared(
        "PATCH", f"{USERS}/{{user_id}}", W.MEMBER, P.USERS_WRITE, body=lambda call: {"name": "Pat Patched"}
    ),
    Declared("DELETE", f"{USERS}/{{user_id}}", W.MEMBER, P.USERS_WRITE, status=204),
    Declared("POST", f"{USERS}/{{user_id}}/erase", W.MEMBER, P.USERS_WRITE),
    Declared(
        "POST",
        f"{USERS}/{{user_id}}/verifications",
        W.MEMBER,
        P.USERS_WRITE,
        Feature.AI_VERIFICATION,
        status=202,
        body=_document,
        content_type="image/png",
    ),
    Declared("GET", f"{USERS}/{{user_id}}/verifications", W.MEMBER, P.USERS_WRITE, Feature.AI_VERIFICATION),
    Declared(
        "GET",
        f"{USERS}/{{user_id}}/verifications/{{verification_id}}",
        W.MEMBER,
        P.USERS_WRITE,
        Feature.AI_VERIFICATION,
    ),
)

MEDIA_ROUTES: Final = (
    Declared("GET", MEDIA, W.MEMBER, P.MEDIA_READ),
    Declared(
        "POST",
        MEDIA,
        W.MEMBER,
        P.MEDIA_WRITE,
        status=201,
        body=lambda call: f"file {call.unique}".encode(),
        content_type="text/plain",
        query={"filename": "matrix.txt"},
    ),
    Declared("GET", f"{MEDIA}/{{media_id}}", W.MEMBER, P.MEDIA_READ),
    Declared("GET", f"{MEDIA}/{{media_id}}/content", W.MEMBER, P.MEDIA_READ),
    Declared("POST", f"{MEDIA}/{{media_id}}/link", W.MEMBER, P.MEDIA_READ, status=201),
    Declared("GET", f"{MEDIA}/{{id}}/{{media_id}}/file", W.STRANGER, signed=True),
    Declared("DELETE", f"{MEDIA}/{{media_id}}", W.MEMBER, P.MEDIA_WRITE, status=204),
)

ROUTES: Final = (*AUTH_ROUTES, *TENANT_ROUTES, *USER_ROUTES, *MEDIA_ROUTES)

OPEN: Final = tuple(route for route in ROUTES if route.who.is_open)
CLOSED: Final = tuple(route for route in ROUTES if not route.who.is_open)
