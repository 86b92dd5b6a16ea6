"""The compact JWS form (RFC 7515 §7.1), read so strictly that no two texts are the same token.

Libraries accept what several parsers would read in several ways: duplicate members, padding, stray bits,
members that name keys. Each of these has been a bypass somewhere, so all are refused before any key is
touched.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple

LONGEST_TOKEN: Final = 8_192
# The order of the group of P-256 (SEC 2 §2.4.2).
P256_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class Compact(NamedTuple):
    """A compact JWS taken apart; nothing in it is verified yet."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signature: bytes


def parse_compact(token: str) -> Compact:
    """Return the parts of `token`; raise ValueError unless they are canonical base64url and JSON objects."""
    match = _COMPACT.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
    if match is None:
        raise ValueError("not a compact JWS")
    header, payload, signature = (decode_segment(segment) for segment in match.groups())
    return Compact(_json_object(header), _json_object(payload), signature)


def decode_segment(segment: str) -> bytes:
    """Return the bytes of unpadded base64url; raise ValueError unless they encode to `segment` again."""
    raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if encode_segment(raw) != segment:
        raise ValueError("not canonical base64url")
    return raw


def encode_segment(raw: bytes) -> str:
    """Return `raw` as unpadded base64url (RFC 7515 §2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
