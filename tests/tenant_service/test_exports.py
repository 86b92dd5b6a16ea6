"""Exports through the API: asked for, run, listed, fetched by link, cancelled, deleted, expired."""

import asyncio
import hashlib
import io
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zipfile import ZipFile

import pytest
from sqlalchemy import select, update

from mis_jobs.jobs import MOST_ATTEMPTS
from mis_models.exports import ExportRow
from mis_models.work import OutboxRow
from mis_tenancy.storage import StorageUnavailable, TenantStorage
from mis_worker.app import working
from tenant_service.exports.jobs import RUN, UPKEEP
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.exports import (
    EVERYTHING,
    ask_for,
    exporter_of,
    exports_path,
    fetch,
    files_of,
    finished,
    job_for,
    jobs_of,
    manifest_of,
    opened,
    rows_of,
    status_of,
)
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, fields


async def events_of(suite: Suite, tenant: TenantHandle) -> list[tuple[str, dict[str, object]]]:
    async with suite.database.transaction(tenant.id) as session:
        rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.id))
        return [(row.type, row.data) for row in rows]


async def test_an_export_is_asked_for_run_and_fetched(suite: Suite) -> None:
    """Catalogue 117."""
    tenant = await suite.tenant("custom")
    answer = await ask_for(suite, tenant)
    asked = fine(answer, 202)
    assert answer.headers["location"] == exports_path(tenant, asked["exportId"])
    assert (asked["status"], asked["progress"], asked["downloadUrl"]) == ("queued", 0, None)
    assert (asked["dataTypes"], asked["format"]) == (EVERYTHING, "ndjson")
    await jobs_of(suite).run(job_for(tenant, asked["exportId"]))
    done = await status_of(suite, tenant, asked["exportId"])
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    fetched = await fetch(suite, done["downloadUrl"])
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "application/zip")
    assert fetched.headers["content-disposition"].startswith(f'attachment; filename="{tenant.slug}-')
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert fetched.headers["cache-control"] == "no-store"
    assert len(fetched.content) == done["size"]
    assert hashlib.sha256(fetched.content).hexdigest() == done["sha256"]
    assert manifest_of(ZipFile(io.BytesIO(fetched.content)))["counts"] == done["counts"]
    kept = datetime.fromisoformat(done["expiresAt"]) - datetime.fromisoformat(done["completedAt"])
    assert kept == timedelta(days=7)
    trail = [row["action"] for row in await audit_rows(suite, tenant.id)]
    for action in ("export.started", "export.completed", "export.downloaded"):
        assert trail.count(action) == 1
    (event,) = [one for one in await events_of(suite, tenant) if one[0].startswith("export.")]
    assert event == (
        "export.completed",
        {"exportId": done["exportId"], "format": "ndjson", "counts": done["counts"], "size": done["size"]},
    )


async def test_the_worker_runs_an_export_by_itself(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant, "users", written_in="csv"), 202)
    async with working(suite.settings), asyncio.timeout(30):
        while (await status_of(suite, tenant, asked["exportId"]))["status"] != "completed":  # noqa: ASYNC110  # the worker's
            await asyncio.sleep(0.1)
    archive = await opened(suite, await status_of(suite, tenant, asked["exportId"]))
    assert [row["email"] for row in rows_of(archive, "users", "csv")] == [tenant.owner_email]


