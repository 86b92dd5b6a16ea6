"""A file on its way in, raw or as the part of a form: as it arrives, and neither slower nor other than said.

Whoever reads its pieces to their end has a body that is whole: of the length and the digest that the client
announced. Everything else is a refusal, raised out of the pieces.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request

from mis_http.files.content_digest import ContentDigest
from mis_http.files.multipart import boundary_of, file_part
from mis_http.patience import Patience, Waiting
from mis_tenancy.errors import BodyMalformed, UnsupportedMediaType

FORM: Final = "multipart/form-data"
# A file in an OpenAPI document.
FILE: Final[dict[str, Any]] = {"type": "string", "format": "binary"}


def file_body(first: str, *others: str, sample: str | None = None) -> dict[str, Any]:
    """Return what OpenAPI says of a body that is a file: a form's part `file`, or raw of a content type.

    `sample` is a small file of the first type.
    """
    form = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
    shown = {} if sample is None else {"example": sample}
    raw = {first: {"schema": FILE} | shown} | {other: {"schema": FILE} for other in others}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": form}} | raw}}


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that is about to be read, once.

    `length` is what it will have where that can be told before; in a form less, where fields stand behind the
    file.
    """

    filename: str | None
    content_type: str | None
    length: int | None
    in_form: bool
    pieces: AsyncIterator[bytes]


async def incoming_file(request: Request, patience: Patience, *, part: str = "file") -> IncomingFile:
    """Return the request's file: the form's part `part`, or the body with `?filename=` and its type."""
    sent = request.headers
    if sent.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the file as it is, without a Content-Encoding.")
    declared = _declared(sent.getlist("content-length"))
    body = _Body(request, patience, declared, ContentDigest(sent.get("content-digest"))).pieces()
    kind = sent.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != FORM:
        return IncomingFile(request.query_params.get("filename"), kind or None, declared, False, body)
    found = await file_part(body, boundary_of(kind), part)
    length = None if declared is None else max(0, declared - found.overhead)
    return IncomingFile(found.filename, found.content_type, length, True, found.pieces)


def _declared(sent: list[str]) -> int | None:
    if not sent:
        return None
    if len(sent) > 1 or not (sent[0].isascii() and sent[0].isdigit()):
        raise BodyMalformed("Content-Length is not a number.")
    return int(sent[0])


class _Body:
    """A request's body, held to what its headers say."""

    def __init__(
        self, request: Request, patience: Patience, declared: int | None, digest: ContentDigest
    ) -> None:
        self._request = request
        self._waiting = Waiting(patience)
        self._declared = declared
        self._digest = digest

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what arrives."""
        stream, waiting = self._request.stream(), self._waiting
        while (chunk := await waiting.until(anext(stream, None))) is not None:
            waiting.received += len(chunk)
            if self._declared is not None and waiting.received > self._declared:
                raise BodyMalformed("The body is longer than its Content-Length.")
            self._digest.update(chunk)
            if chunk:
                yield chunk
        if self._declared is not None and waiting.received < self._declared:
            raise BodyMalformed("The body is shorter than its Content-Length.")
        self._digest.verify()
