"""`Content-Digest` (RFC 9530): what a client says its body hashes to, held against what has arrived."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

from mis_tenancy.errors import ProblemError

_MEMBER: Final = re.compile(r"\s*([a-z][a-z0-9-]{0,31})=:([A-Za-z0-9+/=]*):\s*")
# Others are not proof against forgery (RFC 9530 §5), or not of this registry; they say nothing here.
_KNOWN: Final[Mapping[str, str]] = {"sha-256": "sha256", "sha-512": "sha512"}


class ContentDigestMalformed(ProblemError):
    """The header cannot be read."""

    status = 400
    code = "content_digest_malformed"
    detail = "Content-Digest is `sha-256=:…:` or `sha-512=:…:`, base64 of the digest between the colons."


class ContentDigestMismatch(ProblemError):
    """What has arrived is not what was sent."""

    status = 400
    code = "content_digest_mismatch"
    detail = "The body that arrived does not have the digest that Content-Digest says. Send it again."


class ContentDigest:
    """The digests that `header` announces, computed as the body goes by; none without a header."""

    def __init__(self, header: str | None) -> None:
        self._expected = {} if header is None else _parsed(header)
        self._hashes: dict[str, Any] = {name: hashlib.new(_KNOWN[name]) for name in self._expected}

    def update(self, chunk: bytes) -> None:
        """Take the next part of the body."""
        for running in self._hashes.values():
            running.update(chunk)

    def verify(self) -> None:
        """Raise ContentDigestMismatch unless the whole body is the one that was announced."""
        for name, expected in self._expected.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise ContentDigestMismatch(algorithm=name)


def digest_header(sha256: str) -> str:
    """Return the value of a digest field for a SHA-256 in hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _parsed(header: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in header.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise ContentDigestMalformed
        try:
            digest = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise ContentDigestMalformed from error
        if match[1] in _KNOWN:
            found[match[1]] = digest
    return found
