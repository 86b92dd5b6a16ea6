"""What the worker does for files: deleted objects go, the dead leave nothing, books and store agree."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from mis_accounts.places import picture_of
from mis_accounts.reservations import Reservation
from mis_jobs.jobs import Job
from mis_models.accounts import CountersRow
from mis_models.media import UploadRow
from mis_models.verifications import VerificationRow
from mis_models.work import JobRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage, StorageUnavailable, TenantStorage
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.user_service.media import (
    MEDIA,
    MIB,
    NOTHING,
    Held,
    content,
    held,
    in_pieces,
    jobs_of,
    keep_up,
    let_lapse,
    objects,
    send,
    storage_of,
    stored,
)
from user_service.media import sweeping
from user_service.media.jobs import DISCARD, SWEEP
from user_service.media.sweeping import Sweep


async def upload_of_a_dead_process(
    suite: Suite, tenant: TenantHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave what a process leaves that dies behind the last byte and before it has made the file."""

    async def die(self: Reservation, storage: TenantStorage) -> None:
        """Do nothing more."""

    with monkeypatch.context() as dead:
        dead.setattr(Reservation, "abandon", die)
        # Its body is longer than it says, which shows at the end.
        answer = await send(suite, tenant, in_pieces(b"x" * 3 * MIB), Content_Length=str(3 * MIB - 1))
        refused(answer, 400, "body_malformed")
    await storage_of(suite, tenant).put(f"media/{await upload_id(suite, tenant)}", b"x" * 3 * MIB)


async def upload_id(suite: Suite, tenant: TenantHandle) -> UUID:
    async with suite.database.transaction(tenant.id) as session:
        return (await session.scalars(select(UploadRow.id))).one()


async def test_the_object_of_a_deleted_file_goes_in_the_background(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    gone, kept = [(await stored(suite, tenant))["id"] for _ in range(2)]
    fine(await suite.client.delete(f"{MEDIA}/{gone}", headers=tenant.auth), 204)
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 2)
    async with suite.database.transaction(tenant.id) as session:
        jobs = select(JobRow).where(JobRow.tenant_id == tenant.id, JobRow.kind == DISCARD)
        (row,) = await session.scalars(jobs, execution_options={"unscoped": True})
    for _ in range(2):
        await jobs_of(suite).discard(Job(row.id, tenant.id, row.kind, row.payload, 1))
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 1)
    assert (await content(suite, tenant, kept)).content == b"hello"


