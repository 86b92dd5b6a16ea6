"""Uploads to a local store whose disk fails them."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.suite import Suite
from tests.tenant_service.requests import fine, refused
from tests.user_service.media import MIB, NOTHING, held, in_pieces, send, storage_root


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
