"""Links that are their own proof: whoever has one may make that one request until it expires.

A link's signature is an HMAC-SHA256 over method, path, tenant and expiry, under a key that is derived from a
master key and from nothing else. It names its master key, so links outlive a rotation for as long as the old
key is at hand.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Depends, Path, Query, Request

from mis_tenancy.errors import ProblemError, TenantMismatch
from mis_tenancy.fastapi import tenancy_of
from mis_tenancy.middleware import admission_of
from mis_tenancy.settings import MasterKeys
from mis_tenancy.slugs import parse_id

_KEY_INFO: Final = b"mis signed links"
_FORMAT: Final = b"mis signed link 1"
_LONGEST: Final = 256
# Seconds since 1970 of the last moment that a datetime can hold, roughly.
_DIGITS: Final = 11


class LinkRefused(ProblemError):
    """The link was altered, has expired, or leads to something that is not there any more.

    Which of these is not said, because whoever asks has shown nothing else.
    """

    status = 403
    code = "link_refused"
    detail = "This link is not good, or not any more. Ask for a new one where you got it."


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """What a link carries beside its path, as it was sent."""

    expires: str
    key: str
    signature: str


async def signed_query(
    expires: Annotated[str, Query(max_length=_LONGEST, description="Seconds since 1970.")] = "",
    key: Annotated[str, Query(max_length=_LONGEST, description="Which key signed.")] = "",
    signature: Annotated[str, Query(max_length=_LONGEST, description="Base64url.")] = "",
) -> SignedQuery:
    """Read the link's parameters; a missing one is an empty one, which no signature fits."""
    return SignedQuery(expires, key, signature)


Signed = Annotated[SignedQuery, Depends(signed_query)]


def linked(parameter: str, what: str) -> Any:
    """Return the dependency that reads a link's path: the ids of the tenant and of `what` it leads to.

    Raise LinkRefused also where the request names another tenant: nobody hands out files of his own below
    somebody else's name.
    """

    async def ids_of_link(
        request: Request,
        tenant_id: Annotated[str, Path(alias="id", description="The tenant's id.")],
        target_id: Annotated[str, Path(alias=parameter, description=f"The {what}'s id.")],
    ) -> tuple[UUID, UUID]:
        tenant, target = parse_id(tenant_id), parse_id(target_id)
        if tenant is None or target is None:
            # What is no id was never signed.
            raise LinkRefused
        await _refuse_others(request, tenant)
        return tenant, target

    return Depends(ids_of_link)


async def _refuse_others(request: Request, tenant_id: UUID) -> None:
    sources, tenancy = admission_of(request.scope).sources, tenancy_of(request)
    if not sources:
        return
    tenant = await tenancy.directory.by_id(tenant_id)
    try:
        if tenant is None:
            raise LinkRefused
        tenancy.resolver.agree_with_principal(sources, tenant)
    except TenantMismatch as error:
        raise LinkRefused from error


class LinkSigner:
    """Signs links under the current master key, and knows a signature of any that is at hand."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._current_id = master_keys.current_id
        self._keys: Mapping[str, bytes] = {
            key_id: HKDF(SHA256(), 32, salt=None, info=_KEY_INFO).derive(key)
            for key_id, key in master_keys.keys.items()
        }

    def link(self, method: str, path: str, tenant_id: UUID, *, now: datetime, lifetime: timedelta) -> str:
        """Return `path` with the query that lets anybody make this request until `now` + `lifetime`."""
        expires = str(int((now + lifetime).timestamp()))
        signature = self._signature(self._current_id, method, path, tenant_id, expires)
        text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        return f"{path}?{urlencode({'expires': expires, 'key': self._current_id, 'signature': text})}"

    def check(self, method: str, path: str, tenant_id: UUID, sent: SignedQuery, *, now: datetime) -> None:
        """Raise LinkRefused unless this request was signed and has not expired."""
        if sent.key not in self._keys or not (sent.expires.isascii() and sent.expires.isdigit()):
            raise LinkRefused
        expected = self._signature(sent.key, method, path, tenant_id, sent.expires)
        if not hmac.compare_digest(_decoded(sent.signature), expected):
            raise LinkRefused
        if len(sent.expires) > _DIGITS or int(sent.expires) <= now.timestamp():
            raise LinkRefused

    def _signature(self, key_id: str, method: str, path: str, tenant_id: UUID, expires: str) -> bytes:
        # No part can hold a line feed, so the parts cannot be cut differently.
        said = b"\n".join([_FORMAT, method.encode(), path.encode(), tenant_id.bytes, expires.encode()])
        return hmac.digest(self._keys[key_id], said, "sha256")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
