"""Verifies ID tokens: whose word it is, for whom, when, and in answer to what (OIDC Core 1.0 §3.1.3.7)."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError

from auth_service.errors import SsoFailed
from auth_service.sso.configuration import Provider
from auth_service.sso.providers import Providers
from mis_tenancy.tokens.jose import decode_segment

# Signatures with public keys alone: with HMAC, or with none, whoever knows what is public could sign.
ALGORITHMS: Final = ("RS256", "PS256", "ES256")
_LONGEST: Final = 16 * 1024
_LONGEST_SUBJECT: Final = 255
_LEEWAY_SECONDS: Final = 60


async def verified(
    providers: Providers, provider: Provider, answer: Mapping[str, Any], nonce: str
) -> dict[str, Any]:
    """Return the claims of the ID token in a provider's answer; raise SsoFailed."""
    text = answer.get("id_token")
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isascii():
        raise SsoFailed
    published = await providers.published(provider.issuer, knows=_key_of(text))
    try:
        token = jwt.decode(text, published.keys, algorithms=list(ALGORITHMS))
        claims = CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
            params={
                "nonce": nonce,
                "client_id": provider.client_id,
                "access_token": answer.get("access_token"),
            },
        )
        claims.validate(now=int(time.time()), leeway=_LEEWAY_SECONDS)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SsoFailed from error
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or "\x00" in subject:
        raise SsoFailed
    return dict(claims)


def _key_of(text: str) -> str | None:
    """Return the id of the key that the token says it is signed with, which is checked when it is used."""
    try:
        header = json.loads(decode_segment(text.partition(".")[0]))
    except (ValueError, RecursionError) as error:
        raise SsoFailed from error
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else None
