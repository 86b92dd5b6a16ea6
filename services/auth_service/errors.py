"""Refusals of the auth service.

ProblemError
├── InvalidCredentials 401 · MfaRequired 401 · LoginThrottled 429
├── PasskeyInvalid 400 · PasskeyNotFound 404 · PasskeyTaken 409 · PasskeyLimit 409
├── PasskeyOriginUnsupported 422
├── MfaAlreadySet 409 · MfaNotPending 409 · MfaNotSet 404 · UserNotFound 404
├── RefreshSuperseded 409
├── SessionNotFound 404
├── ApiKeyNotFound 404
├── InvitationInvalid 400 · InvitationNotFound 404 · InvitationPending 409
├── LinkInvalid 400
├── CsrfRefused 403
├── SsoNotConfigured 404 · SsoFailed 400 · SsoUnavailable 502
└── SsoDeclined 403 · SsoRefused 403 · SsoRequired 403
"""

from collections.abc import Sequence

from mis_tenancy.errors import ProblemError


class InvalidCredentials(ProblemError):
    """Tenant, address or password are wrong, or the account may not sign in; it never says which."""

    status = 401
    code = "invalid_credentials"
    detail = "The tenant, e-mail address or password is wrong."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class MfaRequired(ProblemError):
    """The password is right, and a second factor is set: `methods` are how it may be shown."""

    status = 401
    code = "mfa_required"
    detail = "Send mfaToken with a code of the authenticator app, or with a recovery code, to finish."

    def __init__(self, token: str, methods: Sequence[str]) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"}, mfaToken=token, methods=list(methods))
        self.token = token


class MfaAlreadySet(ProblemError):
    """The account has an authenticator app."""

    status = 409
    code = "mfa_already_set"
    detail = "An authenticator app is set already. Remove it first to set another one up."


class MfaNotPending(ProblemError):
    """Nothing waits for a confirmation."""

    status = 409
    code = "mfa_not_pending"
    detail = "No authenticator app waits to be confirmed. Start with enrolling one."


class MfaNotSet(ProblemError):
    """The account has no authenticator app."""

    status = 404
    code = "mfa_not_set"
    detail = "No authenticator app is set. Enrol one first."


class UserNotFound(ProblemError):
    """No user of the caller's tenant has this id."""

    status = 404
    code = "user_not_found"
    detail = "There is no such user. Check the id."


class PasskeyInvalid(ProblemError):
    """What came back from the authenticator is not what was asked of it; it never says in which way."""

    status = 400
    code = "passkey_invalid"
    detail = "The passkey could not be verified. Start again."


class PasskeyNotFound(ProblemError):
    """The caller has no passkey of this id."""

    status = 404
    code = "passkey_not_found"
    detail = "You have no such passkey. Check the id."


class PasskeyTaken(ProblemError):
    """The very credential is registered already."""

    status = 409
    code = "passkey_taken"
    detail = "This passkey is registered already."


class PasskeyLimit(ProblemError):
    """The caller has as many passkeys as an account may have."""

    status = 409
    code = "passkey_limit"
    detail = "An account has at most 20 passkeys. Remove one that you do not use any more."


class PasskeyOriginUnsupported(ProblemError):
    """The request came to a host at which browsers know no passkeys of the tenant; `url` is one that does."""

    status = 422
    code = "passkey_origin_unsupported"

    def __init__(self, url: str) -> None:
        super().__init__(f"Browsers keep no passkeys for this host. Use {url} instead.", url=url)


class LoginThrottled(ProblemError):
    """Too many failures in a row; `seconds` until the next try is looked at."""

    status = 429
    code = "login_throttled"
    detail = "Too many failed attempts. Wait for Retry-After seconds."

    def __init__(self, seconds: int) -> None:
        super().__init__(headers={"Retry-After": str(seconds)})


class RefreshSuperseded(ProblemError):
    """The refresh token was replaced before it was used, because its predecessor came again."""

    status = 409
    code = "refresh_superseded"
    detail = "Another answer to the same refresh replaced this token. Use the newest one you received."


class SessionNotFound(ProblemError):
    """The caller has no live session of this id."""

    status = 404
    code = "session_not_found"
    detail = "You have no such session. Check the id."


class ApiKeyNotFound(ProblemError):
    """The caller's tenant has no API key of this id, or none that is not revoked."""

    status = 404
    code = "api_key_not_found"
    detail = "There is no such API key. Check the id."


class InvitationInvalid(ProblemError):
    """The token opens no invitation: invented, altered, used, revoked, run out; it never says which."""

    status = 400
    code = "invitation_invalid"
    detail = "This invitation is not valid, or not any more. Ask whoever invited you for a new one."


class InvitationNotFound(ProblemError):
    """The caller's tenant has no open invitation of this id."""

    status = 404
    code = "invitation_not_found"
    detail = "There is no such open invitation. Check the id."


class InvitationPending(ProblemError):
    """The address is invited already."""

    status = 409
    code = "invitation_pending"
    detail = "This address is invited already. Revoke that invitation first to send another."


class LinkInvalid(ProblemError):
    """The token of a mailed link opens nothing: invented, altered, used, run out; it never says which."""

    status = 400
    code = "link_invalid"
    detail = "This link is not valid, or not any more. Ask for a new one."


class CsrfRefused(ProblemError):
    """A form came from elsewhere than from the page that this browser was shown."""

    status = 403
    code = "csrf_refused"
    detail = "This form was not sent from the page that it belongs to, or not any more. Load the page anew."


class SsoNotConfigured(ProblemError):
    """The tenant has no identity provider."""

    status = 404
    code = "sso_not_configured"
    detail = "This tenant has no single sign-on. Its owner sets it up as `sso.oidc`."


class SsoFailed(ProblemError):
    """What came back is no answer to what this browser had asked; it never says why."""

    status = 400
    code = "sso_failed"
    detail = "This single sign-on is not valid, or not any more. Start it anew from the sign-in page."


class SsoDeclined(ProblemError):
    """The provider did not sign the person in."""

    status = 403
    code = "sso_declined"
    detail = "Your identity provider did not sign you in. Start anew, or ask whoever runs it."


class SsoRefused(ProblemError):
    """The provider has signed somebody in who is nobody here; `reason` is for the audit log alone."""

    status = 403
    code = "sso_refused"
    detail = "Your identity provider knows you, but you have no account here. Ask an administrator."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class SsoRequired(ProblemError):
    """The tenant lets its members in through its identity provider alone."""

    status = 403
    code = "sso_required"
    detail = "This tenant signs its members in by single sign-on. Open its sign-in page at /login."


class SsoUnavailable(ProblemError):
    """The provider cannot be reached, or is not set up as OpenID Connect asks."""

    status = 502
    code = "sso_unavailable"
    detail = "The tenant's identity provider does not answer as it should. Try again, or tell its owner."