async def test_a_tenant_has_one_export_at_a_time_however_many_ask(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    answers = await asyncio.gather(*(ask_for(suite, tenant) for _ in range(8)))
    (accepted,) = [answer.json()["exportId"] for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer.status_code != 202:
            assert refused(answer, 409, "export_in_progress")["exportId"] == accepted
    fine(await ask_for(suite, other), 202)
    async with suite.apps["tenant"].state.platform.system_transaction(tenant.id) as system:
        found = await system.fetch("select kind from jobs where tenant_id = $1", tenant.id)
        assert [row["kind"] for row in found] == [RUN]
    await jobs_of(suite).run(job_for(tenant, accepted))
    fine(await ask_for(suite, tenant), 202)


async def test_a_repeated_request_with_a_key_starts_no_second_export(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    keyed = tenant.auth | {"Idempotency-Key": "monthly"}
    first, again = [await ask_for(suite, tenant, "users", headers=keyed) for _ in range(2)]
    assert fine(first, 202) == fine(again, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"dataTypes": []}, "dataTypes"),
        ({"dataTypes": ["passwords"]}, "dataTypes.0"),
        ({"dataTypes": "users"}, "dataTypes"),
        ({}, "dataTypes"),
        ({"dataTypes": ["users"], "format": "xml"}, "format"),
    ],
)
async def test_an_export_of_what_there_is_not_is_refused(
    suite: Suite, body: dict[str, object], field: str
) -> None:
    tenant = await suite.tenant("custom")
    answer = await suite.client.post(f"{TENANTS}/{tenant.id}/export", json=body, headers=tenant.auth)
    assert [name for name, _ in fields(refused(answer, 422, "validation_failed"))] == [field]


async def test_exports_are_listed_newest_first_in_pages(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    made = [(await finished(suite, tenant, "users"))["exportId"] for _ in range(3)]
    page = await suite.client.get(exports_path(tenant), params={"limit": 2}, headers=tenant.auth)
    assert [one["exportId"] for one in fine(page)] == made[:0:-1]
    assert all(one["downloadUrl"] for one in fine(page))
    rest = await suite.client.get(page.links["next"]["url"], headers=tenant.auth)
    assert [one["exportId"] for one in fine(rest)] == made[:1]


async def test_a_queued_export_is_cancelled_and_never_run(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant), 202)["exportId"]
    fine(await suite.client.delete(exports_path(tenant, asked), headers=tenant.auth), 204)
    assert (await status_of(suite, tenant, asked))["status"] == "cancelled"
    await jobs_of(suite).run(job_for(tenant, asked))
    assert (await status_of(suite, tenant, asked))["status"] == "cancelled"
    assert await files_of(suite, tenant.id) == []
    fine(await ask_for(suite, tenant), 202)


