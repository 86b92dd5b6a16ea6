"""Objects as downloads: streamed, whole or one range of them (RFC 9110 §14), never run by a browser.

Nothing is held open while a slow client reads: each piece is fetched when the last one has gone.
"""

import re
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Header
from starlette.responses import Response, StreamingResponse

from mis_http.dates import moment_of
from mis_http.etags import is_known
from mis_http.files.content_digest import digest_header
from mis_tenancy.errors import ProblemError

Pieces = Callable[[int, int], AsyncIterator[bytes]]

_UNPLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")
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
    """What is handed out: `pieces(start, stop)` yields its bytes, `tag` is the version they are of.

    `sha256`, in hexadecimal, is that of the whole, where it is known.
    """

    filename: str
    content_type: str
    size: int
    tag: str
    pieces: Pieces
    modified_at: datetime | None = None
    sha256: str | None = None

    @property
    def last_modified(self) -> str | None:
        """The moment as HTTP spells it, to the second."""
        return None if self.modified_at is None else format_datetime(self.modified_at, usegmt=True)

    def is_version(self, named: str) -> bool:
        """Return whether a strong tag or a date, as in `If-Range`, names this version."""
        return named.strip() in (f'"{self.tag}"', self.last_modified)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about the download it wants."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


async def asked_download(
    # Named apart from the built-in, whose name the header has.
    asked_range: Annotated[str | None, Header(alias="range")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    if_modified_since: Annotated[str | None, Header()] = None,
) -> Asked:
    """Read the headers of RFC 9110 §13 and §14."""
    return Asked(asked_range, if_range, if_none_match, if_modified_since)


AskedDownload = Annotated[Asked, Depends(asked_download)]


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


def handed_out(what: Download, asked: Asked) -> Response:
    """Return the answer with the bytes that are asked for, or 304 for a version that the client has."""
    headers = _headers(what)
    if _is_had(what, asked):
        return Response(status_code=304, headers=headers)
    is_same = asked.if_range is None or what.is_version(asked.if_range)
    part = range_of(asked.range, what.size) if is_same else None
    start, stop = part or (0, what.size)
    headers["Content-Length"] = str(stop - start)
    # Given as a header, because a text's type would else be given a charset that nobody has said.
    headers["Content-Type"] = what.content_type
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{what.size}"
    return StreamingResponse(
        what.pieces(start, stop),
        status_code=200 if part is None else 206,
        headers=headers,
    )


def _headers(what: Download) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": attachment(what.filename),
        # A browser that shows it all the same gives it no origin, no script and no further request.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "ETag": f'"{what.tag}"',
        "X-Content-Type-Options": "nosniff",
    }
    if what.last_modified is not None:
        headers["Last-Modified"] = what.last_modified
    if what.sha256 is not None:
        headers["Repr-Digest"] = digest_header(what.sha256)
    return headers


def _is_had(what: Download, asked: Asked) -> bool:
    """Return whether the client has this version; a tag it names counts before a date (RFC 9110 §13.2.2)."""
    if asked.if_none_match is not None:
        return is_known(asked.if_none_match, what.tag)
    if asked.if_modified_since is None or what.modified_at is None:
        return False
    since = moment_of(asked.if_modified_since)
    return since is not None and since.tzinfo is not None and what.modified_at.replace(microsecond=0) <= since


def attachment(filename: str) -> str:
    """Return the Content-Disposition of a file to be saved under its name (RFC 6266, RFC 8187)."""
    quoted = quote(filename, safe="")
    if quoted == filename:
        return f'attachment; filename="{filename}"'
    # The plain form is for clients that do not know the other, and takes only what needs no quoting.
    plain = _UNPLAIN.sub("_", unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode())
    return f"attachment; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quoted}"
