"""Files in archives: exported with their bytes, and brought back as they were, or not at all."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from mis_jobs.jobs import Job
from mis_tenancy.identifiers import new_id
from tenant_service.imports import running
from tenant_service.imports.staging import Staging
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.exports import finished, manifest_of, opened, rows_of
from tests.tenant_service.imports import (
    archive_of,
    exported,
    import_job_for,
    import_jobs_of,
    import_status,
    imported,
    send,
    users_of,
)
from tests.tenant_service.plan_moves import configure
from tests.user_service.media import (
    MEDIA,
    MIB,
    NOTHING,
    Held,
    content,
    held,
    jobs_of,
    keep_up,
    let_lapse,
    storage_of,
    stored,
    tenant_with_room,
)
from user_service.media import sweeping
from user_service.media.jobs import DISCARD, FilesComingBack
from user_service.media.sweeping import Sweep


async def listed(suite: Suite, tenant: TenantHandle) -> list[dict[str, Any]]:
    answer = await suite.client.get(MEDIA, headers=tenant.auth)
    documents: list[dict[str, Any]] = fine(answer)
    return documents


async def delete_all(suite: Suite, tenant: TenantHandle) -> None:
    for document in await listed(suite, tenant):
        fine(await suite.client.delete(f"{MEDIA}/{document['id']}", headers=tenant.auth), 204)
        await storage_of(suite, tenant).delete(f"media/{document['id']}")
    assert await held(suite, tenant) == NOTHING


@pytest.mark.parametrize("written_in", ["json", "ndjson", "csv"])
async def test_an_export_of_media_has_every_file_with_its_bytes(suite: Suite, written_in: str) -> None:
    """Catalogue 117."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    sent = [b"", b"hello", b"\x00" * 3 * MIB]
    documents = [await stored(suite, tenant, one, filename=f"=f{len(one)}.bin") for one in sent]
    await stored(suite, other, b"theirs")
    archive = await opened(suite, await finished(suite, tenant, "media", written_in=written_in))
    assert manifest_of(archive)["counts"] == {"media": 3}
    rows = rows_of(archive, "media", written_in)
    assert [row["id"] for row in rows] == [document["id"] for document in documents]
    if written_in != "csv":
        assert rows == documents
    objects = {name for name in archive.namelist() if name.startswith("media/")}
    assert objects == {f"media/{document['id']}" for document in documents}
    for document, one in zip(documents, sent, strict=True):
        assert archive.read(f"media/{document['id']}") == one
    assert archive.testzip() is None


async def test_a_file_that_is_deleted_while_it_is_exported_is_left_out_whole(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    gone, kept = [(await stored(suite, tenant))["id"] for _ in range(2)]
    await storage_of(suite, tenant).delete(f"media/{gone}")
    archive = await opened(suite, await finished(suite, tenant, "media"))
    assert [row["id"] for row in rows_of(archive, "media")] == [kept]
    assert manifest_of(archive)["counts"] == {"media": 1}


@pytest.mark.parametrize("written_in", ["json", "ndjson", "csv"])
async def test_lost_files_come_back_as_they_were(suite: Suite, written_in: str) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant)
    await stored(suite, tenant, b"hello", filename="=Grüße, 'a'.txt", auth=member.auth)
    await stored(suite, tenant, b"x" * 2 * MIB)
    before = await listed(suite, tenant)
    archive = await exported(suite, tenant, "media", written_in=written_in)
    await delete_all(suite, tenant)
    rehearsal = fine(await send(suite, tenant, archive, dry_run=True))
    assert rehearsal["storage"] == {"limit": None, "used": 0, "requested": 2 * MIB + 5, "fits": True}
    assert rehearsal["dataTypes"]["media"]["create"] == 2
    assert await held(suite, tenant) == NOTHING
    done = await imported(suite, tenant, archive)
    assert done["report"]["storage"] == rehearsal["storage"]
    assert await listed(suite, tenant) == before
    for document in before:
        answer = await content(suite, tenant, document["id"])
        assert hashlib.sha256(answer.content).hexdigest() == document["sha256"]
    assert await held(suite, tenant) == Held(2 * MIB + 5, 2, 2, 0, 2)
    again = await imported(suite, tenant, archive)
    assert (again["report"]["dataTypes"]["media"]["skip"], await listed(suite, tenant)) == (2, before)
    assert await held(suite, tenant) == Held(2 * MIB + 5, 2, 2, 0, 2)


