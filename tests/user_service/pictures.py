"""Pictures for tests: made of bytes, and, where a drawing library is there, drawn specimens of documents."""

import importlib
import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from user_service.verifications.finding import Line


def png(width: int = 600, height: int = 400, padding: int = 0) -> bytes:
    """Return a white picture of that size, in very few bytes however large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xff" * ((width + 7) // 8)) * min(height, 2_000))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", rows + b"\0" * padding)
        + chunk(b"IEND", b"")
    )


class Reads:
    """Reads what the test says stands on the document; it is installed."""

    is_installed = True

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self.lines = lines
        self.seen: list[bytes] = []
        self.fails: Exception | None = None

    async def read(self, image: bytes) -> Sequence[Line]:
        self.seen.append(image)
        if self.fails is not None:
            raise self.fails
        return [Line(text, 0.98) for text in self.lines]


def specimen(zone: Sequence[str]) -> bytes:
    """Return a drawn passport page with that machine-readable zone, letter by letter in its own place."""
    images: Any = importlib.import_module("PIL.Image")
    drawing: Any = importlib.import_module("PIL.ImageDraw")
    fonts: Any = importlib.import_module("PIL.ImageFont")
    font, step = fonts.load_default(size=32), 25
    picture = images.new("RGB", (step * len(zone[0]) + 100, 700), "white")
    pen = drawing.Draw(picture)
    pen.text((60, 60), "UTOPIA  PASSPORT", font=font, fill="black")
    for row, line in enumerate(zone):
        for place, letter in enumerate(line):
            middle = 50 + step * place + (step - pen.textlength(letter, font=font)) / 2
            pen.text((middle, 540 + 60 * row), letter, font=font, fill="black")
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()
