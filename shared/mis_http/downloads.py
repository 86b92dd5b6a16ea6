"""Objects as downloads: streamed, whole or one range of them (RFC 9110 §14), never run by a browser.

Nothing is held open while a slow client reads: each piece is fetched when the last one has gone.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.responses import StreamingResponse

from mis_tenancy.errors import ProblemError

Pieces = Callable[[int, int], AsyncIterator[bytes]]

_ONE_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class RangeNotSatisfiable(ProblemError):
    """The range asked for lies beyond the end."""

    status = 416
    code = "range_not_satisfiable"
    detail = "The range lies beyond the end. Content-Range tells the size."

    def __init__(self, size: int) -> None:
        super().__init__(headers={"Content-Range": f"bytes */{size}"})


@dataclass(frozen=True, slots=True)
class Download:
    """What is handed out: `pieces(start, stop)` yields its bytes, `tag` is the version they are of."""

    filename: str
    content_type: str
    size: int
    tag: str
    pieces: Pieces


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the start and the stop that `Range` asks for, None for the whole.

    More than one range, other units and what is malformed are answered with the whole, as RFC 9110 allows.
    Raise RangeNotSatisfiable where nothing lies in the range.
    """
    match = None if header is None else _ONE_RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), size if match[2] == "" else min(int(match[2]) + 1, size)
        if match[2] != "" and int(match[2]) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return start, stop


def handed_out(what: Download, asked: str | None, if_range: str | None) -> StreamingResponse:
    """Return the answer with the bytes `Range` asks for, or all where `If-Range` names another version."""
    part = range_of(asked, what.size) if if_range in (None, f'"{what.tag}"') else None
    start, stop = part or (0, what.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": _attachment(what.filename),
        "Content-Length": str(stop - start),
        "ETag": f'"{what.tag}"',
        "X-Content-Type-Options": "nosniff",
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{what.size}"
    return StreamingResponse(
        what.pieces(start, stop),
        status_code=200 if part is None else 206,
        headers=headers,
        media_type=what.content_type,
    )


def _attachment(filename: str) -> str:
    quoted = quote(filename, safe="")
    # The plain form takes only what needs no quoting (RFC 6266).
    named = f'filename="{filename}"' if quoted == filename else f"filename*=UTF-8''{quoted}"
    return f"attachment; {named}"
