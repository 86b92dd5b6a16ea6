"""What a logo may be: a small picture that cannot run anything.

SVG is refused because it is a document with scripts; a type is believed only where the bytes begin like it.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from mis_http.looks import LOGO_TYPES

LARGEST: Final = 256 * 1024
# As base64, with room for the prefix.
LONGEST_TEXT: Final = LARGEST * 4 // 3 + 64
_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z+.-]+);base64,([A-Za-z0-9+/]*={0,2})")


class LogoUnfit(ValueError):
    """What was sent is no logo; the message says what to send."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A logo as it was sent."""

    content_type: str
    data: bytes


def parse_picture(text: str) -> Picture:
    """Return the picture of a `data:` URL (RFC 2397); raise LogoUnfit."""
    match = _DATA_URL.fullmatch(text)
    if match is None:
        raise LogoUnfit("takes a data: URL in base64, the URL it was read as, or null")
    if match[1] not in LOGO_TYPES:
        raise LogoUnfit("takes PNG, JPEG or WebP; SVG can run scripts and is refused")
    try:
        data = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise LogoUnfit("is not base64") from error
    if len(data) > LARGEST:
        raise LogoUnfit(f"takes at most {LARGEST // 1024} KiB")
    if _type_of(data) != match[1]:
        raise LogoUnfit("is not a picture of the type it claims to be")
    return Picture(match[1], data)


def _type_of(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
