"""One file out of a multipart form (RFC 7578) as it arrives: nothing is kept, neither in memory nor on disk.

Starlette's own parser receives a whole form before anybody sees a byte of it; this one stands on the same
library's lower half.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mis_tenancy.errors import BodyMalformed, BodyTooLarge, ValidationFailed

_MOST_PARTS: Final = 20
# Together, of all the fields that stand beside the file.
LARGEST_FIELDS: Final = 2**20
_MALFORMED: Final = "The body is not the multipart form that its Content-Type says."


@dataclass(frozen=True, slots=True)
class Part:
    """The file: what its part says of it, and its bytes, once, up to the end of the whole form.

    `overhead` is how many bytes of the body are not the file's where it is the form's last part.
    """

    filename: str | None
    content_type: str | None
    overhead: int
    pieces: AsyncIterator[bytes]


@dataclass(slots=True)
class _Begin:
    """A part begins; `at` is where in the body its data does, once some of it is there."""

    headers: dict[str, str]
    at: int | None = None

    def parameter(self, name: str) -> str | None:
        _, options = parse_options_header(self.headers.get("content-disposition"))
        value = options.get(name.encode())
        return None if value is None else value.decode(errors="replace")


_Event = _Begin | bytes


def boundary_of(content_type: str) -> str:
    """Return the boundary that the header names; raise BodyMalformed where it names none."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not boundary:
        raise BodyMalformed("The Content-Type multipart/form-data names no boundary.")
    return boundary


async def file_part(body: AsyncIterator[bytes], boundary: str, name: str) -> Part:
    """Return the part `name` of the form; raise ValidationFailed without one, BodyMalformed for no form.

    Fields before it are read and dropped here, those behind it while its pieces are read.
    """
    form = _Form(body, boundary)
    events = form.events()
    async for event in events:
        if isinstance(event, _Begin) and event.parameter("name") == name:
            begins = form.fed if event.at is None else event.at
            return Part(
                filename=event.parameter("filename"),
                content_type=event.headers.get("content-type"),
                # What closes the form: a line's end, two dashes, the boundary, two dashes, a line's end.
                overhead=begins + len(boundary) + 8,
                pieces=_content(form, events, name),
            )
        form.drop(event)
    raise ValidationFailed([{"field": name, "code": "missing", "message": "is the part with the file"}])


async def _content(form: "_Form", events: AsyncIterator[_Event], name: str) -> AsyncIterator[bytes]:
    is_file = True
    async for event in events:
        if isinstance(event, _Begin):
            is_file = False
            if event.parameter("name") == name:
                unfit = {"field": name, "code": "too_many", "message": "is one file; send others apart"}
                raise ValidationFailed([unfit])
        elif is_file:
            yield event
        else:
            form.drop(event)


class _Form:
    """The parts of a form, one after another; `fed` counts the bytes of the body that have been read."""

    def __init__(self, body: AsyncIterator[bytes], boundary: str) -> None:
        self._body = body
        self._chunk = b""
        self._events: list[_Event] = []
        self._headers: dict[str, str] = {}
        self._field = self._value = b""
        self._part: _Begin | None = None
        self._parts = self._dropped = 0
        self._is_complete = False
        self.fed = 0
        try:
            self._parser = MultipartParser(boundary.encode("latin-1"), self._callbacks())
        except FormParserError as error:
            raise BodyMalformed("The boundary of the multipart form is too long.") from error

    async def events(self) -> AsyncIterator[_Event]:
        """Yield each part's beginning and data; raise BodyMalformed for no form, or one that breaks off."""
        async for chunk in self._body:
            self._chunk = chunk
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise BodyMalformed(_MALFORMED) from error
            self.fed += len(chunk)
            found, self._events = self._events, []
            for event in found:
                yield event
        if not self._is_complete:
            raise BodyMalformed("The multipart form ends before its last boundary.")

    def drop(self, event: _Event) -> None:
        """Pass over what is not the file's; raise BodyTooLarge where that is more than fields are."""
        self._dropped += len(event) if isinstance(event, bytes) else 0
        if self._dropped > LARGEST_FIELDS:
            detail = f"The fields beside the file take more than {LARGEST_FIELDS} bytes."
            raise BodyTooLarge(detail, limit=LARGEST_FIELDS)

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_field,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._take_data,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._headers = {}
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise BodyTooLarge(f"The multipart form has more than {_MOST_PARTS} parts.", limit=_MOST_PARTS)

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        # Browsers write names in UTF-8 as it is; the library reads Latin-1, and gives the bytes back.
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._field = self._value = b""

    def _begin_data(self) -> None:
        self._part = _Begin(self._headers)
        self._events.append(self._part)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None and self._part.at is None:
            # Data that looked like the beginning of a boundary comes from elsewhere than the chunk.
            self._part.at = self.fed + (start if data is self._chunk else 0)
        self._events.append(data[start:end])

    def _complete(self) -> None:
        self._is_complete = True
