"""Verifications through the API and the worker: who may, what is kept, and for how long."""

import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update

from mis_accounts.places import picture_of
from mis_jobs.jobs import MOST_ATTEMPTS, Job
from mis_models.verifications import VerificationRow
from mis_models.work import JobRow
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS
from tests.tenant_service.test_encryption_keys import reencryption
from tests.user_service.pictures import Reads, png
from tests.user_service.requests import USERS, changes_audited, code, create
from tests.user_service.test_mrz import passport
from user_service.verifications.errors import ImageUnreadable
from user_service.verifications.images import look_at
from user_service.verifications.jobs import DISCARD, RUN, Reader, VerificationJobs
from user_service.verifications.reading import ReadingFailed

MIB = 2**20


@pytest.fixture
def reader(suite: Suite) -> Iterator[Reads]:
    state = suite.apps["user"].state
    installed, state.document_reader = state.document_reader, Reads(passport())
    yield state.document_reader
    state.document_reader = installed


def path_of(user_id: Any) -> str:
    return f"{USERS}/{user_id}/verifications"


async def send(
    suite: Suite, tenant: TenantHandle, user_id: Any, image: bytes = b"", **headers: str
) -> httpx.Response:
    sent = tenant.auth | {"Content-Type": "image/png"} | headers
    return await suite.client.post(path_of(user_id), content=image or png(), headers=sent)


def jobs_of(suite: Suite, reader: Reader) -> VerificationJobs:
    platform = suite.apps["tenant"].state.platform
    keys = suite.tenancy().tenant_keys
    return VerificationJobs(platform, suite.database, suite.apps["user"].state.storage, keys, reader)


async def worked(suite: Suite, tenant: TenantHandle, reader: Reader, attempt: int = 1) -> None:
    """Do the tenant's jobs of this feature, as the worker does."""
    async with suite.database.transaction(tenant.id) as session:
        kinds = JobRow.kind.in_((RUN, DISCARD))
        queued = (await session.scalars(select(JobRow).where(kinds, JobRow.state == "queued"))).all()
        jobs = [Job(row.id, tenant.id, row.kind, row.payload, attempt) for row in queued]
    work = jobs_of(suite, reader)
    for job in jobs:
        await (work.run if job.kind == RUN else work.discard)(job)


async def test_a_document_is_judged_by_the_worker(suite: Suite, reader: Reads) -> None:
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example", name="Anna Maria Eriksson")
    image = png()
    begun = await send(suite, tenant, user["id"], image)
    assert begun.status_code == 202, begun.text
    assert begun.json()["status"] == "pending"
    assert (begun.json()["checks"], begun.json()["confidence"]) == ([], None)
    await worked(suite, tenant, reader)
    assert reader.seen == [image]
    told = (await suite.client.get(begun.headers["location"], headers=tenant.auth)).json()
    assert told["status"] == "verified"
    assert all(check["passed"] for check in told["checks"])
    assert told["confidence"] == 0.98
    listed = await suite.client.get(path_of(user["id"]), headers=tenant.auth)
    assert listed.json() == [told]
    actions = [row.action for row in await changes_audited(suite, tenant)]
    assert actions == ["user.created", "user.verification_requested", "user.verified"]
    # Done twice, as after a crash, it changes nothing.
    await worked(suite, tenant, reader)
    assert (await suite.client.get(begun.headers["location"], headers=tenant.auth)).json() == told


async def test_nothing_of_the_document_is_kept_but_its_encrypted_picture(
    suite: Suite, reader: Reads, tmp_path: Path
) -> None:
    """Catalogue 132."""
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example", name="Anna Eriksson")
    image = png(padding=5_000)
    verification_id = UUID((await send(suite, tenant, user["id"], image)).json()["id"])
    await worked(suite, tenant, reader)
    storage = suite.apps["user"].state.storage.of(tenant.id)
    stored = await storage.get(picture_of(verification_id))
    assert image[:200] not in stored
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(VerificationRow))).one()
    kept = json.dumps(row.checks)
    assert "L898902C3" not in kept
    assert "ERIKSSON" not in kept.upper()
    # Another verification's picture in its place does not open.
    other_id = UUID((await send(suite, tenant, user["id"], image)).json()["id"])
    await storage.put(picture_of(other_id), stored)
    with pytest.raises(Exception, match="made for another place"):
        await worked(suite, tenant, reader)


