"""What a picture says of itself in its first bytes, without decoding it: its type and how large it would be.

A small file may unfold to gigabytes. So the size is judged by what the header claims, which the decoder is
held to later on.
"""

import struct
from dataclasses import dataclass
from typing import Final

from user_service.verifications.errors import ImageUnreadable

LARGEST_BYTES: Final = 10 * 2**20
_MOST_PIXELS: Final = 25_000_000
_SHORTEST_SIDE: Final = 300
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
# The frames that say how large a JPEG is: all but tables, arithmetic coding's among them.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A camera writes dozens of segments; a file of nothing but padding is walked for seconds.
_MOST_SEGMENTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that may be decoded."""

    content_type: str
    width: int
    height: int


def look_at(data: bytes) -> Picture:
    """Return what the bytes are; raise ImageUnreadable for what is no JPEG or PNG, too small or too large."""
    if len(data) > LARGEST_BYTES:
        raise ImageUnreadable(f"An image takes at most {LARGEST_BYTES} bytes.")
    if data.startswith(_PNG):
        picture = Picture("image/png", *_size_of_png(data))
    elif data.startswith(_JPEG):
        picture = Picture("image/jpeg", *_size_of_jpeg(data))
    else:
        raise ImageUnreadable
    if picture.width * picture.height > _MOST_PIXELS:
        raise ImageUnreadable(f"An image takes at most {_MOST_PIXELS} pixels. Make it smaller.")
    if min(picture.width, picture.height) < _SHORTEST_SIDE:
        raise ImageUnreadable(f"An image needs at least {_SHORTEST_SIDE} pixels each way to be read.")
    return picture


def _size_of_png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise ImageUnreadable
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        # A padding byte stands alone; whatever else begins a segment says how long it is.
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ImageUnreadable
