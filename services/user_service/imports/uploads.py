"""Receives an import file, multipart or raw, onto disk, before any transaction begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from fastapi import Request
from starlette.datastructures import UploadFile

from mis_tenancy.errors import UnsupportedMediaType, ValidationFailed
from user_service.imports.files import Format

_IN_MEMORY: Final = 2**20
_TYPES: Final = {
    "text/csv": Format.CSV,
    "application/csv": Format.CSV,
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/x-jsonlines": Format.NDJSON,
}
_SUFFIXES: Final = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON}


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file, at its beginning."""

    file: IO[bytes]
    written_in: Format


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[Upload]:
    """Yield the request's file; raise UnsupportedMediaType where it is neither CSV nor NDJSON."""
    if _media_type(request.headers.get("content-type")) == "multipart/form-data":
        async with request.form(max_files=1, max_fields=10) as form:
            yield _uploaded(form.get("file"))
    else:
        written_in = _format(request.headers.get("content-type"), None)
        with SpooledTemporaryFile(_IN_MEMORY) as file:
            async for part in request.stream():
                file.write(part)
            file.seek(0)
            yield Upload(file, written_in)


def _uploaded(part: UploadFile | str | None) -> Upload:
    if not isinstance(part, UploadFile):
        raise ValidationFailed([{"field": "file", "code": "missing", "message": "is the part with the file"}])
    return Upload(part.file, _format(part.content_type, part.filename))


def _format(content_type: str | None, filename: str | None) -> Format:
    found = _TYPES.get(_media_type(content_type)) or _SUFFIXES.get(PurePath(filename or "").suffix.lower())
    if found is None:
        raise UnsupportedMediaType(
            "An import is text/csv or application/x-ndjson, raw or as the part `file`."
        )
    return found


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
