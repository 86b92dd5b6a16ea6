"""The error tree of the package; `error_responses` turns any of its refusals into problem+json.

ProblemError                    anything with a status and a stable code
├── TenancyError                refusals of the middleware
│   ├── TenantMalformed 400 · TenantAmbiguous 400 · TenantConflict 400 · TenantRequired 400
│   ├── AuthenticationRequired 401 · TokenInvalid 401 · TokenExpired 401 · TokenRevoked 401
│   ├── TenantMismatch 403 · TenantSuspended 403 · TenantPendingDeletion 403 · ActAsRequired 403
│   ├── PermissionDenied 403 · FeatureNotAvailable 403
│   ├── TenantNotFound 404
│   ├── RateLimited 429 · QuotaExceeded 429
│   └── TenantUnavailable 503 · AuditUnavailable 503
├── BodyMalformed 400 · RouteNotFound 404 · MethodNotAllowed 405 · BodyTooLarge 413
├── UnsupportedMediaType 415 · ValidationFailed 422 · InternalError 500
└── (each service's own leaves)
TenantUnbound, IsolationError   programming errors: never the caller's fault, so never a 4xx
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class TenantUnbound(RuntimeError):
    """A statement was about to run without a tenant; nothing has been sent to the database."""

    def __init__(self) -> None:
        super().__init__(
            "No tenant is bound to this session. Take the session from the request's dependency, or open one "
            "with `async with tenancy.database.transaction(tenant_id)`."
        )


class IsolationError(RuntimeError):
    """An object or statement of another tenant was about to pass through a tenant's session."""


class ProblemError(Exception):
    """A refusal with an HTTP status, a stable snake_case `code`, and what to do about it as its message."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    detail: ClassVar[str] = (
        "Something went wrong on our side. Try again, and report the requestId if it stays."
    )

    def __init__(
        self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
    ):
        super().__init__(detail or type(self).detail)
        self.headers: dict[str, str] = dict(headers or {})
        self.members = members

    def document(self, instance: str, request_id: str) -> dict[str, Any]:
        """Return the problem document for a request of path `instance`."""
        return {
            "type": f"urn:mis:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": str(self),
            "instance": instance,
            "code": self.code,
            "requestId": request_id,
            **self.members,
        }


class TenancyError(ProblemError):
    """A refusal by the tenant middleware."""


class TenantMalformed(TenancyError):
    """A source is not a UUID, a slug or a host name."""

    status = 400
    code = "tenant_malformed"
    detail = "A tenant source is malformed. X-Tenant-ID takes a UUID; X-Tenant-Slug and ?tenant= take a slug."


class TenantAmbiguous(TenancyError):
    """A source is given more than once."""

    status = 400
    code = "tenant_ambiguous"
    detail = "A tenant source is given more than once. Send each header and parameter once, with one value."


class TenantConflict(TenancyError):
    """Hints name different tenants."""

    status = 400
    code = "tenant_conflict"
    detail = "The tenant sources of this request do not name the same tenant. Send one, or make them agree."


class TenantRequired(TenancyError):
    """No source names a tenant where one is needed."""

    status = 400
    code = "tenant_required"
    detail = "This route needs a tenant. Name it by X-Tenant-ID, X-Tenant-Slug, subdomain, ?tenant= or token."


class _Unauthenticated(TenancyError):
    status = 401

    def __init__(self, detail: str | None = None, **members: Any):
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **members)


class AuthenticationRequired(_Unauthenticated):
    """The route needs a principal and no token was sent."""

    code = "authentication_required"
    detail = "Sign in at /api/v1/auth/login and send the token as `Authorization: Bearer …`."


class TokenInvalid(_Unauthenticated):
    """The bearer token is not one of ours, or not an access token."""

    code = "token_invalid"
    detail = "The bearer token is not valid here. Sign in again for a new one."


class TokenExpired(_Unauthenticated):
    """The bearer token was good once."""

    code = "token_expired"
    detail = "The bearer token has expired. Exchange the refresh token at /api/v1/auth/refresh."


class TokenRevoked(_Unauthenticated):
    """The bearer token was withdrawn before its time."""

    code = "token_revoked"
    detail = "The bearer token has been revoked. Sign in again."


class TenantMismatch(TenancyError):
    """A hint differs from the tenant that the token proves."""

    status = 403
    code = "tenant_mismatch"
    detail = (
        "The token belongs to another tenant than this request names. Drop the other sources, or the token."
    )


class TenantSuspended(TenancyError):
    """The member's tenant is suspended."""

    status = 403
    code = "tenant_suspended"
    detail = "This tenant is suspended. Its owner or the operator can have it reactivated."


