"""Speaks OpenID Connect with tenants' providers: discovery, their keys, and codes exchanged for ID tokens.

What a provider publishes is kept for ten minutes. It is asked anew at most every thirty seconds, and not for
five seconds after it did not answer, so no flood of sign-ins or of invented key ids becomes one of requests.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.discovery import get_well_known_url
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from auth_service.errors import SsoFailed, SsoUnavailable
from auth_service.sso.configuration import Provider
from auth_service.sso.fetching import Fetching

_KEPT_SECONDS: Final = 600.0
_ASKED_AGAIN_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 5.0
_MOST_ISSUERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Published:
    """What an issuer says of itself (OpenID Connect Discovery 1.0 §3), and its keys."""

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    names_itself: bool
    auth_method: str
    keys: KeySet
    read_at: float


class Client(OAuth2Client):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's client of one provider; its one request goes out through `fetching`."""

    def __init__(self, provider: Provider, auth_method: str, callback: str, fetching: Fetching) -> None:
        super().__init__(
            session=None,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            token_endpoint_auth_method=auth_method,
            scope=" ".join(provider.scopes),
            redirect_uri=callback,
            code_challenge_method="S256",
        )
        self._fetching = fetching

    async def _fetch_token(
        self, url: str, *, body: str, headers: dict[str, str], auth: Any, method: str
    ) -> Any:
        url, headers, body = auth.prepare(method, url, headers, body)
        answer = await self._fetching.send(method, url, headers, body.encode())
        return self.parse_response_token(answer)


class Providers:
    """The providers of all tenants, by issuer; `clock` is monotonic, in seconds."""

    def __init__(self, fetching: Fetching, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetching = fetching
        self._clock = clock
        self._published: OrderedDict[str, Published] = OrderedDict()
        self._silent_until: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Published]] = {}

    async def published(self, issuer: str, *, knows: str | None = None) -> Published:
        """Return what the issuer publishes; raise SsoUnavailable.

        `knows` is the id of a key that should be among its keys, which may have been changed just now.
        """
        kept = self._published.get(issuer)
        if kept is not None:
            age = self._clock() - kept.read_at
            is_missing = knows is not None and all(key.kid != knows for key in kept.keys.keys)
            if age < (_ASKED_AGAIN_SECONDS if is_missing else _KEPT_SECONDS):
                self._published.move_to_end(issuer)
                return kept
        return await self._once(issuer)

    async def _once(self, issuer: str) -> Published:
        """Ask the issuer, together with all who want to know meanwhile, and not again soon if it fails."""
        if self._clock() < self._silent_until.get(issuer, 0.0):
            raise SsoUnavailable
        task = self._asking.get(issuer)
        if task is None:
            task = self._asking[issuer] = asyncio.create_task(self._ask(issuer), name="sso provider")
            # Taken, so that a failure nobody waits for any more is not reported as never retrieved.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A caller that is cancelled must not take the answer away from the others.
        return await asyncio.shield(task)

    async def _ask(self, issuer: str) -> Published:
        try:
            read = await self._read(issuer)
        except SsoUnavailable:
            self._silent_until[issuer] = self._clock() + _PAUSE_SECONDS
            _bound(self._silent_until)
            raise
        finally:
            del self._asking[issuer]
        self._published[issuer] = read
        self._published.move_to_end(issuer)
        _bound(self._published)
        return read

    async def authorization_url(
        self, provider: Provider, callback: str, *, state: str, nonce: str, verifier: str
    ) -> str:
        """Return where a browser is sent to sign in (RFC 6749 §4.1.1 with RFC 7636)."""
        published = await self.published(provider.issuer)
        self._fetching.judge(published.authorization_endpoint)
        client = Client(provider, published.auth_method, callback, self._fetching)
        url, _ = client.create_authorization_url(
            published.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier
        )
        return str(url)

    async def exchange(
        self, provider: Provider, callback: str, *, code: str, verifier: str
    ) -> dict[str, Any]:
        """Return what the provider gives for a code; raise SsoFailed where it gives nothing for it."""
        published = await self.published(provider.issuer)
        client = Client(provider, published.auth_method, callback, self._fetching)
        try:
            token = await client.fetch_token(
                published.token_endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
            )
        except (AuthlibBaseError, ValueError) as error:
            raise SsoFailed from error
        return dict(token)

    async def userinfo(self, provider: Provider, access_token: str) -> dict[str, Any]:
        """Return what the provider says of the token's holder beside the ID token."""
        published = await self.published(provider.issuer)
        if published.userinfo_endpoint is None:
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        return _object(await self._fetching.get(published.userinfo_endpoint, headers))

    async def _read(self, issuer: str) -> Published:
        said = _object(await self._fetching.get(get_well_known_url(issuer, external=True)))
        # Who speaks for another issuer is none (OpenID Connect Discovery 1.0 §4.3).
        if said.get("issuer") != issuer:
            raise SsoUnavailable
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = "client_secret_basic" in methods
        userinfo = said.get("userinfo_endpoint")
        return Published(
            authorization_endpoint=_address(said, "authorization_endpoint"),
            token_endpoint=_address(said, "token_endpoint"),
            userinfo_endpoint=userinfo if isinstance(userinfo, str) else None,
            names_itself=said.get("authorization_response_iss_parameter_supported") is True,
            auth_method="client_secret_basic" if basic else "client_secret_post",
            keys=_keys(await self._fetching.get(_address(said, "jwks_uri"))),
            read_at=self._clock(),
        )


def _bound(kept: OrderedDict[str, Any]) -> None:
    if len(kept) > _MOST_ISSUERS:
        kept.popitem(last=False)


def _object(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise SsoUnavailable
    return said


def _address(said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str):
        raise SsoUnavailable
    return found


def _keys(said: Any) -> KeySet:
    """Return the keys that can be read; a provider may publish others, for other purposes, beside them."""
    listed = said.get("keys") if isinstance(said, dict) else None
    keys = [key for key in map(_key, listed if isinstance(listed, list) else []) if key is not None]
    if not keys:
        raise SsoUnavailable
    return KeySet(keys)


def _key(said: Any) -> Any:
    # Public keys alone: a published secret would be one that everybody can sign with.
    if not isinstance(said, dict) or said.get("kty") not in ("RSA", "EC"):
        return None
    try:
        return import_key(said)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
