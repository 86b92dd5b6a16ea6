"""Typed configuration keys that hold secrets: always encrypted, bounded by no plan, set by owners alone.

They are apart from the keys that every request needs, because only what uses such a key decrypts it.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

SSO_OIDC: Final = "sso.oidc"

_TEXT: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ROLES: Final = ("admin", "member", "viewer")
_MOST: Final = 50


def _issuer(value: Any) -> str | None:
    if not isinstance(value, str) or not _TEXT.fullmatch(value) or "\\" in value:
        return "takes the provider's issuer, an https:// URL"
    try:
        url = urlsplit(value)
        host = url.hostname or ""
    except ValueError:
        return "takes the provider's issuer, an https:// URL"
    if url.scheme != "https" and not (url.scheme == "http" and host in _LOOPBACK):
        return "takes an https:// URL"
    if not host or url.query or url.fragment or "@" in url.netloc:
        return "takes a URL with a host, and without user, query and fragment"
    return None


def _text(value: Any) -> str | None:
    fits = isinstance(value, str) and _TEXT.fullmatch(value)
    return None if fits else "takes a text of 1 to 2048 ASCII characters without spaces"


def _scopes(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > _MOST:
        return f"takes a list of at most {_MOST} scopes"
    if not all(isinstance(one, str) and _SCOPE.fullmatch(one) for one in value):
        return "takes a list of scopes"
    return None if "openid" in value else "must contain openid"


def _domains(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > _MOST:
        return f"takes a list of at most {_MOST} domains"
    fits = all(isinstance(one, str) and _DOMAIN.fullmatch(one) for one in value)
    return None if fits else "takes domains in lower case, such as example.com"


def _jit(value: Any) -> str | None:
    if not isinstance(value, dict) or not value.keys() <= {"enabled", "role"}:
        return "takes {enabled, role}"
    if not isinstance(value.get("enabled"), bool):
        return "takes true or false as enabled"
    return None if value.get("role", "member") in _ROLES else f"takes one of {', '.join(_ROLES)} as role"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "takes true or false"


_REQUIRED: Final = ("issuer", "clientId", "clientSecret")
_FIELDS: Final[Mapping[str, Callable[[Any], str | None]]] = MappingProxyType(
    {
        "issuer": _issuer,
        "clientId": _text,
        "clientSecret": _text,
        "scopes": _scopes,
        "allowedDomains": _domains,
        "jit": _jit,
        "enforce": _flag,
    }
)


def _oidc(value: Any) -> str | None:
    """Return what is wrong with a tenant's OpenID provider, without any value of it."""
    if not isinstance(value, dict):
        return "takes an object"
    if unknown := sorted(value.keys() - _FIELDS.keys()):
        return f"has no field {unknown[0][:40]!r}; the fields are {', '.join(_FIELDS)}"
    if missing := [field for field in _REQUIRED if field not in value]:
        return f"needs {missing[0]}"
    wrongs = ((field, _FIELDS[field](part)) for field, part in value.items())
    return next((f"{field} {wrong}" for field, wrong in wrongs if wrong is not None), None)


# Each returns what is wrong with a value, or None.
SEALED: Final[Mapping[str, Callable[[Any], str | None]]] = MappingProxyType({SSO_OIDC: _oidc})
