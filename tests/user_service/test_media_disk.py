"""Uploads to a local store whose disk fails them, and processes that are killed while they receive."""

import asyncio
import multiprocessing
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.user_service import upload_child
from tests.user_service.media import (
    MIB,
    NOTHING,
    held,
    in_pieces,
    keep_up,
    let_lapse,
    send,
    storage_root,
    stored,
)


@contextmanager
def smallest_files(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_told_and_leaves_nothing(suite: Suite) -> None:
    """Catalogue 113, 141."""
    tenant = await suite.tenant("custom")
    with smallest_files(7 * MIB):
        refused(await send(suite, tenant, b"x" * 12 * MIB), 503, "storage_unavailable")
        refused(await send(suite, tenant, in_pieces(b"x" * 12 * MIB)), 503, "storage_unavailable")
    assert await held(suite, tenant) == NOTHING
    fine(await send(suite, tenant, b"x" * 12 * MIB), 201)


async def test_a_store_that_is_away_is_told_and_leaves_nothing(suite: Suite) -> None:
    """Catalogue 141."""
    tenant = await suite.tenant("custom")
    place = storage_root(suite) / "tenants" / str(tenant.id)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file where the directory was")
    for content in (b"hello", b"x" * 2 * MIB):
        refused(await send(suite, tenant, content), 503, "storage_unavailable")
    place.unlink()
    there = await held(suite, tenant)
    assert (there.rows, there.files, there.objects) == (0, 0, 0)


def kill_while_receiving(suite: Suite, tenant: TenantHandle, mib: int) -> None:
    """Let a process receive so much of an upload, and kill it there."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([upload_child.__name__])
    urls = {name: getattr(suite.settings, name) for name in ("database_url", "storage_url")}
    told = urls | {"tenant": str(tenant.id), "mib": str(mib)}
    hearing, telling = forks.Pipe(duplex=False)
    process = forks.Process(target=upload_child.run, args=(told, telling))
    process.start()
    telling.close()
    assert hearing.recv() == "received"
    process.kill()
    process.join()
    hearing.close()


@pytest.mark.parametrize("mib", [0, 1, 2, 14])
async def test_a_process_that_is_killed_leaves_nothing_for_long(suite: Suite, mib: int) -> None:
    """Catalogue 113, 118."""
    tenant = await suite.tenant("custom")
    kept = await stored(suite, tenant)
    before = await held(suite, tenant)
    await asyncio.to_thread(kill_while_receiving, suite, tenant, mib)
    left = await held(suite, tenant)
    # What may still turn out to be small is in memory alone.
    assert (left.uploads, left.objects - before.objects) == ((1, 1) if mib > 1 else (0, 0))
    assert (left.storage_bytes - before.storage_bytes >= mib * MIB) == (mib != 1)
    await let_lapse(suite, tenant)
    await keep_up(suite)
    assert await held(suite, tenant) == before
    assert [one.name for one in (storage_root(suite) / "tenants" / str(tenant.id) / "media").iterdir()] == [
        kept["id"]
    ]
