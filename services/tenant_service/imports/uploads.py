"""Receives an archive, multipart or raw, onto disk, before any transaction begins."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Final
from uuid import UUID

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from mis_tenancy.errors import UnsupportedMediaType, ValidationFailed
from tenant_service.imports.errors import ImportInProgress

_IN_MEMORY: Final = 2**20
_TYPES: Final = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})


class Receiving:
    """Which tenants are sending an archive to this process: one each at a time, as all share its disk."""

    def __init__(self) -> None:
        self._tenants: set[UUID] = set()

    @contextmanager
    def alone(self, tenant_id: UUID) -> Iterator[None]:
        """Hold the tenant's place; raise ImportInProgress where it is taken."""
        if tenant_id in self._tenants:
            raise ImportInProgress(
                "Another archive of this tenant is just being received. Wait for its answer."
            )
        self._tenants.add(tenant_id)
        try:
            yield
        finally:
            self._tenants.discard(tenant_id)


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[IO[bytes]]:
    """Yield the request's archive; raise UnsupportedMediaType where its type says that it is none."""
    kind = _media_type(request.headers.get("content-type"))
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=10) as form:
            yield _uploaded(form.get("file"))
    elif kind in _TYPES:
        with SpooledTemporaryFile(_IN_MEMORY) as file:
            async for part in request.stream():
                await run_in_threadpool(file.write, part)
            yield file
    else:
        raise UnsupportedMediaType("An archive is application/zip, raw or as the part `file`.")


def _uploaded(part: UploadFile | str | None) -> IO[bytes]:
    if not isinstance(part, UploadFile):
        raise ValidationFailed(
            [{"field": "file", "code": "missing", "message": "is the part with the archive"}]
        )
    return part.file


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