async def test_a_running_export_is_cancelled_and_leaves_no_file(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    monkeypatch.setattr("tenant_service.exports.running._LOOK", 0.0)
    asked = fine(await ask_for(suite, tenant), 202)["exportId"]
    exporter = exporter_of(suite)
    real = exporter._write

    async def cancel_and_write(row: ExportRow) -> None:
        fine(await suite.client.delete(exports_path(tenant, asked), headers=tenant.auth), 204)
        await real(row)

    monkeypatch.setattr(exporter, "_write", cancel_and_write)
    await exporter.run(tenant.id, UUID(asked))
    assert (await status_of(suite, tenant, asked))["status"] == "cancelled"
    assert await files_of(suite, tenant.id) == []


async def test_deleting_a_finished_export_ends_its_links_at_once_and_then_its_file(suite: Suite) -> None:
    """Catalogue 112."""
    tenant = await suite.tenant("custom")
    done = await finished(suite, tenant, "users")
    path = exports_path(tenant, done["exportId"])
    stale = tenant.auth | {"If-Match": '"other"'}
    refused(await suite.client.delete(path, headers=stale), 412, "precondition_failed")
    fine(await suite.client.delete(path, headers=tenant.auth), 204)
    refused(await fetch(suite, done["downloadUrl"]), 403, "link_refused")
    refused(await suite.client.get(f"{path}/download", headers=tenant.auth), 404, "export_not_found")
    shown = await status_of(suite, tenant, done["exportId"])
    assert (shown["status"], shown["downloadUrl"]) == ("expired", None)
    await jobs_of(suite).discard(job_for(tenant, done["exportId"]))
    assert await files_of(suite, tenant.id) == []
    fine(await suite.client.delete(path, headers=tenant.auth), 204)
    trail = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert trail.count("export.deleted") == 1


async def test_after_a_week_a_file_is_gone_and_its_link_was_gone_before(suite: Suite) -> None:
    """Catalogue 112."""
    tenant = await suite.tenant("custom")
    done, kept = await finished(suite, tenant, "users"), await finished(suite, tenant, "users")
    async with suite.database.transaction(tenant.id) as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        one = update(ExportRow).where(ExportRow.id == UUID(done["exportId"]))
        await session.execute(one.values(expires_at=past))
    refused(await fetch(suite, done["downloadUrl"]), 403, "link_refused")
    assert (await status_of(suite, tenant, done["exportId"]))["downloadUrl"] is None
    await jobs_of(suite).keep_up(job_for(tenant, "", kind=UPKEEP))
    assert (await status_of(suite, tenant, done["exportId"]))["status"] == "expired"
    assert await files_of(suite, tenant.id) == [f"exports/{kept['exportId']}/1.zip"]
    assert (await fetch(suite, kept["downloadUrl"])).status_code == 200


async def test_a_failing_export_is_tried_again_and_fails_for_good_with_the_last_attempt(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant, "users"), 202)["exportId"]

    async def no_disk(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(TenantStorage, "put", no_disk)
    for attempt in (1, MOST_ATTEMPTS):
        with pytest.raises(StorageUnavailable):
            await jobs_of(suite).run(job_for(tenant, asked, attempt))
        assert (await status_of(suite, tenant, asked))["status"] == "running"
    await jobs_of(suite).bury(job_for(tenant, asked, MOST_ATTEMPTS + 1))
    assert (await status_of(suite, tenant, asked))["status"] == "failed"
    (event,) = [one for one in await events_of(suite, tenant) if one[0] == "export.failed"]
    assert event[1]["exportId"] == asked
    fine(await ask_for(suite, tenant), 202)


async def test_an_attempt_that_lost_its_lease_spoils_nothing(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant), 202)["exportId"]
    first, second = exporter_of(suite), exporter_of(suite)
    real = first._write

    async def be_overtaken(row: ExportRow) -> None:
        await second.run(tenant.id, UUID(asked))
        await real(row)

    monkeypatch.setattr(first, "_write", be_overtaken)
    await first.run(tenant.id, UUID(asked))
    done = await status_of(suite, tenant, asked)
    assert done["status"] == "completed"
    assert await files_of(suite, tenant.id) == [f"exports/{asked}/2.zip"]
    await second.run(tenant.id, UUID(asked))
    assert await status_of(suite, tenant, asked) | {"downloadUrl": ""} == done | {"downloadUrl": ""}
    fetched = await fetch(suite, done["downloadUrl"])
    assert hashlib.sha256(fetched.content).hexdigest() == done["sha256"]


async def test_an_operator_may_start_and_watch_an_export_and_never_fetch_it(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant, "users", headers=suite.operator), 202)["exportId"]
    await jobs_of(suite).run(job_for(tenant, asked))
    shown = await status_of(suite, tenant, asked, suite.operator)
    assert (shown["status"], shown["downloadUrl"]) == ("completed", None)
    listed = await suite.client.get(exports_path(tenant), headers=suite.operator)
    assert [one["downloadUrl"] for one in fine(listed)] == [None]
    path = f"{exports_path(tenant, asked)}/download"
    refused(await suite.client.get(path, headers=suite.operator), 403, "act_as_required")
    visited = await suite.client.get(path, headers=await act_as(suite, tenant))
    assert visited.status_code == 302
    assert (await fetch(suite, visited.headers["location"])).status_code == 200


async def test_a_member_without_the_permission_gets_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, "member")
    refused(await ask_for(suite, tenant, headers=member.auth), 403, "permission_denied")
    done = await finished(suite, tenant, "users")
    for path in (exports_path(tenant), exports_path(tenant, done["exportId"])):
        refused(await suite.client.get(path, headers=member.auth), 403, "permission_denied")