async def test_a_rotation_of_the_tenants_key_leaves_pictures_readable(suite: Suite, reader: Reads) -> None:
    """Catalogue 133."""
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example", name="Anna Eriksson")
    begun = await send(suite, tenant, user["id"])
    path = f"{TENANTS}/{tenant.id}/encryption-keys/rotate"
    assert (await suite.client.post(path, headers=tenant.auth)).status_code == 202
    await reencryption(suite).finish(tenant.id)
    await worked(suite, tenant, reader)
    told = await suite.client.get(begun.headers["location"], headers=tenant.auth)
    assert told.json()["status"] == "verified"


async def test_a_picture_is_deleted_when_its_time_has_come(suite: Suite, reader: Reads) -> None:
    tenant = await suite.tenant("enterprise")
    body = {"configKey": "users.verification_retention_days", "configValue": 1}
    await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=tenant.auth)
    await suite.tenancy().feed.poll()
    user = await create(suite, tenant, "anna@x.example")
    begun = (await send(suite, tenant, user["id"])).json()
    until = datetime.fromisoformat(begun["imageUntil"])
    assert timedelta(hours=23) < until - datetime.now(UTC) < timedelta(hours=25)
    await worked(suite, tenant, reader)
    storage = suite.apps["user"].state.storage.of(tenant.id)
    keep_up = Job(uuid4(), None, "verification_upkeep", {}, 1)
    await jobs_of(suite, reader).keep_up(keep_up)
    assert [one.key async for one in storage.list("verifications")]
    async with suite.database.transaction(tenant.id) as session:
        past = datetime.now(UTC) - timedelta(minutes=1)
        await session.execute(update(VerificationRow).values(image_until=past))
    for _ in range(2):
        await jobs_of(suite, reader).keep_up(keep_up)
    assert [one.key async for one in storage.list("verifications")] == []
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(VerificationRow))).one()
    assert (row.image_key, row.image_until) == (None, None)
    shown = await suite.client.get(f"{path_of(user['id'])}/{begun['id']}", headers=tenant.auth)
    assert shown.json()["imageUntil"] is None


@pytest.mark.parametrize("way", ["erase", "delete"])
async def test_whoever_leaves_takes_the_pictures_along(suite: Suite, reader: Reads, way: str) -> None:
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example")
    await send(suite, tenant, user["id"])
    if way == "erase":
        report = await suite.client.post(f"{USERS}/{user['id']}/erase", headers=tenant.auth)
        assert report.json()["removed"]["verifications"] == 1
    else:
        await suite.client.delete(f"{USERS}/{user['id']}", headers=tenant.auth)
    # The job that would have read it finds nobody.
    await worked(suite, tenant, reader)
    assert reader.seen == []
    storage = suite.apps["user"].state.storage.of(tenant.id)
    assert [one.key async for one in storage.list("verifications")] == []


async def test_what_cannot_be_read_is_for_people_and_what_fails_is_told(suite: Suite, reader: Reads) -> None:
    tenant = await suite.tenant("enterprise")
    user = await create(suite, tenant, "anna@x.example")
    paths = []
    for failure in (ReadingFailed("The picture could not be decoded."), OSError("no memory")):
        reader.fails = failure
        paths.append((await send(suite, tenant, user["id"])).headers["location"])
        if isinstance(failure, ReadingFailed):
            await worked(suite, tenant, reader)
        else:
            with pytest.raises(OSError, match="no memory"):
                await worked(suite, tenant, reader, attempt=1)
            assert (await suite.client.get(paths[-1], headers=tenant.auth)).json()["status"] == "pending"
            with pytest.raises(OSError, match="no memory"):
                await worked(suite, tenant, reader, attempt=MOST_ATTEMPTS)
    statuses = [(await suite.client.get(path, headers=tenant.auth)).json()["status"] for path in paths]
    assert statuses == ["needs_review", "failed"]