async def test_in_another_tenant_files_get_ids_of_their_own_once_and_their_senders(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    member = await suite.user(tenant)
    mine = await stored(suite, tenant, auth=member.auth)
    archive = await exported(suite, tenant, "users", "media")
    for created in (1, 0):
        done = await imported(suite, other, archive)
        told = done["report"]["dataTypes"]["media"]
        assert (told["create"], told["remapped"]) == (created, 1)
    (there,) = await listed(suite, other)
    assert there["id"] != mine["id"]
    assert there | {"id": mine["id"], "ownerId": mine["ownerId"]} == mine
    assert there["ownerId"] == (await users_of(suite, other))[member.email]["id"]
    assert (await content(suite, other, there["id"])).content == b"hello"
    assert (await listed(suite, tenant)) == [mine]
    without = await suite.tenant("custom")
    await imported(suite, without, await exported(suite, tenant, "media"))
    assert (await listed(suite, without))[0]["ownerId"] is None


async def test_files_that_do_not_fit_are_not_brought_back_in_part(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for one in (b"x" * 600, b"y" * 600):
        await stored(suite, tenant, one)
    archive = await exported(suite, tenant, "media")
    other = await tenant_with_room(suite, 1_199)
    before = await held(suite, other)
    rehearsal = fine(await send(suite, other, archive, dry_run=True))
    assert (rehearsal["storage"]["requested"], rehearsal["storage"]["fits"]) == (1_200, False)
    done = await imported(suite, other, archive)
    assert (done["status"], done["error"]["code"], done["error"]["resource"]) == (
        "failed",
        "limit_exceeded",
        "storage",
    )
    assert await held(suite, other) == before


async def test_an_import_that_fails_behind_its_files_leaves_none(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom", maxUsers=1)
    await suite.user(tenant)
    await stored(suite, tenant)
    done = await imported(suite, other, await exported(suite, tenant, "users", "media"))
    assert done["error"]["code"] == "limit_exceeded"
    assert await held(suite, other) == NOTHING


async def test_a_worker_that_dies_in_the_midst_is_followed_by_one_that_ends_it(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    await stored(suite, tenant)
    started = fine(await send(suite, other, await exported(suite, tenant, "media")), 202)

    async def die(*_: object, **__: object) -> None:
        raise RuntimeError("the worker dies")

    for _ in range(2):
        with monkeypatch.context() as dying:
            dying.setattr(running, "apply", die)
            dying.setattr(Staging, "release", die)
            with pytest.raises(RuntimeError):
                await import_jobs_of(suite).run(import_job_for(other, started["importId"]))
        assert await held(suite, other) == Held(5, 0, 0, 1, 1)
    await import_jobs_of(suite).run(import_job_for(other, started["importId"]))
    assert (await import_status(suite, other, started["importId"]))["status"] == "completed"
    assert await held(suite, other) == Held(5, 1, 1, 0, 1)


def media_row(sent: bytes, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "filename": "a.txt",
        "contentType": "text/plain",
        "size": len(sent),
        "sha256": hashlib.sha256(sent).hexdigest(),
        "ownerId": None,
        "createdAt": datetime.now(UTC).isoformat(),
    } | fields


async def test_an_archive_whose_objects_are_not_those_of_its_rows_is_refused(suite: Suite) -> None:
    """Catalogue 115."""
    tenant = await suite.tenant("custom")
    row = media_row(b"hello")
    path = f"media/{row['id']}"
    cases: list[tuple[list[dict[str, Any]], dict[Any, bytes], str]] = [
        ([row], {}, "manifest_invalid"),
        ([row], {path: b"hallo"}, "checksum_mismatch"),
        ([row], {path: b"hello!"}, "checksum_mismatch"),
        ([row, row], {path: b"hello"}, "manifest_invalid"),
        ([row], {path: b"hello", f"media/{uuid4()}": b"more"}, "archive_unsafe"),
        ([], {f"media/{uuid4()}": b"more"}, "archive_unsafe"),
        ([row], {path.upper(): b"hello"}, "archive_unsafe"),
        ([row], {f"media/../{path}": b"hello"}, "archive_unsafe"),
        ([media_row(b"hello", id=row["id"], filename="../x")], {path: b"hello"}, "archive_unsafe"),
    ]
    for rows, objects, code in cases:
        archive = archive_of(tenant, media=rows, more=objects)
        refused(await send(suite, tenant, archive, dry_run=True), 422, code)
    fine(await send(suite, tenant, archive_of(tenant, media=[row], more={path: b"hello"}), dry_run=True))


async def test_a_file_that_differs_from_the_archives_stays_as_it_is(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    mine = await stored(suite, tenant)
    row = media_row(b"other", id=mine["id"])
    archive = archive_of(tenant, media=[row], more={f"media/{mine['id']}": b"other"})
    done = await imported(suite, tenant, archive)
    assert done["report"]["dataTypes"]["media"]["firstConflicts"] == [
        {"row": 1, "subject": mine["id"], "code": "media_differs"}
    ]
    assert (await content(suite, tenant, mine["id"])).content == b"hello"


async def test_no_archive_brings_a_file_that_could_not_be_uploaded(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    small = await stored(suite, tenant, b"x" * 10, filename="a.png", Content_Type="image/png")
    large = await stored(suite, tenant, b"x" * 11, filename="b.png", Content_Type="image/png")
    page = await stored(suite, tenant, b"x", filename="c.html", Content_Type="text/html")
    archive = await exported(suite, tenant, "media")
    other = await suite.tenant("custom")
    await configure(suite, other, "file_upload.max_size", 10, suite.operator)
    await configure(suite, other, "file_upload.allowed_types", ["image/*"])
    rehearsal = fine(await send(suite, other, archive, dry_run=True))
    told = (await imported(suite, other, archive))["report"]["dataTypes"]["media"]
    assert told == rehearsal["dataTypes"]["media"]
    assert {one["subject"]: one["code"] for one in told["firstConflicts"]} == {
        large["id"]: "file_too_large",
        page["id"]: "file_type_refused",
    }
    assert [document["filename"] for document in await listed(suite, other)] == [small["filename"]]
    # What is there already stays, whatever the rules have become.
    await configure(suite, tenant, "file_upload.allowed_types", ["text/plain"])
    told = (await imported(suite, tenant, archive))["report"]["dataTypes"]["media"]
    assert (told["skip"], told["conflicts"]) == (3, 0)


async def test_a_file_that_is_brought_back_is_not_deleted_by_its_former_deletion(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    mine = await stored(suite, tenant)
    archive = await exported(suite, tenant, "media")
    fine(await suite.client.delete(f"{MEDIA}/{mine['id']}", headers=tenant.auth), 204)
    late = Job(new_id(), tenant.id, DISCARD, {"mediaId": mine["id"]}, 1)
    started = fine(await send(suite, tenant, archive), 202)
    with pytest.raises(FilesComingBack):
        await jobs_of(suite).discard(late)
    await import_jobs_of(suite).run(import_job_for(tenant, started["importId"]))
    await jobs_of(suite).discard(late)
    assert (await content(suite, tenant, mine["id"])).content == b"hello"


async def test_an_orphan_that_becomes_a_file_again_is_left_alone(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    mine = await stored(suite, tenant)
    archive = await exported(suite, tenant, "media")
    fine(await suite.client.delete(f"{MEDIA}/{mine['id']}", headers=tenant.auth), 204)
    monkeypatch.setattr(sweeping, "OLD_ENOUGH", timedelta(seconds=-60))
    await Sweep(suite.database, suite.apps["user"].state.storage).visit(tenant.id)
    assert await held(suite, tenant) == Held(0, 0, 0, 1, 1)
    await imported(suite, tenant, archive)
    await let_lapse(suite, tenant)
    await keep_up(suite)
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 1)
