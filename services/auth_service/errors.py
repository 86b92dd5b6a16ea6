"""Refusals of the auth service.

ProblemError
├── InvalidCredentials 401 · LoginThrottled 429
├── RefreshSuperseded 409
└── SessionNotFound 404
"""

from mis_tenancy.errors import ProblemError


class InvalidCredentials(ProblemError):
    """Tenant, address or password are wrong, or the account may not sign in; it never says which."""

    status = 401
    code = "invalid_credentials"
    detail = "The tenant, e-mail address or password is wrong."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


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