BOMB = png(60_000, 60_000)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (b"not a picture", (422, "image_unreadable")),
        (b"", (422, "image_unreadable")),
        (b"%PDF-1.7 " + b"x" * 500, (422, "image_unreadable")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (422, "image_unreadable")),
        (b"\x89PNG\r\n\x1a\n", (422, "image_unreadable")),
        (b"\xff\xd8\xff\xe0\x00\x02" * 30, (422, "image_unreadable")),
        (b"\xff\xd8\xff\xe0\x00\x00", (422, "image_unreadable")),
        (BOMB, (422, "image_unreadable")),
        (png(100, 100), (422, "image_unreadable")),
        (png(padding=10 * MIB), (413, "body_too_large")),
    ],
    ids=["text", "nothing", "pdf", "svg", "cut", "loop", "endless", "bomb", "tiny", "large"],
)
async def test_what_is_no_picture_or_a_bomb_is_refused(
    suite: Suite, reader: Reads, image: bytes, expected: tuple[int, str]
) -> None:
    """Catalogue 115."""
    assert len(BOMB) < 100_000
    tenant = await suite.tenant("enterprise")
    sent = tenant.auth | {"Content-Type": "image/png"}
    answer = await suite.client.post(path_of(tenant.owner.id), content=image, headers=sent)
    assert code(answer) == expected
    async with suite.database.transaction(tenant.id) as session:
        assert (await session.scalars(select(VerificationRow))).all() == []


def test_a_jpeg_says_how_large_it_is_behind_other_segments() -> None:
    header = b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 10 + b"\xff\xff\xc2\x00\x11\x08"
    picture = look_at(header + struct.pack(">HH", 700, 900) + b"\0" * 20)
    assert (picture.content_type, picture.width, picture.height) == ("image/jpeg", 900, 700)
    with pytest.raises(ImageUnreadable, match="pixels"):
        look_at(header + struct.pack(">HH", 65_000, 65_000) + b"\0" * 20)
    # Looked for behind ten megabytes of padding, a size would keep everybody else waiting.
    with pytest.raises(ImageUnreadable):
        look_at(header[:3] + b"\xff" * 2_000 + header[-5:] + struct.pack(">HH", 700, 900) + b"\0" * 20)


async def test_who_may_verify_whom(suite: Suite, reader: Reads) -> None:
    """Catalogue 95."""
    basic, tenant = await suite.tenant("premium"), await suite.tenant("enterprise")
    assert code(await send(suite, basic, basic.owner.id)) == (403, "feature_not_available")
    admin = await suite.user(tenant, "admin")
    refused = await send(suite, tenant, tenant.owner.id, b"", **admin.auth)
    assert code(refused) == (403, "permission_denied")
    assert code(await send(suite, tenant, basic.owner.id)) == (404, "user_not_found")
    begun = (await send(suite, tenant, admin.id)).json()
    for user_id, verification_id in (
        (tenant.owner.id, begun["id"]),
        (admin.id, uuid4()),
        (admin.id, "not-an-id"),
    ):
        answer = await suite.client.get(f"{path_of(user_id)}/{verification_id}", headers=tenant.auth)
        assert code(answer) == (404, "verification_not_found")


async def test_without_the_extra_the_answer_says_what_to_install(
    suite: Suite, reader: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "is_installed", False)
    tenant = await suite.tenant("enterprise")
    answer = await send(suite, tenant, tenant.owner.id)
    assert code(answer) == (501, "verification_unavailable")
    assert "mis-tenancy[verification]" in answer.json()["detail"]
