"""Requests to the media routes, and what their tests look up behind them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import func, select, update

from mis_jobs.jobs import Job
from mis_models.accounts import CountersRow
from mis_models.media import MediaRow, UploadRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import GIB
from mis_tenancy.storage import Storage, TenantStorage
from tests.object_store import unfinished_parts
from tests.suite import Suite, TenantHandle, fresh_address
from user_service.media.jobs import UPKEEP, MediaJobs

MEDIA = "/api/v1/media"
MIB = 2**20


async def send(
    suite: Suite,
    tenant: TenantHandle,
    content: bytes | AsyncIterator[bytes] = b"hello",
    *,
    filename: str = "hello.txt",
    auth: dict[str, str] | None = None,
    **headers: str,
) -> httpx.Response:
    """Send a file raw; underscores in `headers` are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Content-Type": "text/plain"} | named | (auth or tenant.auth)
    return await suite.client.post(MEDIA, params={"filename": filename}, content=content, headers=sent)


async def stored(suite: Suite, tenant: TenantHandle, content: bytes = b"hello", **options: Any) -> Any:
    """Store a file and return what the API says of it."""
    answer = await send(suite, tenant, content, **options)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def in_pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """Yield the content as a client that does not say how long it is."""
    for at in range(0, len(content), size):
        yield content[at : at + size]
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Held:
    """What a tenant has: bytes and files as counted, files and uploads by their rows, keys of its objects."""

    storage_bytes: int
    files: int
    rows: int
    uploads: int
    objects: int


NOTHING = Held(0, 0, 0, 0, 0)


def storage_of(suite: Suite, tenant: TenantHandle) -> TenantStorage:
    """Return the tenant's part of the store."""
    storage: Storage = suite.apps["user"].state.storage
    return storage.of(tenant.id)


def storage_root(suite: Suite) -> Path:
    """Return the directory of a local store."""
    storage: Storage = suite.apps["user"].state.storage
    assert storage.local is not None
    return storage.local.root


async def held(suite: Suite, tenant: TenantHandle) -> Held:
    """Return what the tenant has of media, in Postgres and in the store."""
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        rows = await session.scalar(select(func.count()).select_from(MediaRow))
        uploads = await session.scalar(select(func.count()).select_from(UploadRow))
    return Held(counters.storage_bytes, counters.files, rows or 0, uploads or 0, await objects(suite, tenant))


async def objects(suite: Suite, tenant: TenantHandle) -> int:
    """Return how many objects the tenant has, with what is half written where that can be seen."""
    storage: Storage = suite.apps["user"].state.storage
    if storage.local is None:
        whole = [one async for one in storage.of(tenant.id).list("media")]
        return len(whole) + await unfinished_parts(storage.of(tenant.id).prefix)
    place = storage.local.root / "tenants" / str(tenant.id) / "media"
    return sum(1 for one in place.rglob("*") if one.is_file())


async def tenant_with_room(suite: Suite, room: int) -> TenantHandle:
    """Return a tenant that may store `room` bytes more."""
    tenant = await suite.tenant("custom", maxStorage=1)
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(CountersRow).values(storage_bytes=GIB - room))
    return tenant


async def set_largest(suite: Suite, tenant: TenantHandle, size: int) -> None:
    """Let the tenant's files be of `size` bytes at most."""
    body = {"configKey": "file_upload.max_size", "configValue": size}
    path = f"/api/v1/tenants/{tenant.id}/config"
    answer = await suite.client.post(path, json=body, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    await suite.tenancy().feed.poll()


async def fetch(suite: Suite, url: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Follow a link as a stranger does; underscores in `headers` are dashes."""
    parts = urlsplit(url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with suite.client_at(fresh_address()) as client:
        return await client.request(method, f"{parts.path}?{parts.query}", headers=named)


async def content(suite: Suite, tenant: TenantHandle, media_id: str, **headers: str) -> httpx.Response:
    """Fetch a file with the owner's token; underscores in `headers` are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await suite.client.get(f"{MEDIA}/{media_id}/content", headers=named | tenant.auth)


async def cut_off(suite: Suite, tenant: TenantHandle, sent: int, declared: int | None) -> int | None:
    """Upload as a client that goes away after `sent` bytes; return the status, had anybody been there."""
    headers = [(b"host", b"testserver"), (b"content-type", b"text/plain")]
    headers.append((b"authorization", f"Bearer {tenant.owner_token}".encode()))
    if declared is not None:
        headers.append((b"content-length", str(declared).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": MEDIA,
        "raw_path": MEDIA.encode(),
        "query_string": b"filename=cut.txt",
        "root_path": "",
        "headers": headers,
        "client": (fresh_address(), 50_000),
        "server": ("testserver", 80),
    }
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x" * min(64 * 1024, sent - at), "more_body": True}
        for at in range(0, sent, 64 * 1024)
    ]
    waiting = iter([*messages, {"type": "http.disconnect"}])
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await suite.gateway(scope, receive, answer)
    return statuses[0] if statuses else None


def digest_of(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def jobs_of(suite: Suite) -> MediaJobs:
    """Return the handlers of the worker."""
    storage: Storage = suite.apps["user"].state.storage
    return MediaJobs(suite.apps["tenant"].state.platform, suite.database, storage)


async def keep_up(suite: Suite) -> None:
    await jobs_of(suite).keep_up(Job(new_id(), None, UPKEEP, {}, 1))


async def let_lapse(suite: Suite, tenant: TenantHandle) -> None:
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(UploadRow).values(lapses_at=datetime.now(UTC) - timedelta(seconds=1)))
