"""Receives an import file, multipart or raw, onto disk, before its first row goes in.

The answer streams while rows go in. Were the file still arriving then, client and server could wait for each
other for ever, because most clients read nothing before they have sent everything
(docs/decisions/0014-bulk-is-received-whole.md).
"""

from dataclasses import dataclass
from pathlib import PurePath
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Final, Self

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from mis_http.files.incoming import incoming_file
from mis_http.patience import Patience
from mis_tenancy.errors import UnsupportedMediaType
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
    """A received file. Close it."""

    file: IO[bytes]
    written_in: Format

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
        """Let the file go."""
        self.file.close()


async def received(request: Request, patience: Patience) -> Upload:
    """Return the request's file; raise UnsupportedMediaType where it is neither CSV nor NDJSON."""
    incoming = await incoming_file(request, patience)
    written_in = _format(incoming.content_type, incoming.filename)
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed with the upload
    try:
        async for piece in incoming.pieces:
            await run_in_threadpool(file.write, piece)
    except BaseException:
        file.close()
        raise
    return Upload(file, written_in)


def _format(content_type: str | None, filename: str | None) -> Format:
    found = _TYPES.get(_media_type(content_type)) or _SUFFIXES.get(PurePath(filename or "").suffix.lower())
    if found is None:
        raise UnsupportedMediaType(
            "An import is text/csv or application/x-ndjson, raw or as the part `file`."
        )
    return found


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