async def test_what_a_dead_process_left_is_given_back_once_it_has_lapsed(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    await upload_of_a_dead_process(suite, tenant, monkeypatch)
    left = Held(3 * MIB - 1, 0, 0, 1, 1)
    assert await held(suite, tenant) == left
    await keep_up(suite)
    assert await held(suite, tenant) == left
    await let_lapse(suite, tenant)
    for _ in range(2):
        await keep_up(suite)
        assert await held(suite, tenant) == NOTHING


async def test_nothing_is_given_back_before_the_object_is_gone(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113, 141."""
    tenant = await suite.tenant("custom")
    await upload_of_a_dead_process(suite, tenant, monkeypatch)
    await let_lapse(suite, tenant)

    async def away(self: TenantStorage, key: str) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(TenantStorage, "delete", away)
        await keep_up(suite)
    assert await held(suite, tenant) == Held(3 * MIB - 1, 0, 0, 1, 1)
    await keep_up(suite)
    assert await held(suite, tenant) == NOTHING


async def test_an_upload_that_was_given_up_is_not_made_a_file(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    put = TenantStorage.put

    async def slowly(self: TenantStorage, key: str, data: Any, **options: Any) -> None:
        await put(self, key, data, **options)
        await let_lapse(suite, tenant)
        await keep_up(suite)

    with monkeypatch.context() as slow:
        slow.setattr(TenantStorage, "put", slowly)
        refused(await send(suite, tenant), 503, "upload_lapsed")
    assert await held(suite, tenant) == NOTHING


async def test_an_upload_that_goes_on_is_prolonged(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await suite.tenant("custom")
    monkeypatch.setattr("mis_accounts.reservations._PROLONGED_EVERY", 0.0)

    async def resting() -> Any:
        async for piece in in_pieces(b"x" * 2 * MIB):
            yield piece
        await let_lapse(suite, tenant)
        # The next piece is heard of before the worker looks.
        yield b"x"
        yield b"x"
        await keep_up(suite)

    fine(await send(suite, tenant, resting(), Content_Length=str(2 * MIB + 2)), 201)


async def test_the_sweep_discards_what_is_no_file_after_a_day_and_corrects_what_is_counted(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    kept = [(await stored(suite, one))["id"] for one in (tenant, other)]
    storage: Storage = suite.apps["user"].state.storage
    await storage.of(tenant.id).put(f"media/{new_id()}", b"an orphan")
    await storage.of(tenant.id).put("exports/1/a", b"not of this feature")
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(CountersRow).values(storage_bytes=77, files=7))
    sweep = Sweep(suite.database, storage)
    await sweep.visit(tenant.id)
    # It might be an upload that another process has just begun.
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 2)
    monkeypatch.setattr(sweeping, "OLD_ENOUGH", timedelta(seconds=-60))
    for _ in range(2):
        await jobs_of(suite).sweep(Job(new_id(), None, SWEEP, {}, 1))
        await keep_up(suite)
        assert await held(suite, tenant) == Held(5, 1, 1, 1, 2)
    await let_lapse(suite, tenant)
    await keep_up(suite)
    for one, media_id in zip((tenant, other), kept, strict=True):
        assert await held(suite, one) == Held(5, 1, 1, 0, 1)
        assert (await content(suite, one, media_id)).content == b"hello"
    assert [found.key async for found in storage.of(tenant.id).list("exports")] == ["exports/1/a"]


async def test_the_sweep_leaves_an_upload_that_is_under_way(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    await upload_of_a_dead_process(suite, tenant, monkeypatch)
    monkeypatch.setattr(sweeping, "OLD_ENOUGH", timedelta(seconds=-60))
    await Sweep(suite.database, suite.apps["user"].state.storage).visit(tenant.id)
    assert await objects(suite, tenant) == 1


def verification(user_id: UUID, image_until: datetime | None) -> VerificationRow:
    return VerificationRow(
        id=new_id(),
        user_id=user_id,
        status="verified",
        checks=[],
        content_type="image/png",
        image_until=image_until,
        requested_by=user_id,
        created_at=datetime.now(UTC),
    )


async def test_the_sweep_discards_pictures_that_no_verification_keeps(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118: whoever is killed between storing a picture and committing its row leaves such a one."""
    tenant = await suite.tenant("custom")
    kept = verification(tenant.owner.id, datetime.now(UTC) + timedelta(days=3))
    forgotten = verification(tenant.owner.id, None)
    ids = [kept.id, forgotten.id, new_id()]
    async with suite.database.transaction(tenant.id) as session:
        session.add_all([kept, forgotten])
    storage = storage_of(suite, tenant)
    for one in ids:
        await storage.put(picture_of(one), b"sealed")
    sweep = Sweep(suite.database, suite.apps["user"].state.storage)
    await sweep.visit(tenant.id)
    # They might be of requests that have not committed yet.
    assert (await held(suite, tenant)).uploads == 0
    monkeypatch.setattr(sweeping, "OLD_ENOUGH", timedelta(seconds=-60))
    await sweep.visit(tenant.id)
    await keep_up(suite)
    assert len([one async for one in storage.list("verifications")]) == 3
    await let_lapse(suite, tenant)
    await keep_up(suite)
    assert [one.key async for one in storage.list("verifications")] == [picture_of(ids[0])]
    assert await held(suite, tenant) == NOTHING