class TenantPendingDeletion(TenancyError):
    """The member's tenant is about to be purged."""

    status = 403
    code = "tenant_pending_deletion"
    detail = (
        "This tenant is about to be deleted. Until purgeAt its owner can sign in anew to restore or export."
    )


class ActAsRequired(TenancyError):
    """An operator's own token reached for a tenant's content."""

    status = 403
    code = "act_as_required"
    detail = "Operators reach tenant data only with an act-as token: POST /api/v1/auth/act-as with a reason."


class PermissionDenied(TenancyError):
    """The principal lacks a permission."""

    status = 403
    code = "permission_denied"
    detail = "You lack the permission this needs. An owner or admin of the tenant can grant it."


class FeatureNotAvailable(TenancyError):
    """The tenant's plan or configuration does not include a feature."""

    status = 403
    code = "feature_not_available"
    detail = "The tenant does not have this feature. Move to a plan in `availableIn`, or have it switched on."


class TenantNotFound(TenancyError):
    """No tenant that this caller may know of is named so."""

    status = 404
    code = "tenant_not_found"
    detail = "There is no such tenant. Check the id or slug."


class RateLimited(TenancyError):
    """The per-second window is used up."""

    status = 429
    code = "rate_limited"
    detail = "Too many requests at once. Wait for Retry-After seconds."


class QuotaExceeded(TenancyError):
    """The day's requests are used up."""

    status = 429
    code = "quota_exceeded"
    detail = "The plan's requests for today are used up. Wait until midnight UTC, or move to a larger plan."


class TenantUnavailable(TenancyError):
    """The tenant cannot be served now, or its status cannot be confirmed."""

    status = 503
    code = "tenant_unavailable"
    detail = "The tenant cannot be served at the moment. Try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after: int = 2, **members: Any):
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **members)


class AuditUnavailable(TenancyError):
    """The audit spool is full, and nothing is served that could not be recorded."""

    status = 503
    code = "audit_unavailable"
    detail = "Requests cannot be recorded at the moment, so none is served. Try again shortly."

    def __init__(self, detail: str | None = None, **members: Any):
        super().__init__(detail, headers={"Retry-After": "5"}, **members)


class BodyMalformed(ProblemError):
    """The body is not what its content type says."""

    status = 400
    code = "body_malformed"
    detail = "The body could not be read as its content type says. Check the JSON."


class RouteNotFound(ProblemError):
    """Nothing is served at this path."""

    status = 404
    code = "route_not_found"
    detail = "Nothing is served at this path. /docs lists the routes."


class MethodNotAllowed(ProblemError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"
    detail = "This path does not take this method. The Allow header names those it takes."


class BodyTooLarge(ProblemError):
    """The body passes the limit."""

    status = 413
    code = "body_too_large"
    detail = "The body is larger than this route takes."


class UnsupportedMediaType(ProblemError):
    """The content type is not one the route reads."""

    status = 415
    code = "unsupported_media_type"
    detail = "This route does not read that content type. Send application/json."


class ValidationFailed(ProblemError):
    """Fields of the request do not fit; `errors` lists `{field, code, message}` for each."""

    status = 422
    code = "validation_failed"
    detail = "Some fields do not fit; `errors` names each with what it takes."

    def __init__(self, errors: Sequence[Mapping[str, str]], detail: str | None = None, **members: Any):
        super().__init__(detail, errors=[dict(error) for error in errors], **members)


class InternalError(ProblemError):
    """A defect of ours; nothing about it leaves the process but the request's id."""
