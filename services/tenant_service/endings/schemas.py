"""Endings on the wire."""

from typing import Any, Final, Literal

from mis_http.schemas import Moment, ResponseBody

LONGEST_GRACE_DAYS: Final = 365


class DeletionOut(ResponseBody):
    """A deletion that was asked for: until `purgeAt` it can be taken back."""

    status: Literal["pending_deletion"] = "pending_deletion"
    purge_at: Moment


class CertificateOut(ResponseBody):
    """A deletion certificate as a compact JWS, and what it claims; only the JWS proves anything."""

    certificate: str
    claims: dict[str, Any]


class CertificateKeysOut(ResponseBody):
    """The public keys that verify deletion certificates, as a JWK set (RFC 7517)."""

    keys: list[dict[str, Any]]
