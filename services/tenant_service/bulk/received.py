"""Receives a bulk whole before its first operation runs, on disk where it is large.

The answer streams while the operations run. Were the body still arriving then, client and server could wait
for each other for ever, because most clients read nothing before they have sent everything; and a body that
turns out to be broken or too long would be half done.
"""

from array import array
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Final, Self

import msgspec
from fastapi import Request

from mis_http.limits import MIB
from mis_tenancy.errors import BodyMalformed, BodyTooLarge, UnsupportedMediaType, ValidationFailed
from tenant_service.bulk.splitting import Elements, Lines, Span, Splitter

MOST_OPERATIONS: Final = 10_000
LARGEST_BODY: Final = 32 * MIB
# As much as a request for that one operation may take.
_LARGEST_PART: Final = MIB
_NO_JSON: Final = "The body is not JSON; nothing was done."
_NDJSON: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class Received:
    """A body that is there: its parts, one after another. Close it."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(MIB)  # noqa: SIM115  # closed by `close`
        self._ends = array("Q")
        self._found = self._blank = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the body go."""
        self._file.close()

    def parts(self) -> Iterator[bytes]:
        """Yield each operation as it was sent."""
        for number in range(0, len(self._ends), 2):
            yield self._part(self._ends[number], self._ends[number + 1])

    async def receive(self, request: Request) -> None:
        """Take the request's body; raise what is wrong with the whole of it."""
        is_array = _is_array(request.headers.get("content-type"))
        splitter: Splitter = Elements() if is_array else Lines()
        async for piece in request.stream():
            self._file.write(piece)
            self._note(splitter.feed(piece), is_array=is_array)
        self._note(splitter.finish(), is_array=is_array)
        # Nothing stands between the brackets of an empty array, and nowhere else.
        if is_array and self._blank and self._found > 1:
            raise BodyMalformed(_NO_JSON)

    def _note(self, spans: Iterator[Span], *, is_array: bool) -> None:
        for start, end in spans:
            if end - start > _LARGEST_PART:
                raise BodyTooLarge(
                    f"An operation takes at most {_LARGEST_PART} bytes; nothing was done.",
                    limit=_LARGEST_PART,
                )
            part = self._part(start, end)
            self._found += 1
            if part.isspace() or not part:
                self._blank += 1
                continue
            if is_array:
                _require_json(part)
            if len(self._ends) == 2 * MOST_OPERATIONS:
                message = f"takes at most {MOST_OPERATIONS} operations; nothing was done"
                raise ValidationFailed([{"field": "", "code": "too_many_operations", "message": message}])
            self._ends.extend((start, end))

    def _part(self, start: int, end: int) -> bytes:
        here = self._file.tell()
        self._file.seek(start)
        part = self._file.read(end - start)
        self._file.seek(here)
        return part


def _is_array(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in _NDJSON | {"application/json"}:
        raise UnsupportedMediaType("A bulk is application/x-ndjson, or an array as application/json.")
    return kind == "application/json"


def _require_json(part: bytes) -> None:
    """Refuse the whole array for an element that is no JSON: where the next one begins is a guess then."""
    try:
        msgspec.json.decode(part)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BodyMalformed(_NO_JSON) from error
